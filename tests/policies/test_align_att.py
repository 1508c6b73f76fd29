from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from simulst.core.alignment import Normalisation
from simulst.core.translator import Alignment, Evidence, FloatArray
from simulst.errors import PolicyError
from simulst.policies.align_att import AlignAtt
from simulst.testing import Scripted, ToyVocabulary, play

WORDS = ToyVocabulary(["_a", "_b", "_c", "_d", "e"])


def peaks(*frames: int, total: int = 10, padding: int = 0) -> FloatArray:
    weights = np.full((len(frames), total + padding), 0.01, dtype=np.float32)
    weights[np.arange(len(frames)), list(frames)] = 0.9
    weights[:, total:] = 5.0
    return weights


def attending(*frames: int, pieces: str = "_a _b _c _d", padding: int = 0, stop: str = "eos") -> Scripted:
    ids = WORDS.encode(pieces.split())
    weights = peaks(*frames, padding=padding)
    return Scripted(ids=ids, weights=weights, n_valid=10, history=len(frames) - len(ids), stop=stop)  # type: ignore[arg-type]


@pytest.mark.parametrize("how", ["none", "l2", "zscore_online"])
@pytest.mark.parametrize("padding", [0, 5])
@pytest.mark.parametrize(
    ("frames", "f", "expected"),
    [([3, 7, 8, 5], 2, "a b"), ([3, 7, 7, 5], 2, "a b c d"), ([3, 7, 8, 5], 10, ""), ([3, 7, 8, 5], 99, "")],
)
def test_cut_is_at_the_first_token_beyond_the_border(
    frames: list[int], f: int, expected: str, padding: int, how: Normalisation
) -> None:
    policy = AlignAtt(f=f, normalise=how)
    _, shown = play(policy, [attending(*frames, padding=padding)], WORDS)
    assert shown == [expected]


@pytest.mark.parametrize(("frame", "expected"), [(8, ""), (7, "a")])
def test_the_border_itself_is_blocked(frame: int, expected: str) -> None:
    _, shown = play(AlignAtt(f=2), [attending(frame, pieces="_a")], WORDS)
    assert shown == [expected]


@pytest.mark.parametrize("how", ["zscore", "zscore_online"])
def test_single_token_is_decided_by_its_row_as_it_is(how: Normalisation) -> None:
    _, shown = play(AlignAtt(f=2, normalise=how), [attending(9, pieces="_a")], WORDS)
    assert shown == [""]


def test_word_that_is_cut_inside_waits_but_a_whole_one_before_the_border_is_said() -> None:
    script = [attending(1, 2, 9, pieces="_a _b e"), attending(1, 2, 9, pieces="_a e _c")]
    assert play(AlignAtt(f=2), script[:1], WORDS)[1] == ["a"]
    assert play(AlignAtt(f=2), script[1:], WORDS)[1] == ["ae"]


def test_last_word_of_an_unfinished_hypothesis_waits() -> None:
    assert play(AlignAtt(f=2), [attending(1, 2, pieces="_a _b", stop="length")], WORDS)[1] == ["a"]


@pytest.mark.parametrize(
    ("frames", "pieces", "expected"),
    [
        ([1, 2, 3, 9], "_a _b _c _d", "a b"),  # d lies beyond the border, c is the last word before it
        ([1, 2, 3, 4], "_a _b _c _d", "a b c"),
        ([1, 2, 9], "_a _b e", "a"),  # a word that is begun counts as the last one
        ([1, 2], "_a e", ""),
    ],
)
def test_last_words_before_the_border_can_be_held_back(frames: list[int], pieces: str, expected: str) -> None:
    assert play(AlignAtt(f=2, hold_words=1), [attending(*frames, pieces=pieces)], WORDS)[1] == [expected]


def test_words_held_back_are_said_later_and_at_the_end() -> None:
    script = [attending(1, 2, 3, pieces="_a _b _c"), attending(1, 2, 3, 4, pieces="_c _d")]
    assert play(AlignAtt(f=2, hold_words=1), script, WORDS)[1] == ["a b", "a b c"]


def test_history_rows_are_not_judged() -> None:
    script = [attending(1, pieces="_a"), attending(9, 2, pieces="_b")]
    assert play(AlignAtt(f=2), script, WORDS)[1] == ["a", "a b"]


def test_the_last_frame_can_be_left_out_as_a_sink() -> None:
    weights = peaks(3, 9)
    weights[1, 4] = 0.5
    script = [Scripted(ids=WORDS.encode(["_a", "_b"]), weights=weights)]
    assert play(AlignAtt(f=2), script, WORDS)[1] == ["a"]
    assert play(AlignAtt(f=2, drop_last=1), script, WORDS)[1] == ["a b"]


