import pytest

from simulst.core.policy import Policy
from simulst.core.translator import Evidence
from simulst.errors import PolicyError
from simulst.policies.wait_k import WaitK
from simulst.testing import Scripted, ToyVocabulary, play

WORDS = ToyVocabulary(["_a", "_b", "_c", "_d", "_e", "f", ","])


def says(*pieces: str, stop: str = "eos") -> Scripted:
    return Scripted(ids=WORDS.encode(pieces), stop=stop)  # type: ignore[arg-type]


def lengths(shown: list[str]) -> list[int]:
    return [len(text.split()) for text in shown]


@pytest.mark.parametrize(("strict", "expected"), [(True, [0, 0, 0, 1, 2, 3, 4]), (False, [0, 0, 1, 2, 3, 4, 5])])
def test_first_word_comes_with_word_k_plus_one_when_strict(strict: bool, expected: list[int]) -> None:
    policy = WaitK(k=3, words="adaptive", strict=strict)
    script = [says("_a", "_b", "_c")] * 7
    _, shown = play(policy, script, WORDS, chunks=7, source_words=[1, 2, 3, 4, 5, 6, 7])
    assert lengths(shown) == expected


def test_short_hypothesis_is_made_up_for_later() -> None:
    script = [says(), says("_a"), says("_b", "_c", "_d", "_e")]
    _, shown = play(WaitK(k=1, words="adaptive"), script, WORDS, source_words=[2, 3, 4])
    assert shown == ["", "a", "a b c"]


def test_count_that_falls_is_held() -> None:
    script = [says("_a", "_b"), says("_b", "_c")]
    session, shown = play(WaitK(k=1, words="adaptive"), script, WORDS, chunks=3, source_words=[2, 1, 3])
    assert shown == ["a", "a", "a b"]
    assert session.stats.words_retracted == 0


def test_word_before_the_next_word_start_is_whole_and_glued_marks_come_with_it() -> None:
    script = [says("_a", "f", ",", "_b", "f")]
    _, shown = play(WaitK(k=1, words="adaptive"), script, WORDS, source_words=[2])
    assert shown == ["af,"]


def test_last_word_of_a_cut_hypothesis_waits() -> None:
    _, shown = play(WaitK(k=1, words="adaptive"), [says("_a", stop="length")], WORDS, source_words=[2])
    assert shown == [""]


def test_fixed_detection_counts_280_ms_per_word() -> None:
    _, shown = play(WaitK(k=2, word_ms=400), [says("_a", "_b")] * 4, WORDS, chunks=4)
    assert lengths(shown) == [0, 0, 1, 2]


def test_finish_says_the_rest() -> None:
    session, _ = play(WaitK(k=9), [says("_a", "_b")], WORDS, chunks=1)
    session.finish()
    assert session.text == "a b"


def test_script_without_spaces_counts_characters() -> None:
    characters = ToyVocabulary(["今日", "は", "晴"], spaced=False)
    script = [Scripted(ids=characters.encode(["今日", "は", "晴"]))]
    _, shown = play(WaitK(k=1, words="adaptive"), script, characters, source_words=[4])
    assert shown == ["今日は"]


def test_only_adaptive_detection_needs_counts() -> None:
    assert WaitK().needs() == {Evidence.PREFIX}
    assert WaitK(words="adaptive").needs() == {Evidence.PREFIX, Evidence.CTC_COUNTS}


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [({"k": 0}, "k is 0; it must be at least 1"), ({"word_ms": 0}, "word_ms is 0; it must be at least 1")],
)
def test_bad_parameters_are_refused(parameters: dict[str, int], sentence: str) -> None:
    with pytest.raises(PolicyError, match=sentence):
        WaitK(**parameters)  # type: ignore[arg-type]


def test_policies_are_values() -> None:
    policy: Policy = WaitK(k=5)
    assert policy == WaitK(k=5)
