import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulst.core.translator import Hypothesis
from simulst.errors import PolicyError
from simulst.policies.ralcp import Ralcp, relaxed_prefix, units
from simulst.testing import Scripted, ToyVocabulary, play

WORDS = ToyVocabulary(["_a", "_b", "_c", "_d", "_x", "e", ",", "_be"])


@pytest.mark.parametrize(
    ("candidates", "threshold", "expected"),
    [
        (["a b", "a b", "a b", "a b c d", "a b c e"], 0.6, "a b"),
        (["a b c", "x b c", "x b c", "x b d", "x q"], 0.6, "x b"),
        (["", "", "a b"], 0.6, ""),
        (["a b"], 0.6, "a b"),
        ([], 0.6, ""),
        (["a", "b"], 0.5, "a"),
    ],
)
def test_votes(candidates: list[str], threshold: float, expected: str) -> None:
    assert " ".join(relaxed_prefix([c.split() for c in candidates], threshold)) == expected


def test_exactly_the_threshold_passes_unless_strict() -> None:
    candidates = [["a"], ["a"], ["a"], ["b"], ["c"]]
    assert relaxed_prefix(candidates, 0.6) == ["a"]
    assert relaxed_prefix(candidates, 0.6, strict=True) == []


@settings(deadline=None)
@given(st.lists(st.lists(st.sampled_from("ab"), max_size=5), min_size=1, max_size=7), st.floats(0.5, 1))
def test_output_begins_enough_candidates(candidates: list[list[str]], threshold: float) -> None:
    agreed = relaxed_prefix(candidates, threshold)
    voters = sum(c[: len(agreed)] == agreed[: len(c)] for c in candidates)
    assert voters >= threshold * len(candidates) - 1e-9


def hypothesis(pieces: str, stop: str = "eos") -> Hypothesis:
    return Hypothesis(ids=WORDS.encode(pieces.split()), stop=stop)  # type: ignore[arg-type]


def test_units_are_complete_words_and_marks() -> None:
    assert units(hypothesis("_a e , _b"), WORDS, fresh=True) == (["ae", ",", "b"], [2, 3, 4])
    assert units(hypothesis("_a e , _b", "length"), WORDS, fresh=True) == (["ae", ","], [2, 3])
    assert units(hypothesis(""), WORDS, fresh=True) == ([], [])


def test_units_of_a_script_without_spaces_end_at_tokens() -> None:
    characters = ToyVocabulary(["今日", "は"], spaced=False)
    line = Hypothesis(ids=characters.encode(["今日", "は"]), stop="eos")
    assert units(line, characters, fresh=True) == (["今", "日", "は"], [0, 1, 2])


def test_candidates_agree_on_text_however_it_is_spelled() -> None:
    line = Scripted(
        ids=WORDS.encode(["_x"]), others=(WORDS.encode(["_be", "_c"]), WORDS.encode(["_b", "e", "_d"])), stop="eos"
    )
    session, shown = play(Ralcp(candidates=3), [line], WORDS)
    assert shown == ["be"]
    assert session.prefix == WORDS.encode(["_be"])


def test_last_word_of_a_cut_candidate_does_not_vote() -> None:
    line = Scripted(ids=WORDS.encode(["_a", "_b"]), stop="length", others=(WORDS.encode(["_a", "_c"]),))
    assert play(Ralcp(candidates=2, threshold=1.0), [line], WORDS)[1] == ["a"]


def test_single_candidate_is_refused() -> None:
    with pytest.raises(PolicyError, match="candidates is 1; it must be between 2 and 100"):
        Ralcp(candidates=1)
