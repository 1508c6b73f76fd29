"""Whole scores: invariances, undefined values, notes, files."""

import json
import random
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulst.errors import DataError
from simulst.eval.data.segmentation import Segment, read_references, read_segmentation
from simulst.eval.logs.instances import Instance, read_instances, write_instances
from simulst.eval.metrics.registry import display_of
from simulst.eval.score.inputs import report_instances, report_log, score_instances
from simulst.eval.score.tables import escape, read_scores, read_segments, unescape

FIXTURES = Path(__file__).parent / "fixtures"
LONG = FIXTURES / "long_de"
PROFILES = ("streamlaal-fbk", "streamlaal-simulstream", "omnisteval")


def long_run() -> tuple[list[Instance], list[Segment]]:
    return read_instances(LONG / "instances.log"), read_segmentation(
        LONG / "segments.yaml", read_references(LONG / "ref.txt")
    )


def sentence(index: int = 0, **changes: Any) -> Instance:
    values: dict[str, Any] = {
        "source": f"{index}.wav",
        "prediction": "guten Morgen",
        "delays_ms": (1000.0, 2000.0),
        "elapsed_ms": (1100.0, 2300.0),
        "source_length_ms": 3000.0,
        "reference": "guten Tag",
    }
    return Instance(index=index, **(values | changes))


@pytest.mark.parametrize("profile", PROFILES)
def test_the_order_of_talks_changes_no_score(profile: str) -> None:
    instances, segments = long_run()
    wavs = list(dict.fromkeys(segment.wav for segment in segments))
    moved = [s for wav in reversed(wavs) for s in segments if s.wav == wav]
    moved = [replace(segment, index=k) for k, segment in enumerate(moved)]
    before = score_instances(instances, None, segments, profile=profile, lang="de")
    after = score_instances(instances[::-1], None, moved, profile=profile, lang="de")
    assert after == pytest.approx(before)


def test_the_band_gives_the_exact_scores_of_a_stream_that_keeps_up() -> None:
    instances, segments = long_run()
    exact = report_instances(instances, None, segments, profile="streamlaal-fbk")
    banded = report_instances(instances, None, segments, profile="streamlaal-fbk", band=True)
    assert banded.scores == exact.scores
    assert "segmenter:mwer-band|" in banded.signatures["StreamLAAL"]


def test_comet_is_asked_with_source_output_and_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    class Model:
        def predict(self, lines: list[dict[str, str]], **_: Any) -> Any:
            assert lines == [{"src": "good day", "mt": "guten Morgen", "ref": "guten Tag"}]
            return SimpleNamespace(system_score=0.875)

    stub = SimpleNamespace(download_model=lambda name: f"/models/{name}", load_from_checkpoint=lambda path: Model())
    monkeypatch.setitem(sys.modules, "comet", stub)
    report = report_instances([sentence()], sources=["good day"], comet="wmt22-comet-da")
    assert report.scores["COMET"] == 0.875
    assert report.signatures["COMET"].startswith("model:wmt22-comet-da|")


def test_comet_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "comet", None)
    with pytest.raises(DataError, match=r"^COMET needs the package unbabel-comet; run `pip install unbabel-comet`\.$"):
        report_instances([sentence()], sources=["good day"], comet="m")


@pytest.mark.parametrize("profile", ["streamlaal-fbk", "streamlaal-simulstream"])
def test_interleaved_talks_change_no_score(profile: str) -> None:
    instances, segments = long_run()
    wavs = list(dict.fromkeys(segment.wav for segment in segments))
    queues = {wav: [s for s in segments if s.wav == wav] for wav in wavs}
    order = [wav for wav in wavs for _ in queues[wav]]
    random.Random(3).shuffle(order)
    mixed = [replace(queues[wav].pop(0), index=k) for k, wav in enumerate(order)]
    before = score_instances(instances, None, segments, profile=profile)
    assert score_instances(instances, None, mixed, profile=profile) == pytest.approx(before)


@pytest.mark.parametrize("profile", PROFILES)
def test_a_hypothesis_equal_to_the_reference_gets_all_points(profile: str) -> None:
    _, segments = long_run()
    perfect = []
    for wav in dict.fromkeys(segment.wav for segment in segments):
        words = " ".join(s.reference for s in segments if s.wav == wav).split()
        times = tuple(1000.0 * k for k in range(len(words)))
        perfect.append(sentence(source=wav, prediction=" ".join(words), delays_ms=times, elapsed_ms=times))
    report = report_instances(perfect, None, segments, profile=profile)
    assert [s.prediction for s in report.segments] == [s.reference for s in report.segments]
    assert report.scores["BLEU"] == pytest.approx(100)
    assert report.scores["chrF2++"] == pytest.approx(100)


