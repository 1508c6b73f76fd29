"""Curve and report: what is drawn, what is said, and that a page loads nothing and trusts no text."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from simulst.errors import DataError
from simulst.eval.logs.instances import Instance
from simulst.eval.report.curve import build_curve, curve_data, write_curve_page
from simulst.eval.report.curve_figure import axis_label, write_curve_figure
from simulst.eval.report.curve_table import curve_table, quality_at, write_curve_table
from simulst.eval.report.page import render
from simulst.eval.report.pages import write_report
from simulst.eval.score.inputs import report_instances
from simulst.eval.score.runs import Run, load_run
from simulst.outputs import OutputError

REFERENCES = [f"Satz {k} ist ein kurzer Satz mit {k} Wörtern." for k in range(12)]


def make_run(folder: Path, policy: str, k: int, lag: float, hostile: str = "") -> Run:
    instances = []
    for index, reference in enumerate(REFERENCES):
        words = reference.split()[: 5 + k]
        if hostile and index == 0:
            words = [hostile, *words]
        times = tuple(lag + 300.0 * n for n in range(len(words)))
        instances.append(
            Instance(
                index=index,
                source=f"/audio/{index}.wav",
                prediction=" ".join(words),
                delays_ms=times,
                elapsed_ms=tuple(t + 50 for t in times),
                source_length_ms=4000.0,
            )
        )
    report_instances(instances, REFERENCES, lang="de", sources=[f"Sentence {n}." for n in range(12)]).write(folder)
    info = {"policy": policy, "model": "tiny", "parameters": {"k": k, "fixed": 1}, "command": ["simulst", "evaluate"]}
    (folder / "run.json").write_text(json.dumps(info))
    return load_run(folder)


@pytest.fixture
def runs(tmp_path: Path) -> list[Run]:
    return [
        make_run(tmp_path / f"{policy}-{k}", policy, k, lag)
        for policy, k, lag in [("wait_k", 1, 800.0), ("wait_k", 3, 1500.0), ("align_att", 2, 900.0)]
    ]


def page_data(path: Path) -> Any:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', path.read_text(), re.DOTALL)
    assert found
    return json.loads(found[1])


def test_a_line_per_policy_with_what_differs_as_label(runs: list[Run]) -> None:
    curve = build_curve(runs, resamples=50)
    assert curve.latency == "LAAL"
    lines = {name: [(p.label, p.run.name) for p in points] for name, points in curve.series().items()}
    assert lines == {"wait_k": [("k=1", "wait_k-1"), ("k=3", "wait_k-3")], "align_att": [("", "align_att-2")]}
    for point in curve.points:
        value, low, high = point.axis("BLEU")
        assert low - 1e-6 <= value <= high + 1e-6


def test_paired_tests_against_a_baseline(runs: list[Run]) -> None:
    curve = build_curve(runs[1:], baseline=runs[0], resamples=200)
    found = curve.comparisons[str(runs[1].folder)]
    assert found["LAAL"].difference == pytest.approx(runs[1].scores["LAAL"] - runs[0].scores["LAAL"], abs=1e-3)
    assert found["LAAL"].p_value < 0.05


def test_runs_over_other_segments_are_not_compared(runs: list[Run], tmp_path: Path) -> None:
    other = load_run(runs[0].folder)
    other = Run(folder=tmp_path / "x", scores=other.scores, signatures=other.signatures, rows=other.rows[1:], info={})
    with pytest.raises(DataError, match=r"^The runs do not translate the same segments; a paired test needs the same"):
        build_curve([other], baseline=runs[0], resamples=10)


def test_the_curve_page_holds_all_points(runs: list[Run], tmp_path: Path) -> None:
    write_curve_page(build_curve(runs, baseline=runs[0], resamples=50), tmp_path / "c.html")
    data = page_data(tmp_path / "c.html")
    assert [series["name"] for series in data["series"]] == ["wait_k", "align_att"]
    assert data["units"]["LAAL"] == "ms"
    assert data["comparison"]["baseline"] == "wait_k-1"
    assert [row["run"] for row in data["comparison"]["rows"]] == ["wait_k-3", "align_att-2"]


@pytest.mark.parametrize("suffix", [".svg", ".png"])
def test_still_pictures_have_axes_with_units(runs: list[Run], tmp_path: Path, suffix: str) -> None:
    curve = build_curve(runs, resamples=50)
    write_curve_figure(curve, tmp_path / f"c{suffix}")
    data = (tmp_path / f"c{suffix}").read_bytes()
    if suffix == ".svg":
        assert b"LAAL (s)" in data and b">BLEU<" in data and b"wait_k" in data
    else:
        assert data.startswith(b"\x89PNG")
    assert axis_label(curve, "AP") == "AP" and axis_label(curve, "SWF") == "SWF (%)"


def test_the_table_has_a_row_per_run_and_quality_at_equal_latency(tmp_path: Path) -> None:
    settings = [("wait_k", 0, 800.0), ("wait_k", 3, 1800.0), ("align_att", 1, 700.0), ("align_att", 2, 2400.0)]
    runs = [make_run(tmp_path / f"{policy}-{k}", policy, k, lag) for policy, k, lag in settings]
    curve = build_curve(runs, resamples=20)
    first, low, middle, high = (round(run.scores["LAAL"] / 1000, 2) for run in (runs[2], runs[0], runs[1], runs[3]))
    assert first < low < middle < high
    lines = curve_table(curve).splitlines()
    assert lines[0].startswith("12 segments, 0.8 minutes of audio. In brackets 95 % bootstrap intervals")
    assert lines[2] == "| policy | setting | BLEU | LAAL (s) | RTF |"
    rows = [line.split(" | ") for line in lines if " | k=" in line]
    assert [row[:2] for row in rows] == [
        ["| `wait_k`", "k=0"],
        ["| `wait_k`", "k=3"],
        ["| `align_att`", "k=1"],
        ["| `align_att`", "k=2"],
    ]
    assert rows[0][3].startswith(f"{low:.2f} [")
    between = 1000 * (low + middle) / 2
    expected = (runs[0].scores["BLEU"] + runs[1].scores["BLEU"]) / 2
    assert quality_at(curve.series()["wait_k"], "LAAL", "BLEU", between) == pytest.approx(expected, abs=0.5)
    assert quality_at(curve.series()["wait_k"], "LAAL", "BLEU", 1000 * high) is None
    assert any(line.startswith("BLEU at equal LAAL (s)") for line in lines)
    with pytest.raises(OutputError, match=r" cannot be written: no such file or directory\.$"):
        write_curve_table(curve, tmp_path / "no" / "c.md")


def test_the_table_takes_its_place_in_a_document(runs: list[Run], tmp_path: Path) -> None:
    curve = build_curve(runs, resamples=20)
    document = tmp_path / "doc.md"
    for old in ("", "an old table\n"):
        document.write_text(f"# Title\n\n<!-- simulst curve -->\n{old}<!-- /simulst curve -->\n\nThe end.\n")
        write_curve_table(curve, document)
        assert document.read_text() == (
            f"# Title\n\n<!-- simulst curve -->\n\n{curve_table(curve)}\n<!-- /simulst curve -->\n\nThe end.\n"
        )
    document.write_text("<!-- simulst curve -->\nno end")
    write_curve_table(curve, document)
    assert document.read_text() == curve_table(curve)


def test_the_report_has_every_part(runs: list[Run], tmp_path: Path) -> None:
    write_report(runs[0], tmp_path / "r.html", others=runs[1:], resamples=50)
    data = page_data(tmp_path / "r.html")
    assert [card["name"] for card in data["cards"]] == ["BLEU", "chrF2++", "LAAL", "LAAL_CA_backlog", "ComputeRTF"]
    assert all(signature for _, _, signature in data["scores"])
    assert data["histogram"]["xLabel"] == "LAAL (s)"
    assert data["talks"] is None  # every segment is a file of its own
    assert len(data["curve"]["series"]) == 2
    worst = min(data["segments"], key=lambda segment: segment["quality"])
    assert worst["source"].startswith("Sentence") and worst["events"][0]["time"] == pytest.approx(0.8)
    assert worst["events"][0]["late"] == pytest.approx(0.85)


def test_pages_load_nothing_and_text_cannot_break_out(tmp_path: Path) -> None:
    hostile = "</script><img/src=x/onerror=alert(1)>"
    run = make_run(tmp_path / "evil", "%DATA%", 1, 800.0, hostile)
    write_report(run, tmp_path / "r.html", resamples=20)
    page = (tmp_path / "r.html").read_text()
    assert page.count("</script>") == 2
    assert "<img" not in page
    assert not re.findall(r"""(?:src|href)\s*=\s*["'](?!data:)|@import|url\(""", page)
    assert "default-src 'none'" in page
    assert any(hostile in segment["prediction"] for segment in page_data(tmp_path / "r.html")["segments"])


def test_placeholders_in_the_data_stay_data() -> None:
    page = render("curve.html", title="%DATA% <b>", data={"a": "%TITLE% %STYLE% %SCRIPT%"}, scripts=("curve.js",))
    assert "<title>%DATA% &lt;b&gt;</title>" in page
    assert '{"a":"%TITLE% %STYLE% %SCRIPT%"}' in page


def test_a_folder_without_scores(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no scores\.tsv; give a folder made by `simulst evaluate`"):
        load_run(tmp_path)


def test_a_metric_that_a_run_lacks(runs: list[Run]) -> None:
    with pytest.raises(DataError, match=r"wait_k-1 has no StreamLAAL; it has BLEU, chrF2, chrF2\+\+, YAAL"):
        build_curve(runs, latency="StreamLAAL", resamples=10)
    assert curve_data(build_curve(runs, resamples=10))["x"] == "LAAL"