def test_attention_that_jumps_back_gives_the_chunk_up_and_changes_nothing() -> None:
    script = [attending(7, pieces="_a"), attending(7, 1, pieces="_b"), attending(7, 6, pieces="_b")]
    session, shown = play(AlignAtt(f=2, rewind_s=0.2), script, WORDS)
    assert shown == ["a", "a", "a b"]
    assert session._translator.prefixes[1:] == [WORDS.encode(["_a"])] * 2  # type: ignore[attr-defined]


LOOPS = ToyVocabulary(["_a", "_b", "_c", "_d", "e", ","])


@pytest.mark.parametrize(
    ("frames", "pieces", "expected"),
    [
        ([1, 5, 6, 1, 5], "_a _b , _a _b", "a b"),  # said again; the comma before it goes too
        ([1, 5, 1, 6, 7], "_a _b , _c _d", "a b, c"),  # marks attend anywhere; the last word may be half of one
        ([5, 2, 6, 7], "_a _b _c _d", "a b c"),  # not further back than 3 frames
        ([5, 1, 6, 7], "_a _b _c _d", "a"),
        ([5, 6, 1, 7], "_a _b e _c", "a"),  # half a word is none
    ],
)
def test_what_is_said_again_is_cut(frames: list[int], pieces: str, expected: str) -> None:
    ids = LOOPS.encode(pieces.split())
    script = [Scripted(ids=ids, weights=peaks(*frames), n_valid=10, stop="length")]
    assert play(AlignAtt(f=2, loop_s=0.125), script, LOOPS)[1] == [expected]


def test_a_jump_back_waits_for_one_chunk_and_is_then_believed() -> None:
    script = [
        attending(7, pieces="_a"),
        attending(7, 1, 6, pieces="_b _c"),
        attending(7, 1, 6, pieces="_b _c"),
        attending(7, 1, 6, 3, pieces="_d"),  # counted from 6, for the jump was believed
    ]
    session, shown = play(AlignAtt(f=2, loop_s=0.125), script, WORDS)
    assert shown == ["a", "a", "a b c", "a b c d"]
    assert session._translator.prefixes[1:3] == [WORDS.encode(["_a"])] * 2  # type: ignore[attr-defined]


def test_what_was_reached_is_counted_from_its_furthest_word() -> None:
    script = [attending(1, 6, 3, pieces="_a _b _c"), attending(1, 6, 3, 2, pieces="_d")]
    assert play(AlignAtt(f=2, loop_s=0.125), script, WORDS)[1] == ["a b c", "a b c"]
    assert play(AlignAtt(f=2), script, WORDS)[1] == ["a b c", "a b c d"]


def test_lower_median_over_heads_decides() -> None:
    policy = AlignAtt(f=2, heads="median")
    heads = np.stack([peaks(3), peaks(9), peaks(4)])
    alignment = Alignment(weights=heads.mean(axis=0), history=0, n_valid=10, frame_s=0.04, start_s=0.0, heads=heads)
    assert policy.attended(alignment).tolist() == [4]
    assert policy.needs() == {Evidence.PREFIX, Evidence.ALIGNMENT, Evidence.ALIGNMENT_HEADS}


def test_finish_has_no_border() -> None:
    session, shown = play(AlignAtt(f=10), [attending(9, pieces="_a"), attending(9, pieces="_a")], WORDS, chunks=1)
    session.finish()
    assert (shown, session.text) == ([""], "a")


@pytest.mark.parametrize(
    ("end_f", "frames", "pieces", "expected"),
    [
        (4, [1, 5, 6, 2], "_a _b _c _d", "a b"),
        (0, [1, 5, 9, 2], "_a _b _c _d", "a b c d"),
        (1, [1, 9, 2], "_a e _b", ""),  # half a word is none
        (99, [1, 2], "_a _b", ""),
        (4, [], "", ""),
    ],
)
def test_the_end_may_have_a_border_of_its_own(end_f: int, frames: list[int], pieces: str, expected: str) -> None:
    script = [attending(9, pieces="_a"), attending(*frames, pieces=pieces)]
    session, shown = play(AlignAtt(f=2, end_f=end_f), script, WORDS, chunks=1)
    session.finish()
    assert (shown, session.text) == ([""], expected)


