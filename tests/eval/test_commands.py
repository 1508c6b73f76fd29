"""score, convert, curve and report as they are typed."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from simulst.cli import run

FIXTURES = Path(__file__).parent / "fixtures"
LONG, SHORT = FIXTURES / "long_de", FIXTURES / "short_de"
REFERENCES = ["--references", str(LONG / "ref.txt"), "--segmentation", str(LONG / "segments.yaml")]


def call(capsys: pytest.CaptureFixture[str], *args: object) -> tuple[int, str, str]:
    code = run([str(arg) for arg in args])
    out, err = capsys.readouterr()
    return code, out, err


def document(capsys: pytest.CaptureFixture[str], *args: object) -> Any:
    code, out, _ = call(capsys, *args, "--json")
    assert code == 0
    return json.loads(out)


def test_score_prints_one_flat_document(capsys: pytest.CaptureFixture[str]) -> None:
    found = document(
        capsys, "score", LONG / "instances.log", *REFERENCES, "--profile", "streamlaal-fbk", "--lang", "de"
    )
    expected = json.loads((FIXTURES / "expected.json").read_text())["long_de"]["streamlaal-fbk"]["scores"]
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-3)
    assert "segmenter:mwer" in found["signatures"]["StreamLAAL"]
    assert found["notes"] == []


def test_score_prints_a_signature_on_every_line(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = call(capsys, "score", SHORT / "instances.log", "--bootstrap", 20)
    assert code == 0
    lines = out.splitlines()[1:]
    assert all("|" in line for line in lines if not line.startswith("  95 %"))
    assert any(line.startswith("LAAL ") and " ms " in line for line in lines)
    assert "1 of 12 segments have no hypothesis" in err


def test_intervals_are_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    found = document(capsys, "score", SHORT / "instances.log", "--bootstrap", 50)
    low, high = found["intervals"]["LAAL"]
    assert low < found["LAAL"] < high


def test_scored_logs_become_curves_and_reports(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for name, profile in (("a", "streamlaal-fbk"), ("b", "streamlaal-simulstream")):
        args = ("score", LONG / "instances.log", *REFERENCES, "--profile", profile, "-o", tmp_path / name)
        assert call(capsys, *args)[0] == 0
    code, out, _ = call(capsys, "report", tmp_path / "a")
    assert (code, out.strip()) == (0, str(tmp_path / "a" / "report.html"))
    args = ("curve", tmp_path / "a", tmp_path / "b", "-o", tmp_path / "c.html", "--resamples", 20)
    found = document(capsys, *args, "--baseline", tmp_path / "a")
    assert [point["series"] for point in found["points"]] == ["a", "b"]
    difference, low, high, p_value = found["comparisons"][str(tmp_path / "b")]["StreamLAAL"]
    assert low <= difference <= high and 0 < p_value <= 1
    assert (tmp_path / "c.html").stat().st_size > 10_000


def test_convert_says_what_it_wrote(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    target = tmp_path / "run.jsonl"
    code, out, _ = call(capsys, "convert", LONG / "instances.log", "--to", "simulstream", "-o", target)
    assert (code, out.split()) == (0, [str(target), str(tmp_path / "run_cfg.yaml")])
    code, out, _ = call(
        capsys, "convert", LONG / "segments.yaml", *REFERENCES[:2], "--to", "iwslt", "-o", tmp_path / "x.xml"
    )
    assert code == 0
    code, out, _ = call(capsys, "convert", tmp_path / "x.xml", "--to", "documents", "-o", tmp_path / "set.docs")
    assert (tmp_path / "set.docs").read_text().splitlines()[10] == "docid=1,segid=0"
    assert (tmp_path / "set.txt").read_text() == (LONG / "ref.txt").read_text()


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["score", "missing.log"], "Cannot read missing.log: No such file or directory."),
        (["score", LONG / "instances.log", *REFERENCES[2:]], "Long-form scoring needs --references with one line per"),
        (
            ["score", LONG / "instances.log", *REFERENCES, "--profile", "simuleval"],
            "Profile simuleval scores one instance",
        ),
        (["score", LONG / "instances.log", *REFERENCES, "--unit", "char"], "instances.log, line 1: "),
        (
            ["score", LONG / "instances.log", *REFERENCES, "--moses", "--profile", "omnisteval"],
            "Moses tokens need a lan",
        ),
        (["score", LONG / "ref.txt", *REFERENCES], "ref.txt, line"),
        (
            ["score", SHORT / "instances.log", *REFERENCES],
            "instances.log, line 1: /audio/s00.wav is not in segments.yaml",
        ),
        (["curve", "nowhere", "-o", "x.html"], "nowhere has no scores.tsv; give a folder made by `simulst evaluate`"),
        (
            ["curve", "nowhere"],
            "Say where the curve goes: --output FILE.svg, .png, .html or .md, or print it with --json.",
        ),
        (["curve", "nowhere", "-o", "x.pdf"], "--output must end in .svg, .png, .html or .md, but is x.pdf."),
        (["report", "nowhere"], "nowhere has no scores.tsv"),
        (["convert", "missing", "--to", "simuleval", "-o", "x"], "Cannot read missing: No such file or directory."),
        (["convert", "missing", "--to", "word", "-o", "x"], "Unknown format 'word'; known: simuleval,"),
    ],
)
def test_bad_input_is_one_sentence(capsys: pytest.CaptureFixture[str], args: list[Any], sentence: str) -> None:
    code, out, err = call(capsys, *args)
    assert (code, out) == (2, "")
    assert err.startswith(f"simulst: {sentence}")
    assert len(err.strip().splitlines()) == 1


@pytest.mark.slow
def test_scoring_loads_nothing_heavy() -> None:
    code = (
        "import sys; from simulst.cli import run; "
        f"run(['score', {str(SHORT / 'instances.log')!r}, '--json']); "
        "heavy = {'torch', 'transformers', 'pandas', 'matplotlib', 'fairseq2', 'numba'} & set(sys.modules); "
        "print(sorted(heavy), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("name", "old", "new", "sentence"),
    [
        ("scores.tsv", "LAAL\t", "LAAL\tnan\t", "scores.tsv, line"),
        ("segments.tsv", "\t3", "\tinf", ": a value cannot be read; score the run again."),
        ("segments.tsv", "index\t", "number\t", "segments.tsv is not a segment table of simulst; score the run again"),
        ("segments.tsv", '["', '{"', "segments.tsv, line 2: a value cannot be read; score the run again."),
        ("run.json", "{", "[", "run.json cannot be read; evaluate again or remove it."),
    ],
)
def test_a_damaged_run_is_one_sentence(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str, old: str, new: str, sentence: str
) -> None:
    assert call(capsys, "score", SHORT / "instances.log", "-o", tmp_path)[0] == 0
    (tmp_path / "run.json").write_text("{}")
    path = tmp_path / name
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    code, out, err = call(capsys, "report", tmp_path)
    assert (code, out) == (2, "")
    assert sentence in err and len(err.strip().splitlines()) == 1