@settings(max_examples=25, deadline=None)
@given(
    delays=st.lists(st.floats(0, 2000), min_size=1, max_size=6),
    shift=st.floats(0, 900),
)
def test_shifting_all_delays_shifts_laal_by_as_much(delays: list[float], shift: float) -> None:
    words = " ".join("w" * len(delays))

    def laal(extra: float) -> float:
        times = tuple(delay + extra for delay in delays)
        return score_instances([sentence(prediction=words, delays_ms=times, elapsed_ms=())])["LAAL"]

    assert laal(shift) == pytest.approx(laal(0) + shift, abs=1e-6)


def test_all_empty_hypotheses_have_no_latency() -> None:
    report = report_instances([sentence(k, prediction="", delays_ms=(), elapsed_ms=()) for k in range(2)])
    assert report.scores == {"BLEU": 0.0, "chrF2": 0.0, "chrF2++": 0.0}
    assert report.notes == ["No segment has a hypothesis: latency is undefined and BLEU and chrF are 0."]


@pytest.mark.parametrize("profile", PROFILES)
def test_all_empty_recordings_have_no_latency(profile: str) -> None:
    instances, segments = long_run()
    silent = [replace(i, prediction="", delays_ms=(), elapsed_ms=()) for i in instances]
    scores = report_instances(silent, None, segments, profile=profile).scores
    assert {name for name in scores if "AL" in name} == set()
    assert scores["BLEU"] == 0.0


def test_zero_length_audio_counts_in_quality_only() -> None:
    report = report_instances([sentence(0), sentence(1, source_length_ms=0.0)])
    assert report.segment_scores[1]["LAAL"] is None
    assert report.scores["LAAL"] == report.segment_scores[0]["LAAL"]
    assert "1 segments have no source length (the first: 1.wav): no latency." in report.notes


def test_decreasing_delays_are_scored_and_noted() -> None:
    report = report_instances([sentence(delays_ms=(2000.0, 1000.0), where="log, line 1")])
    assert report.scores["LAAL"] == pytest.approx((2000 + 1000 - 1500) / 2)
    assert report.notes == ["log, line 1: delays decrease; they are scored as they are."]


def test_an_empty_reference_is_noted() -> None:
    report = report_instances([sentence(0), sentence(1, reference="")])
    assert report.scores["AL"] == pytest.approx((sum((1000, 2000 - 1500)) / 2 + sum((1000, 2000 - 3000)) / 2) / 2)
    assert "1 references are empty." in report.notes
    characters = report_instances([sentence(0, reference="", prediction="ab")], unit="char")
    assert characters.scores["LAAL"] == pytest.approx(750)
    assert "AL" not in characters.scores


@pytest.mark.parametrize("text", ["###", "</s> x", "a\u00a0b", "a ### b", "\u2581a", "#"])
@pytest.mark.parametrize("profile", PROFILES)
def test_marks_of_other_tools_are_plain_text(profile: str, text: str) -> None:
    instances, segments = long_run()
    changed = [replace(segments[0], reference=text), *segments[1:]]
    report = report_instances(instances, None, changed, profile=profile)
    assert len(report.segments) == len(segments)
    assert report.segments[0].reference == text


@pytest.mark.parametrize(
    ("instances", "options", "message"),
    [
        ([], {}, "The log has no instances; nothing can be scored."),
        ([sentence(0), sentence(0)], {}, "log, line 1: index 0 occurs twice; keep one of the lines."),
        ([sentence(0, reference=None)], {}, "log, line 1: no `reference` in the log; give --references."),
        ([sentence(0)], {"unit": "spm"}, "Unknown unit 'spm'; known: word, char."),
        (
            [sentence(0)],
            {"profile": "x"},
            "Unknown profile 'x'; known: simuleval, streamlaal-fbk, streamlaal-simulstream, omnisteval, auto.",
        ),
        (
            [sentence(0)],
            {"profile": "streamlaal-fbk"},
            "Profile streamlaal-fbk resegments recordings; give their segments with --segmentation FILE.yaml.",
        ),
        (
            [sentence(0)],
            {"tokenizer": "klingon"},
            "sacrebleu cannot use tokenizer 'klingon'; choose one of 13a, intl, zh, ja-mecab, char, none, "
            "or install what it needs (`pip install 'sacrebleu[ja]'`).",
        ),
        (
            [sentence(0)],
            {"comet": "m"},
            "COMET needs the source sentences; give --sources FILE with one line per reference.",
        ),
        ([sentence(0)], {"moses": 3}, "the scoring options: moses must be true or false, not 3."),
        (
            [sentence(0)],
            {"colour": 1},
            "Unknown scoring option 'colour'; known: unit, lang, profile, tokenizer, moses, band, raw_elapsed, "
            "from_first_segment, comet, metrics, terms.",
        ),
    ],
)
def test_what_cannot_be_scored(instances: list[Instance], options: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError) as error:
        report_instances([replace(one, where="log, line 1") for one in instances], **options)
    assert str(error.value) == message


