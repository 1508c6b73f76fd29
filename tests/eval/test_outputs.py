"""Files are written whole or not at all, hostile logs are refused before anything is written."""

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from simulst.cli import run
from simulst.outputs import whole_file, write_texts

FIXTURES = Path(__file__).parent / "fixtures"
LONG, SHORT = FIXTURES / "long_de", FIXTURES / "short_de"
REFERENCES = ["--references", str(LONG / "ref.txt"), "--segmentation", str(LONG / "segments.yaml")]


def call(capsys: pytest.CaptureFixture[str], *args: object) -> tuple[int, str, str]:
    code = run([str(arg) for arg in args])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.fixture
def scored(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Path:
    assert call(capsys, "score", SHORT / "instances.log", "-o", tmp_path / "scored")[0] == 0
    return tmp_path / "scored"


def test_files_that_belong_together_change_together(tmp_path: Path) -> None:
    first, second = tmp_path / "a.txt", tmp_path / "b.txt"
    write_texts({first: "old", second: "old"})
    with pytest.raises(UnicodeEncodeError):
        write_texts({first: "new", second: "\ud800"})
    assert (first.read_text(), second.read_text()) == ("old", "old")
    assert sorted(os.listdir(tmp_path)) == ["a.txt", "b.txt"]


def test_links_permissions_and_devices_stay_what_they_are(tmp_path: Path) -> None:
    real, link = tmp_path / "real.txt", tmp_path / "link.txt"
    real.write_text("old")
    real.chmod(0o600)
    link.symlink_to(real)
    write_texts({link: "new", Path("/dev/null"): "gone"})
    assert real.read_text() == "new" and link.is_symlink() and real.stat().st_mode & 0o777 == 0o600
    assert Path("/dev/null").is_char_device()


def test_a_broken_block_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.svg"
    path.write_text("old")
    with pytest.raises(RuntimeError), whole_file(path) as file:
        file.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["a.svg"]


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From the call on every file takes half of what is written to it."""
    real = Path.write_bytes

    def half(self: Path, data: bytes) -> int:
        real(self, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))

    def fill() -> None:
        monkeypatch.setattr(Path, "write_bytes", half)
        monkeypatch.setattr(Path, "write_text", lambda self, text, **_: half(self, text.encode()))

    return fill


def test_a_full_disk_leaves_what_was_there(
    capsys: pytest.CaptureFixture[str], scored: Path, tmp_path: Path, full_disk: Callable[[], None]
) -> None:
    assert call(capsys, "report", scored)[0] == 0
    page, table, log = tmp_path / "curve.html", tmp_path / "curve.md", tmp_path / "log.jsonl"
    for path in (page, table):
        assert call(capsys, "curve", scored, "-o", path, "--resamples", 20)[0] == 0
    convert = ("convert", SHORT / "instances.log", "--to", "simulstream", "-o", log)
    assert call(capsys, *convert)[0] == 0
    files = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    before = [path.read_bytes() for path in files]
    full_disk()
    commands: list[tuple[object, ...]] = [
        ("report", scored),
        ("curve", scored, "-o", page, "--resamples", 20),
        ("curve", scored, "-o", table, "--resamples", 20),
        ("score", SHORT / "instances.log", "-o", scored),
        convert,
    ]
    for command in commands:
        code, out, err = call(capsys, *command)
        assert (code, out, err.count("\n")) == (2, "", 1), command
        assert err.endswith(" cannot be written: no space left on device.\n")
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == files
    assert [path.read_bytes() for path in files] == before


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_device_is_one_sentence(capsys: pytest.CaptureFixture[str], scored: Path, tmp_path: Path) -> None:
    (tmp_path / "full.svg").symlink_to("/dev/full")
    for command in (
        ("report", scored, "-o", "/dev/full"),
        ("convert", SHORT / "instances.log", "--to", "text", "-o", "/dev/full"),
        ("curve", scored, "-o", tmp_path / "full.svg", "--resamples", 20),
    ):
        code, out, err = call(capsys, *command)
        assert (code, out) == (2, "") and " cannot be written: " in err and err.count("\n") == 1
    assert Path("/dev/full").is_char_device()


def test_a_conversion_does_not_replace_what_it_reads(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The text beside the list of segments, and simulstream's configuration, are outputs too."""
    references, config, log = tmp_path / "set.txt", tmp_path / "log_cfg.yaml", tmp_path / "log.jsonl"
    references.write_bytes((LONG / "ref.txt").read_bytes())
    code, _, err = call(
        capsys,
        "convert",
        LONG / "segments.yaml",
        "--references",
        references,
        "--to",
        "must-c",
        "-o",
        tmp_path / "set.yaml",
    )
    assert code == 2 and err.startswith(f"simulst: {references} is read by this command and would be overwritten;")
    assert call(capsys, "convert", SHORT / "instances.log", "--to", "simulstream", "-o", log)[0] == 0
    before = config.read_bytes()
    again = ("convert", log, "--log-config", config, "--to", "simulstream", "-o", log.with_suffix(".x"))
    code, _, err = call(capsys, *again)
    assert code == 2 and err.startswith(f"simulst: {config} is read") and config.read_bytes() == before
    code, _, err = call(capsys, "convert", log, "--log-config", config, "--to", "text", "-o", log)
    assert code == 2 and err.startswith(f"simulst: {log} is read by this command")


def record(**changes: Any) -> str:
    line = {"index": 0, "prediction": "a b", "delays": [1.0, 2.0], "elapsed": [1.0, 2.0], "reference": "a b"}
    return json.dumps(line | {"source": ["a.wav"], "source_length": 3000.0} | changes)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (record(erased_units="x"), "`erased_units` must be a whole number, 0 or more, but is 'x'."),
        (record(erased_units=-1), "`erased_units` must be a whole number, 0 or more, but is -1."),
        (record(erased_units=10**400), "`erased_units` must be a whole number, 0 or more, but is 10000"),
        (record(delays=[1, 10**400]), "`delays` must hold finite numbers of milliseconds, but holds 10000"),
        (record(elapsed=[1, 1e308]), "`elapsed` must hold finite numbers of milliseconds, but holds 1e+308."),
        (record(source_length=1e308), "`source_length` must be a finite number of milliseconds, but is 1e+308."),
        (record(source_length=10**400), "`source_length` must be a finite number of milliseconds, but is 10000"),
        (record(chunks=[[1, 1e308]]), "`chunks` must be a list of [audio_ms, compute_ms]."),
        (record(chunks=[[1, float("nan")]]), "`chunks` must be a list of [audio_ms, compute_ms]."),
        (record(chunks=[[1, 10**400]]), "`chunks` must be a list of [audio_ms, compute_ms]."),
        (record(index=10**400), "`index` must be a whole number, 0 or more, but is 10000"),
        (record(index=True), "`index` must be a whole number, 0 or more, but is True."),
        (record(prediction="\ud800 b"), "half of a character"),
        (record(extra={"deep": ["\udfff"]}), "half of a character"),
        (record()[:-1] + ', "x": ' + "[" * 100_000 + "]" * 100_000 + "}", "not a JSON object; remove or repair"),
    ],
)
def test_a_hostile_log_is_one_sentence(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, line: str, sentence: str
) -> None:
    log = tmp_path / "instances.log"
    log.write_text(f"{line}\n{record(index=1)}\n")
    for command in (("score", log, "-o", tmp_path / "out"), ("convert", log, "--to", "text", "-o", tmp_path / "x.txt")):
        code, out, err = call(capsys, *command)
        assert (code, out) == (2, "") and err.startswith("simulst: instances.log, line 1: ") and sentence in err
        assert err.count("\n") == 1 and len(err) < 300
    assert os.listdir(tmp_path) == ["instances.log"]


