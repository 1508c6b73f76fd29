import pytest

from simulst.errors import PolicyError
from simulst.policies.hold_n import HoldN
from simulst.testing import Scripted, ToyVocabulary, play

WORDS = ToyVocabulary(["_a", "_b", "_c", "d", "_e"])


def says(pieces: str, stop: str = "eos") -> Scripted:
    return Scripted(ids=WORDS.encode(pieces.split()), stop=stop)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("n", "pieces", "stop", "expected"),
    [
        (2, "_a _b _c d _e", "eos", "a b"),  # d goes on with the third word
        (1, "_a _b _c d _e", "eos", "a b cd"),
        (0, "_a _b _c d _e", "eos", "a b cd e"),
        (0, "_a _b", "length", "a"),
        (5, "_a _b _c d _e", "eos", ""),
        (9, "_a", "eos", ""),
        (2, "", "eos", ""),
    ],
)
def test_the_last_n_tokens_are_kept_back(n: int, pieces: str, stop: str, expected: str) -> None:
    assert play(HoldN(n=n), [says(pieces, stop)], WORDS)[1] == [expected]


@pytest.mark.parametrize(("n", "expected"), [(0, "a b cd e"), (1, "a b cd"), (2, "a b"), (4, ""), (5, "")])
def test_n_may_count_words(n: int, expected: str) -> None:
    assert play(HoldN(n=n, unit="words"), [says("_a _b _c d _e")], WORDS)[1] == [expected]


def test_prefix_is_not_said_again_and_finish_says_the_rest() -> None:
    session, shown = play(HoldN(n=1), [says("_a _b"), says("_b _c"), says("_c _e")], WORDS, chunks=2)
    session.finish()
    assert shown == ["a", "a b"]
    assert session.text == "a b c e"


def test_negative_n_is_refused() -> None:
    with pytest.raises(PolicyError, match="n is -1; it must be at least 0"):
        HoldN(n=-1)
