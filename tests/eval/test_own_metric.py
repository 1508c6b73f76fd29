"""`--metric file.py:NAME`: a metric that is not simulst's is scored and shown like the others."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from simulst.cli import run
from simulst.errors import DataError
from simulst.eval.metrics import METRICS
from simulst.eval.metrics.metric import Metric, Texts
from simulst.eval.metrics.registry import display_of, known_metrics, load_metric
from simulst.eval.score.inputs import report_log
from simulst.eval.score.runs import load_run

ROOT = Path(__file__).parents[2]
FIXTURES = Path(__file__).parent / "fixtures"
LONG, SHORT = FIXTURES / "long_de", FIXTURES / "short_de"
EXAMPLE = f"{ROOT / 'examples' / 'my_metric.py'}:LONGEST_WAIT"
HEAD = "from simulst.eval.metrics.metric import Counts, Metric, Need, Shown\nimport numpy as np\n"


def call(capsys: pytest.CaptureFixture[str], *args: object) -> tuple[int, str, str]:
    code = run([str(arg) for arg in args])
    out, err = capsys.readouterr()
    return code, out, err


def page_data(path: Path) -> Any:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', path.read_text(), re.DOTALL)
    assert found
    return json.loads(found[1])


def test_the_example_is_scored_signed_and_shown(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    score = ("score", SHORT / "instances.log", "--metric", EXAMPLE, "--bootstrap", 20, "-o", tmp_path / "run")
    code, out, _ = call(capsys, *score)
    assert code == 0
    (line,) = [line for line in out.splitlines() if line.startswith("LongestWait ")]
    assert " ms " in line and f"|metric:{EXAMPLE}|in:ms|kind:latency|" in line
    assert out.splitlines()[out.splitlines().index(line) + 1].startswith("  95 %")
    scores = json.loads((tmp_path / "run" / "scores.json").read_text())
    assert scores["LongestWait_CA"] > scores["LongestWait"] > 0
    code, out, _ = call(capsys, "report", tmp_path / "run")
    data = page_data(Path(out.strip()))
    (card,) = [card for card in data["cards"] if card["name"] == "LongestWait"]
    assert card["title"] == "longest wait without a new word" and card["low"] < card["value"] < card["high"]
    assert data["units"]["LongestWait_CA"] == "ms"
    curve = ("curve", tmp_path / "run", "--latency", "LongestWait", "-o", tmp_path / "c.html", "--resamples", 10)
    assert call(capsys, *curve)[0] == 0
    assert page_data(tmp_path / "c.html")["x"] == "LongestWait"


def test_words_that_are_wrong_are_counted() -> None:
    metric = load_metric(f"{ROOT / 'examples' / 'word_errors.py'}:WER")
    assert metric.counts is not None
    said = ["The cat sat on mat.", "", "it's here, here"]
    counts = metric.counts(Texts(hypotheses=said, references=["The cat sat on the mat!", "no", "It's here"]))
    assert counts is not None and counts.rows.tolist() == [[1, 6], [1, 1], [1, 2]]
    assert counts.total() == pytest.approx(100 * 3 / 9)
    assert counts.alone() == [pytest.approx(100 / 6), 100.0, 50.0]


def test_the_example_counts_every_segment_of_recordings(capsys: pytest.CaptureFixture[str]) -> None:
    args = ("score", LONG / "instances.log", "--references", LONG / "ref.txt", "--segmentation", LONG / "segments.yaml")
    code, out, _ = call(capsys, *args, "--metric", EXAMPLE, "--json")
    found = json.loads(out)
    assert code == 0 and found["LongestWait"] > 0
    assert found["signatures"]["LongestWait"].split("|")[0] == found["signatures"]["StreamLAAL"].split("|")[0]


@pytest.mark.parametrize(
    ("body", "score"),
    [
        (  # of the text, on each segment: the same under every clock
            "MINE = Metric(name='Mine', unit='%', kind='quality', segment=lambda view: 1.0 + view.target_length)",
            None,
        ),
        ("MINE = Metric(name='Mine', unit='units', kind='run', corpus=lambda run: len(run.instances))", 12.0),
        (
            "MINE = Metric(name='Mine', unit='', kind='quality', counts=lambda texts: Counts("
            "rows=np.array([[len(t)] for t in texts.hypotheses]), score=lambda sums: float(sums[0])), "
            "shown=Shown(segments=True))",
            None,
        ),
    ],
)
def test_three_ways_to_measure(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, body: str, score: float | None
) -> None:
    (tmp_path / "mine.py").write_text(HEAD + body + "\n")
    out = tmp_path / "run"
    code, _, err = call(capsys, "score", SHORT / "instances.log", "--metric", f"{tmp_path / 'mine.py'}:MINE", "-o", out)
    assert code == 0, err
    scores = json.loads((out / "scores.json").read_text())
    assert [name for name in scores if name.startswith("Mine")] == ["Mine"]
    assert scores["Mine"] > 0 and score in (None, scores["Mine"])
    assert call(capsys, "report", out)[0] == 0
    sample = load_run(out).sample()
    assert ("Mine" in sample.values) == ("segment=" in body)  # a column of counts is not averaged


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("MINE = 3", r"is not a metric: MINE must be a simulst\.eval\.metrics\.metric\.Metric\."),
        ("1 / 0", r"The metric file .*mine\.py fails: ZeroDivisionError: division by zero"),
        (
            "MINE = Metric(name='Mine', unit='furlongs', kind='run', corpus=len)",
            r"Metric Mine has the unknown unit 'furlongs'; known: 'ms', '%', 'units', ''\.",
        ),
        (
            "MINE = Metric(name='Mine', unit='', kind='run')",
            r"Metric Mine needs exactly one of `segment`, `corpus`",
        ),
        ("MINE = Metric(name='a b', unit='', kind='run', corpus=len)", r"A metric cannot be called 'a b'; use letters"),
        (
            "MINE = Metric(name='StreamLAAL', unit='ms', kind='run', corpus=len)",
            r"a metric StreamLAAL already exists",
        ),
        (
            "MINE = Metric(name='Mine', unit='', kind='run', segment=lambda view: view.times[0])",
            r"The metric .*:MINE fails on segment \d+: IndexError: tuple index out of range",
        ),
        (
            "MINE = Metric(name='Mine', unit='', kind='run', corpus=lambda run: 'seven')",
            r"The metric .*:MINE gives 'seven'; it must give a finite number or None\.",
        ),
        (
            "MINE = Metric(name='Mine', unit='', kind='run', corpus=lambda run: 1.0, needs=frozenset({Need.SOURCES}))",
            r"Mine needs the source sentences; give --sources FILE with one line per reference\.",
        ),
    ],
)
def test_what_can_be_wrong_in_it(capsys: pytest.CaptureFixture[str], tmp_path: Path, body: str, message: str) -> None:
    (tmp_path / "mine.py").write_text(HEAD + body + "\n")
    code, out, err = call(capsys, "score", SHORT / "instances.log", "--metric", f"{tmp_path / 'mine.py'}:MINE")
    assert (code, out) == (2, "") and len(err.strip().splitlines()) == 1
    assert re.search(message, err)


@pytest.mark.parametrize(
    ("spec", "message"),
    [("LAAL", "LAAL is not a metric: give --metric file.py:NAME"), ("no.py:X", "There is no metric file no.py.")],
)
def test_what_names_no_file(capsys: pytest.CaptureFixture[str], spec: str, message: str) -> None:
    code, _, err = call(capsys, "score", SHORT / "instances.log", "--metric", spec)
    assert code == 2 and message in err


def test_known_metrics_have_the_names_of_their_lines() -> None:
    assert [metric.name for metric in known_metrics()] == list(METRICS)
    assert all(metric.definition for metric in known_metrics())


def test_the_unit_of_an_unknown_score_is_an_error() -> None:
    assert display_of("LongYAAL_CA_backlog").unit == "ms"
    assert display_of("Mine_CA", "n:3|metric:a.py:X|in:%|kind:run").unit == "%"
    with pytest.raises(DataError, match=r"^The unit of Colour is not known: it is not a metric of simulst; score"):
        display_of("Colour", "n:3|unit:word")


def test_rtf_of_segments_is_not_that_of_computation() -> None:
    assert display_of("RTF", "n:3|clock:ideal").shown.card == ""
    assert display_of("RTF", "unit:word|compute:chunks").shown.card == "computation per second of audio"


def test_a_metric_needs_one_way_to_measure() -> None:
    with pytest.raises(DataError, match=r"exactly one of"):
        Metric(name="X", unit="", kind="run", corpus=lambda run: 1.0, segment=lambda view: 1.0)


def test_the_summary_has_one_latency_of_each_kind_and_own_metrics_after_them() -> None:
    long = report_log(LONG / "instances.log", LONG / "ref.txt", LONG / "segments.yaml", metrics=[EXAMPLE]).summary()
    assert list(long) == ["BLEU", "chrF2++", "StreamLAAL", "StreamLAAL_CA", "LongYAAL", "LongestWait", "RTF"]
    assert list(report_log(SHORT / "instances.log").summary().values()) == ["", "", "ms", "ms", ""]


def test_metrics_of_a_recipe_are_a_list() -> None:
    with pytest.raises(DataError, match=r"^`metrics` must be a list of file\.py:NAME, but is 'a\.py:B'\.$"):
        report_log(SHORT / "instances.log", metrics="a.py:B")
