"""Every number of the shared golden logs that a profile claims, and every resegmented line; skipped if absent.

Not claimed, by name: SimulEval 1.1.4 with --computation-aware (its plain columns are computation-aware by mistake);
simulstream with mweralign 1.1.0 (another segmenter); BLEU of simulstream on zh and ja (U+2581 stays in the scored
text); SimulEval on unsegmented talks (no profile means that).
"""

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from simulst.eval.logs.formats import read_log
from simulst.eval.logs.units import Unit
from simulst.eval.score.inputs import ScoreReport, report_log

GOLDEN = Path(os.environ.get("SIMULST_SHARED", Path(__file__).parents[3] / "shared")) / "golden" / "open"
pytestmark = [
    pytest.mark.skipif(not GOLDEN.is_dir(), reason="no shared golden logs (SIMULST_SHARED)"),
    pytest.mark.slow,
]
LANGUAGES = ("de", "zh", "ja")
TOLERANCE = 1e-3


@cache
def expected(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((GOLDEN / "expected.json").read_text(encoding="utf-8"))["sets"][name]
    return found


def unit(lang: str) -> Unit:
    return "word" if lang == "de" else "char"


@cache
def score(name: str, profile: str, log: str = "instances.log", **options: Any) -> ScoreReport:
    folder, lang = GOLDEN / name, name[-2:]
    config = folder / log.replace(".jsonl", "_cfg.yaml") if log.startswith("simulstream") else None
    return report_log(
        folder / log,
        folder / "ref.txt",
        folder / "segments.yaml" if name.startswith("long") else None,
        log_config=config,
        unit=unit(lang),
        lang=lang,
        profile=profile,
        **options,
    )


def assert_scores(report: ScoreReport, wanted: dict[str, float]) -> None:
    for name, value in wanted.items():
        assert report.scores[name] == pytest.approx(value, abs=TOLERANCE), name


def omnisteval_names(scores: dict[str, Any]) -> dict[str, float]:
    renamed = {
        "chrF": "chrF2",
        "BLEU (NFKC-normalized)": "BLEU_NFKC",
        "chrF (NFKC-normalized)": "chrF2_NFKC",
        "Simultaneous Words Fraction (%)": "SWF",
        "Expected Simul. Words Fraction (%)": "EFSW",
        "Degeneracy Test Value": "DSPTV",
    }
    return {
        renamed.get(name, name.replace(" (CU)", "").replace(" (CA)", "_CA")): value
        for name, value in scores.items()
        if isinstance(value, int | float)
    }


@pytest.mark.parametrize("lang", LANGUAGES)
def test_simuleval(lang: str) -> None:
    report, found = score(f"short_{lang}", "simuleval"), expected(f"short_{lang}")
    assert_scores(report, found["SimulEval"]["scores"])
    assert_scores(report, found["SimulEval_HEAD --computation-aware"]["scores"])
    assert_scores(report, {k: v["score"] for k, v in found["sacrebleu"].items() if k.startswith("chrF")})
    for metric, values in found["SimulEval_per_instance"].items():
        if metric in report.segment_scores[0]:
            assert [row[metric] for row in report.segment_scores] == pytest.approx(values, abs=TOLERANCE), metric


@pytest.mark.parametrize("lang", LANGUAGES)
def test_omnisteval_short_form(lang: str) -> None:
    report, found = score(f"short_{lang}", "omnisteval"), expected(f"short_{lang}")
    assert_scores(report, omnisteval_names(found["OmniSTEval shortform"]["scores"]))
    for metric, values in found["OmniSTEval_per_instance"].items():
        assert [row[metric] for row in report.segment_scores] == pytest.approx(values, abs=TOLERANCE), metric


@pytest.mark.parametrize("lang", LANGUAGES)
def test_fbk(lang: str) -> None:
    report, found = score(f"long_{lang}", "streamlaal-fbk"), expected(f"long_{lang}")
    assert_scores(report, found["FBK_stream_laal on instances.log"]["scores"])
    key = "SimulEval scorers on FBK-resegmented (reseg/fbk.instances.resegmented.jsonl)"
    scorers = {k: v for k, v in found[key]["scores"].items() if k.split("_")[0] in ("AL", "LAAL", "AP", "DAL", "ATD")}
    assert_scores(report, {f"Stream{name}": value for name, value in scorers.items()})
    offsets = ("StartOffset", "EndOffset", "StartOffset_CA", "EndOffset_CA")
    assert_scores(report, {name: found[key]["scores"][name] for name in offsets})
    lines = (GOLDEN / f"long_{lang}" / "reseg" / "fbk.instances.resegmented.jsonl").read_text(encoding="utf-8")
    for segment, line in zip(report.segments, lines.splitlines(), strict=True):
        record = json.loads(line)
        assert segment.prediction == record["prediction"]
        assert segment.times[""] == pytest.approx(record["delays"], abs=TOLERANCE)
        assert segment.times["_CA"] == pytest.approx(record["elapsed"], abs=TOLERANCE)


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("log", ["simulstream.jsonl", "simulstream_retrans.jsonl"])
def test_simulstream(lang: str, log: str) -> None:
    report = score(f"long_{lang}", "streamlaal-simulstream", log)
    found = expected(f"long_{lang}")[f"simulstream on {log}"]["scores"]
    wanted = {"NE": found["normalized_erasure"], "RTF": found["real_time_factor"]}
    wanted |= {name: 1000 * found[f"{name}_s"] for name in ("StreamLAAL", "StreamLAAL_CA")}
    if lang == "de":
        wanted["BLEU"] = found["BLEU"]
    assert_scores(report, wanted)
    if log == "simulstream.jsonl":
        text = (GOLDEN / f"long_{lang}" / "reseg" / "simulstream.mweralign.txt").read_text(encoding="utf-8")
        lines = [line.replace("▁", " ").strip() for line in text.removesuffix("\n").split("\n")]
        assert [segment.prediction for segment in report.segments] == lines


@pytest.mark.parametrize("lang", LANGUAGES)
def test_simulstream_log_reader(lang: str) -> None:
    folder = GOLDEN / f"long_{lang}"
    config = folder / "simulstream_retrans_cfg.yaml"
    instances, _ = read_log(folder / "simulstream_retrans.jsonl", unit=unit(lang), config=config)
    wanted = json.loads((folder / "reseg" / "simulstream_retrans.logreader.json").read_text(encoding="utf-8"))
    for instance, (name, record) in zip(instances, wanted.items(), strict=True):
        assert Path(instance.source).stem == name
        assert instance.prediction == record["final_text"]
        assert instance.delays_ms == pytest.approx([1000 * t for t in record["ideal_delays"]], abs=0.5)
        assert instance.elapsed_ms == pytest.approx([1000 * t for t in record["computational_aware_delays"]], abs=0.5)


OMNISTEVAL = [
    ("OmniSTEval longform on instances.log --fix_simuleval_emission_ca", "instances.log", {}),
    ("OmniSTEval longform on instances.log (no CA fix)", "instances.log", {"raw_elapsed": True}),
    ("OmniSTEval longform on omnisteval.jsonl", "omnisteval.jsonl", {}),
    ("OmniSTEval longform on simulstream.jsonl", "simulstream.jsonl", {}),
    ("OmniSTEval longform on simulstream_retrans.jsonl", "simulstream_retrans.jsonl", {}),
    ("OmniSTEval longform --lang de on instances.log --fix_simuleval_emission_ca", "instances.log", {"moses": True}),
    ("OmniSTEval longform --lang de on omnisteval.jsonl", "omnisteval.jsonl", {"moses": True}),
]


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize(("run", "log", "options"), OMNISTEVAL)
def test_omnisteval_long_form(lang: str, run: str, log: str, options: dict[str, Any]) -> None:
    if run not in expected(f"long_{lang}"):
        pytest.skip("no such run in this language")
    if "moses" in options:
        pytest.importorskip("sacremoses")
    report = score(f"long_{lang}", "omnisteval", log, **options)
    assert_scores(report, omnisteval_names(expected(f"long_{lang}")[run]["scores"]))


@pytest.mark.parametrize("lang", LANGUAGES)
def test_omnisteval_segments(lang: str) -> None:
    report = score(f"long_{lang}", "omnisteval", "omnisteval.jsonl")
    text = (GOLDEN / f"long_{lang}" / "reseg" / "omni.txt").read_text(encoding="utf-8")
    assert [segment.prediction for segment in report.segments] == text.removesuffix("\n").split("\n")
    for metric, values in expected(f"long_{lang}")["OmniSTEval_per_segment on omnisteval.jsonl"].items():
        ours = [row[f"Long{metric}"] for row in report.segment_scores]
        assert ours == pytest.approx(values, abs=TOLERANCE), metric
