"""Our scores and segments equal what the reference tools printed for the project's own fixtures."""

import json
from pathlib import Path
from typing import Any

import pytest

from simulst.eval.score.inputs import ScoreReport, report_log

FIXTURES = Path(__file__).parent / "fixtures"
EXPECTED: dict[str, dict[str, dict[str, Any]]] = json.loads((FIXTURES / "expected.json").read_text(encoding="utf-8"))
OURS = {
    "Simultaneous Words Fraction (%)": "SWF",
    "Expected Simul. Words Fraction (%)": "EFSW",
    "Degeneracy Test Value": "DSPTV",
    "chrF": "chrF2",
    "chrF (NFKC-normalized)": "chrF2_NFKC",
    "BLEU (NFKC-normalized)": "BLEU_NFKC",
}
CASES = [(name, run) for name, runs in EXPECTED.items() for run in runs if run != "mweralign"]


def score(name: str, run: str) -> ScoreReport:
    folder = FIXTURES / name
    profile, _, rest = run.partition(" ")
    flags = {"--raw-elapsed": "raw_elapsed", "--moses": "moses", "--from-first-segment": "from_first_segment"}
    options: dict[str, Any] = {flags[rest]: True} if rest in flags else {}
    long_form = name.startswith("long")
    simulstream = rest.endswith(".jsonl")
    return report_log(
        folder / (rest if simulstream else "instances.log"),
        folder / "ref.txt",
        folder / "segments.yaml" if long_form else None,
        unit="char" if name.endswith("zh") else "word",
        lang=name[-2:],
        profile=profile,
        log_config=folder / "simulstream_cfg.yaml" if simulstream else None,
        **options,
    )


@pytest.mark.parametrize(("name", "run"), CASES)
def test_scores_equal_the_reference_tool(name: str, run: str) -> None:
    if "--moses" in run:
        pytest.importorskip("sacremoses")
    report, expected = score(name, run), EXPECTED[name][run]
    for theirs, value in expected["scores"].items():
        ours = OURS.get(theirs, theirs.replace(" (CU)", "").replace(" (CA)", "_CA"))
        assert report.scores.get(ours) == pytest.approx(value, abs=6e-4), theirs
    if expected.get("segments"):
        assert [segment.prediction for segment in report.segments] == expected["segments"]


@pytest.mark.parametrize("name", ["long_de", "long_zh"])
def test_segments_equal_mweralign(name: str) -> None:
    report = score(name, "streamlaal-fbk")
    assert [segment.prediction for segment in report.segments] == EXPECTED[name]["mweralign"]["segments"]


def test_every_score_has_a_signature() -> None:
    report = score("long_de", "streamlaal-fbk")
    assert set(report.signatures) == set(report.scores)
    assert report.signatures["StreamLAAL_CA"] == (
        "n:20|unit:word|lang:de|profile:streamlaal-fbk|segmenter:mwer|early:clamped|clock:increments-fbk|version:0.1.0"
    )
    assert report.signatures["BLEU"].startswith("nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:")


def test_auto_adds_the_long_metrics_of_omnisteval_to_streamlaal() -> None:
    auto = score("long_de", "auto").scores
    assert auto["StreamLAAL"] == score("long_de", "streamlaal-fbk").scores["StreamLAAL"]
    assert auto["LongYAAL"] == score("long_de", "omnisteval").scores["LongYAAL"]
    assert auto["BLEU"] == score("long_de", "streamlaal-fbk").scores["BLEU"]
