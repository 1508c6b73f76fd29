import pytest

from simulst.core.boundary import complete, word_starts
from simulst.core.policy import strip_if_incomplete
from simulst.core.translator import Hypothesis
from simulst.testing import ToyVocabulary

WORDS = ToyVocabulary(["_a", "_b", "c", "ing", "_the", "."])


def ids(pieces: str) -> tuple[int, ...]:
    return WORDS.encode(pieces.split())


@pytest.mark.parametrize(
    ("pieces", "following", "kept"),
    [
        ("_a _b c", None, "_a"),
        ("_a", None, ""),
        ("ing", None, ""),
        ("ing _the", None, "ing"),
        ("_a _b c", "_the", "_a _b c"),
        ("_a _b c", ".", "_a _b c"),
        ("_a _b c", "</s>", "_a _b c"),
        ("_a _b c", "ing", "_a"),
    ],
)
def test_unfinished_last_word_is_stripped(pieces: str, following: str | None, kept: str) -> None:
    token = None if following is None else WORDS.names.index(following)
    assert ids(pieces)[: strip_if_incomplete(ids(pieces), token, WORDS)] == ids(kept)


@pytest.mark.parametrize(
    ("pieces", "stop", "keep", "kept"),
    [
        ("_a _b", "eos", 2, "_a _b"),
        ("_a _b", "length", 2, "_a"),
        ("_a _b .", "eos", 3, "_a _b"),
        ("_a _b . _the", "eos", 3, "_a _b ."),
        (". .", "eos", 2, ""),
        ("_a _b c", "eos", 2, "_a"),
    ],
)
def test_cut_is_judged_by_what_follows_it(pieces: str, stop: str, keep: int, kept: str) -> None:
    hypothesis = Hypothesis(ids=ids(pieces), stop=stop)  # type: ignore[arg-type]
    assert ids(pieces)[: complete(hypothesis, keep, WORDS)] == ids(kept)


def test_token_that_a_gate_rejected_says_whether_the_word_is_whole() -> None:
    whole = Hypothesis(ids=ids("_a _b"), stop="gate", next_id=ids("_the")[0])
    half = Hypothesis(ids=ids("_a _b"), stop="gate", next_id=ids("ing")[0])
    assert (complete(whole, 2, WORDS), complete(half, 2, WORDS)) == (2, 1)


def test_scripts_without_spaces_cut_anywhere() -> None:
    characters = ToyVocabulary(["今日", "は"], spaced=False)
    tokens = characters.encode(["今日", "は"])
    assert strip_if_incomplete(tokens, None, characters) == 2
    assert word_starts(tokens, characters, fresh=True) == [0, 0, 1]


def test_first_token_of_fresh_decoding_opens_a_word_unless_it_is_a_mark() -> None:
    assert word_starts(ids("ing _a"), WORDS, fresh=True) == [0, 1]
    assert word_starts(ids("ing _a"), WORDS, fresh=False) == [1]
    assert word_starts(ids(". _a"), WORDS, fresh=True) == [1]