def test_whole_characters_in_two_escapes_are_fine(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    log = tmp_path / "instances.log"
    log.write_text(record(prediction="😀 b", reference="😀 b") + "\n")
    assert "\\ud83d" in log.read_text()
    assert call(capsys, "score", log, "-o", tmp_path / "out")[0] == 0


def test_a_segmentation_nested_too_deeply(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    deep = tmp_path / "deep.json"
    deep.write_text("[" * 100_000 + "]" * 100_000)
    code, _, err = call(
        capsys, "score", LONG / "instances.log", "--references", LONG / "ref.txt", "--segmentation", deep
    )
    assert code == 2 and err == "simulst: deep.json cannot be parsed: nested too deeply.\n"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["$\\bad$", "$x", "a_b^c", "\\frac{"])
@pytest.mark.parametrize("ending", ["svg", "png"])
def test_runs_of_any_name_are_drawn(
    capsys: pytest.CaptureFixture[str], scored: Path, tmp_path: Path, name: str, ending: str
) -> None:
    folder = scored.rename(tmp_path / name)
    picture = tmp_path / f"curve.{ending}"
    code, _, err = call(capsys, "curve", folder, "-o", picture, "--resamples", 20)
    assert (code, err) == (0, "") and picture.stat().st_size > 1000
    if ending == "svg":
        assert name in picture.read_text()


@pytest.fixture
def silent(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Path:
    """A scored run that never said anything."""
    lines = [record(index=i, prediction="", delays=[], elapsed=[]) for i in range(3)]
    (tmp_path / "silent.log").write_text("".join(f"{line}\n" for line in lines))
    assert call(capsys, "score", tmp_path / "silent.log", "-o", tmp_path / "silent")[0] == 0
    return tmp_path / "silent"


def test_a_curve_names_the_run_that_says_nothing(
    capsys: pytest.CaptureFixture[str], scored: Path, silent: Path, tmp_path: Path
) -> None:
    code, _, err = call(capsys, "curve", scored, silent, "-o", tmp_path / "x.html")
    assert code == 2
    assert err == f"simulst: {silent} has no latency, because none of its segments has output; leave it out.\n"


def test_a_report_of_a_run_that_says_nothing_has_its_quality(
    capsys: pytest.CaptureFixture[str], silent: Path, tmp_path: Path
) -> None:
    code, out, err = call(capsys, "report", silent)
    assert (code, err) == (0, "") and Path(out.strip()) == silent / "report.html"
    page = (silent / "report.html").read_text()
    assert "3 of 3 segments have no output" in page and '"name":"BLEU"' in page and '"latency":""' in page
    assert call(capsys, "report", silent, "--latency", "LAAL")[0] == 2
