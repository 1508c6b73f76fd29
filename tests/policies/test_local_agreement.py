import pytest

from simulst.errors import PolicyError
from simulst.policies.local_agreement import LocalAgreement
from simulst.testing import Scripted, ToyVocabulary, play

WORDS = ToyVocabulary(["_a", "_b", "_c", "_d", "_x", "_y", "e"])


def says(pieces: str, stop: str = "eos") -> Scripted:
    return Scripted(ids=WORDS.encode(pieces.split()), stop=stop)  # type: ignore[arg-type]


def test_hypotheses_are_compared_after_what_is_committed() -> None:
    script = [says("_a _b _c _d"), says("_a _b _x"), says("_x _y"), says("_y")]
    session, shown = play(LocalAgreement(n=2), script, WORDS)
    assert shown == ["", "a b", "a b x", "a b x y"]
    assert session._translator.prefixes[2] == WORDS.encode(["_a", "_b"])  # type: ignore[attr-defined]


def test_equal_hypotheses_are_committed_whole() -> None:
    assert play(LocalAgreement(n=2), [says("_a _b")] * 2, WORDS)[1] == ["", "a b"]


def test_word_that_one_hypothesis_continues_waits() -> None:
    assert play(LocalAgreement(n=2), [says("_a _b"), says("_a _b e")], WORDS)[1] == ["", "a"]
    assert play(LocalAgreement(n=2), [says("_a _b e"), says("_a _b")], WORDS)[1] == ["", "a"]
    assert play(LocalAgreement(n=2), [says("_a _b", "length")] * 2, WORDS)[1] == ["", "a"]


def test_three_must_agree_when_n_is_three() -> None:
    script = [says("_a _b _c"), says("_a _b _x"), says("_a _y")]
    assert play(LocalAgreement(n=3), script, WORDS)[1] == ["", "", "a"]


def test_reset_forgets_earlier_hypotheses() -> None:
    session, _ = play(LocalAgreement(n=2), [says("_a")] * 2, WORDS, chunks=1)
    session.reset()
    assert session._state.recent == []


def test_finish_translates_all_audio_anew() -> None:
    session, shown = play(LocalAgreement(n=2), [says("_a _b"), says("_a _c")], WORDS, chunks=1)
    session.finish()
    assert (shown, session.text) == ([""], "a c")


def test_one_hypothesis_cannot_agree() -> None:
    with pytest.raises(PolicyError, match="n is 1; it must be at least 2"):
        LocalAgreement(n=1)
