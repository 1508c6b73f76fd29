"""The policies of "Learning When to Speak" and EMMA."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulst.core.policy import Policy
from simulst.core.session import Session
from simulst.core.translator import DECODING
from simulst.errors import PolicyError
from simulst.policies import load_policy
from simulst.policies.confidence import Confidence
from simulst.policies.consensus import Consensus, edit_ratio
from simulst.policies.emma import Emma, before_repetition
from simulst.policies.greedy import Greedy
from simulst.testing import Scripted, ToyTranslator, ToyVocabulary, play

WORDS = ToyVocabulary(["_a", "_b", "_c", "d", "_long", "_lung"])


def says(pieces: str, logprobs: tuple[float, ...] = (), stop: str = "eos", p: tuple[float, ...] = ()) -> Scripted:
    ids = WORDS.encode(pieces.split())
    return Scripted(ids=ids, logprobs=logprobs or None, p_choose=p or None, stop=stop)  # type: ignore[arg-type]


def test_greedy_commits_every_complete_word_at_once() -> None:
    script = [says("_a _b", stop="length"), says("_b _c d")]
    assert play(Greedy(), script, WORDS)[1] == ["a", "a b cd"]


def test_greedy_waits_for_its_start() -> None:
    assert play(Greedy(min_start_s=0.7), [says("_a")], WORDS, chunks=2)[1] == ["", "a"]


@pytest.mark.parametrize(
    ("parameters", "logprobs", "expected"),
    [
        ({"threshold": -0.5}, (-0.1, -0.2, -0.9), "a b"),
        ({"threshold": -0.5}, (-0.6, -0.1, -0.1), ""),
        ({"threshold": -0.5, "scope": "hypothesis"}, (-0.1, -0.2, -0.9), "a b c"),
        ({"threshold": -0.41, "scope": "hypothesis"}, (-0.1, -0.2, -0.9), "a b c"),
        ({"threshold": -0.39, "scope": "hypothesis"}, (-0.1, -0.2, -0.9), ""),
    ],
)
def test_confidence(parameters: dict[str, Any], logprobs: tuple[float, ...], expected: str) -> None:
    assert play(Confidence(**parameters), [says("_a _b _c", logprobs)], WORDS)[1] == [expected]


@pytest.mark.parametrize(
    ("parameters", "no_speech", "expected"),
    [
        ({}, 0.09, "a b c"),
        ({}, 0.11, ""),
        ({"alpha": 0.7}, 0.29, "a b c"),
        ({"alpha": 0.7}, 0.31, ""),
        ({"signal": "logprob"}, 0.01, "a"),
        ({}, None, "a"),
    ],
)
def test_confidence_by_the_probability_of_no_speech(
    parameters: dict[str, Any], no_speech: float | None, expected: str
) -> None:
    line = replace(says("_a _b _c", (-0.1, -0.9, -0.1)), no_speech=no_speech)
    assert play(Confidence(**parameters), [line], WORDS)[1] == [expected]


def test_a_model_without_that_probability_is_refused_where_it_was_asked_for() -> None:
    with pytest.raises(PolicyError, match="needs no_speech, which model toy does not provide"):
        Session(ToyTranslator(provides=DECODING), load_policy("confidence-a0.7"))
    with pytest.raises(PolicyError, match=r"alpha is 1\.0; it must be above 0 and below 1"):
        Confidence(alpha=1.0)


def test_confidence_judges_words_by_the_mean_of_their_tokens() -> None:
    line = says("_a d _b", (-0.9, -0.1, -0.1))
    assert play(Confidence(threshold=-0.5), [line], WORDS)[1] == ["ad b"]


def test_consensus_wants_two_hypotheses_that_resemble_each_other() -> None:
    script = [says("_a _long"), says("_a _lung"), says("_c")]
    assert play(Consensus(ratio=0.8), script[:2], WORDS)[1] == ["", "a lung"]
    assert play(Consensus(ratio=0.9), script[:2], WORDS)[1] == ["", ""]


def test_consensus_compares_after_what_is_committed() -> None:
    script = [says("_a"), says("_a"), says("_b"), says("_b")]
    assert play(Consensus(), script, WORDS)[1] == ["", "a", "a", "a b"]


@pytest.mark.parametrize(
    ("first", "second", "ratio"),
    [("", "", 1.0), ("abc", "", 0.0), ("abcd", "abxd", 0.75), ("kitten", "sitting", 8 / 13)],
)
def test_edit_ratio(first: str, second: str, ratio: float) -> None:
    assert edit_ratio(first, second) == pytest.approx(ratio)


@settings(deadline=None)
@given(st.text("ab", max_size=12), st.text("ab", max_size=12))
def test_edit_ratio_is_the_longest_common_subsequence(first: str, second: str) -> None:
    table = [[0] * (len(second) + 1) for _ in range(len(first) + 1)]
    for i, a in enumerate(first):
        for j, b in enumerate(second):
            table[i + 1][j + 1] = table[i][j] + 1 if a == b else max(table[i][j + 1], table[i + 1][j])
    expected = 2 * table[-1][-1] / (len(first) + len(second)) if first or second else 1.0
    assert edit_ratio(first, second) == pytest.approx(expected)


def test_emma_appends_tokens_until_the_model_would_rather_wait() -> None:
    line = says("_a _b _c", p=(0.9, 0.5, 0.49))
    assert play(Emma(min_start_s=0.0), [line], WORDS)[1] == ["a b"]


def test_emma_ends_a_hypothesis_but_not_the_stream_at_its_end_mark() -> None:
    script = [says("_a", p=(0.9,)), says("_b", p=(0.9,))]
    assert play(Emma(min_start_s=0.0), script, WORDS)[1] == ["a", "a b"]


def test_emma_does_not_write_what_it_has_just_written() -> None:
    sure = (0.9,) * 5
    script = [says("_a _b _c", p=sure), says("_b _c _d", p=sure), says("_d _a", p=sure)]
    assert play(Emma(min_start_s=0.0), script, WORDS)[1] == ["a b c", "a b c", "a b c d a"]
    assert play(Emma(min_start_s=0.0, block_ngrams=False), script[:2], WORDS)[1][-1] == "a b c b c d"


@pytest.mark.parametrize(
    ("prefix", "new", "kept"),
    [
        ((), (1, 2, 3), 3),
        ((), (1, 2, 3, 1, 2), 3),  # 1 2 comes again
        ((), (1, 1, 1), 1),  # the second pair is the first one again
        ((1, 2), (3, 1, 2, 4), 1),
        ((1, 2, 9, 9, 8, 7), (1, 2), 2),  # said too long ago
        ((5, 6), (5, 6), 0),
    ],
)
def test_what_stands_before_a_repetition(prefix: tuple[int, ...], new: tuple[int, ...], kept: int) -> None:
    assert before_repetition(prefix, new) == kept


def test_emma_lets_a_model_repeat_itself_in_the_end() -> None:
    sure = (0.9,) * 5
    script = [says("_a _b", p=sure), *[says("_a _b", p=sure)] * 6]
    assert play(Emma(min_start_s=0.0), script, WORDS)[1][-2:] == ["a b", "a b a b"]


def test_emma_waits_for_its_start_and_finish_is_not_gated() -> None:
    session, shown = play(Emma(min_start_s=1.0), [says("_a _b", p=(0.1, 0.1))], WORDS, chunks=1)
    session.finish()
    assert (shown, session.text) == ([""], "a b")


@pytest.mark.parametrize(
    ("kind", "parameters", "sentence"),
    [
        (Confidence, {"threshold": 0.5}, "threshold is 0.5; it must be at most 0"),
        (Consensus, {"ratio": 1.5}, "ratio is 1.5; it must be above 0 and at most 1"),
        (Emma, {"threshold": 0.0}, "threshold is 0.0; it must be above 0 and at most 1"),
    ],
)
def test_bad_parameters_are_refused(kind: type[Policy], parameters: dict[str, Any], sentence: str) -> None:
    with pytest.raises(PolicyError, match=sentence):
        kind(**parameters)