def test_line_counts_that_differ(tmp_path: Path) -> None:
    (tmp_path / "ref").write_text("a\nb\n")
    write_instances(tmp_path / "log", [sentence(0)])
    with pytest.raises(DataError, match=r"^The log has 1 instances but there are 2 references; the counts must match"):
        report_log(tmp_path / "log", tmp_path / "ref")


def test_a_log_of_another_program(tmp_path: Path) -> None:
    (tmp_path / "log").write_text('{"hyp": "a"}\n')
    with pytest.raises(
        DataError, match=r"^log, line 1: none of SimulEval's, simulstream's or OmniSTEval's keys; has hyp"
    ):
        report_log(tmp_path / "log")


def test_files_of_a_report_are_read_back(tmp_path: Path) -> None:
    report = report_log(LONG / "instances.log", LONG / "ref.txt", LONG / "segments.yaml", lang="de")
    report.write(tmp_path)
    flat = json.loads((tmp_path / "scores.json").read_text())
    assert flat == report.scores
    scores, signatures = read_scores(tmp_path)
    assert scores == pytest.approx(report.scores, abs=1e-6)
    assert signatures == report.signatures
    rows = read_segments(tmp_path / "segments.tsv")
    assert [row.reference for row in rows] == [segment.reference for segment in report.segments]
    assert [row.units for row in rows] == [segment.units for segment in report.segments]
    assert [len(row.emitted_ms) for row in rows] == [len(segment.units) for segment in report.segments]
    assert rows[0].scores["StreamLAAL"] == pytest.approx(report.segment_scores[0]["StreamLAAL"], abs=1e-3)


@given(st.text(st.sampled_from("ab\\\t\n\rtn"), max_size=12))
def test_escaped_text_has_no_separators_and_comes_back(text: str) -> None:
    escaped = escape(text)
    assert not set(escaped) & set("\t\n\r")
    assert unescape(escaped) == text


def test_time_of_the_processor_is_counted_where_the_log_has_it() -> None:
    timed = [sentence(0, extra={"cpu_s": 1.5}), sentence(1, extra={"cpu_s": 0.3}), sentence(2)]
    scores = report_instances(timed, ["guten Tag"] * 3).scores
    assert scores["CpuRTF"] == pytest.approx(1.8 / 6)
    assert "CpuRTF" not in report_instances([sentence(0)], ["guten Tag"]).scores


def test_anticipated_words_are_summed_over_the_run() -> None:
    def said(index: int, **counts: int) -> Instance:
        return Instance(
            index=index,
            source=f"{index}.wav",
            prediction="a b",
            delays_ms=(500.0, 900.0),
            elapsed_ms=(510.0, 920.0),
            source_length_ms=1000.0,
            extra={"counts": counts} if counts else {},
        )

    judged = [
        said(0, committed_words=6, anticipated_words=3, wrong_anticipated_words=1),
        said(1, committed_words=4, anticipated_words=1, wrong_anticipated_words=0),
        said(2),
    ]
    scores = report_instances(judged, ["a b"] * 3).scores
    assert (scores["AnticipatedWords"], scores["WrongAnticipations"]) == (40.0, 25.0)
    unjudged = report_instances([said(0, committed_words=5, anticipated_words=2)], ["a b"]).scores
    assert unjudged["AnticipatedWords"] == 40.0 and "WrongAnticipations" not in unjudged
    assert "AnticipatedWords" not in report_instances([said(0)], ["a b"]).scores
    assert display_of("WrongAnticipations").unit == "%"