def test_the_border_at_the_end_is_in_frames_of_frame_ms() -> None:
    script = [attending(9, pieces="_a"), attending(7, 8, pieces="_a _b")]  # frames of 40 ms, the last two are 80 ms
    session, _ = play(AlignAtt(f=4, end_f=4, frame_ms=20.0), script, WORDS, chunks=1)
    session.finish()
    assert session.text == "a"


@pytest.mark.parametrize(
    ("parameters", "frame_s", "frames"),
    [
        ({"f": 4}, 0.096, 4),
        ({"f": 4, "frame_ms": 40.0}, 0.096, 2),
        ({"f": 2, "frame_ms": 40.0}, 0.096, 1),
        ({"f": 8, "frame_ms": 40.0}, 0.096, 3),
        ({"f": 4, "frame_ms": 40.0}, 0.02, 8),
        ({"f": 0, "frame_ms": 40.0}, 0.02, 0),
        ({"border_ms": 10.0}, 0.096, 1),
    ],
)
def test_border_is_translated_to_the_frames_of_the_model(
    parameters: dict[str, Any], frame_s: float, frames: int
) -> None:
    assert AlignAtt(**parameters).border_frames(frame_s) == frames


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"f": -1}, "f is -1; it must be at least 0"),
        ({"median": 4}, "median is 4; it must be an odd number of frames"),
        ({"border_ms": 0.0}, "border_ms is 0.0; it must be above 0"),
        ({"normalise": "l1"}, "normalise is 'l1'; it must be none, zscore, zscore_online, zscore_running or l2"),
        ({"consensus": 1.5}, "consensus is 1.5; it must be above 0 and at most 1"),
    ],
)
def test_bad_parameters_are_refused(parameters: dict[str, Any], sentence: str) -> None:
    with pytest.raises(PolicyError, match=sentence):
        AlignAtt(**parameters)


def aligned(heads: FloatArray) -> Alignment:
    return Alignment(weights=heads.mean(axis=0), history=0, n_valid=10, frame_s=0.04, start_s=0.0, heads=heads)


def test_heads_are_normalised_and_filtered_before_their_mean() -> None:
    """A head whose weights are large decides the mean of raw rows, not the mean of z-scores."""
    rows = np.full((3, 5, 10), 0.01, dtype=np.float32)
    for token, frame in enumerate((1, 2, 3, 4, 5)):
        rows[:2, token, frame] = 0.05
    rows[2, :, 8] = 0.9  # the same for all tokens: no evidence about any of them
    rows[2, :, 8] += np.linspace(0, 0.01, 5)
    policy = AlignAtt(f=2, normalise="zscore_running", heads="filtered_mean")
    assert policy.attended(aligned(rows)).tolist()[2:] == [3, 4, 5]
    assert AlignAtt(f=2).attended(aligned(rows)).tolist() == [8] * 5


def test_marks_before_the_text_count_in_z_scores() -> None:
    """Where the marks attend to the end of the audio, a first token that does so too says nothing by it."""
    rows = np.full((1, 2, 10), 0.01, dtype=np.float32)
    rows[0, :, 9], rows[0, 0, 2], rows[0, 1, 3] = 0.5, 0.2, 0.2
    marks = np.full((1, 3, 10), 0.01, dtype=np.float32)
    marks[0, :, 9] = [0.5, 0.6, 0.55]
    alignment = replace(aligned(rows), marks=marks)
    policy = AlignAtt(f=2, normalise="zscore_running", heads="filtered_mean", marks=True)
    assert policy.attended(alignment).tolist() == [2, 3]
    assert replace(policy, marks=False).attended(alignment).tolist() == [9, 9]


@pytest.mark.parametrize(
    ("parameters", "blocked"),
    [
        ({}, [False, True, True]),
        ({"pass_mass": 0.3}, [False, False, True]),
        ({"max_mass": 0.15}, [True, True, True]),
        ({"consensus": 0.6}, [False, True, True]),
        ({"consensus": 1.0}, [True, True, True]),
    ],
)
def test_gates_of_mass_and_consensus(parameters: dict[str, Any], blocked: list[bool]) -> None:
    weights = np.array([[0.5, 0.3, 0.2], [0.37, 0.38, 0.25], [0.1, 0.1, 0.8]], dtype=np.float32)
    wide = np.repeat(weights, [3, 4, 3], axis=1) / np.float32(3)
    heads = np.repeat(wide[None], 3, axis=0)
    heads[0, 0] = peaks(9)[0]
    policy = AlignAtt(f=3, **parameters)
    frames = np.array([0, 8, 9])
    alignment = replace(aligned(heads), weights=wide)
    assert policy._blocked(alignment, frames, 7).tolist() == blocked
