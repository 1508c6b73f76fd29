from typing import Literal

import numpy as np
import pytest

from simulst.core.history import HistoryConfig
from simulst.core.session import Session
from simulst.core.translator import Evidence, FloatArray
from simulst.errors import PolicyError
from simulst.policies.wait_k import WaitK
from simulst.testing import Scripted, ScriptedTranslator, ToyTranslator, ToyVocabulary, play, toy_audio

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
    policy = WaitK(k=5)
    assert policy == WaitK(k=5)


# -- long speech ----------------------------------------------------------------------------------------------------

PHRASE = [5, 17, 31, 2, 41, 8, 23, 44, 7, 19, 33, 11]


def toy_talk(phrases: int, pause: int) -> FloatArray:
    """Phrases of twelve words of 0.32 s with pauses of so many slots between them."""
    return toy_audio([word for i in range(phrases) for word in [*[w + i for w in PHRASE], *[0] * pause]])


def behind(policy: WaitK, audio: FloatArray, *, history: str | HistoryConfig = "auto") -> list[int]:
    """Source words begun less target words written, after every slot in which one is said."""
    session = Session(ToyTranslator(), policy, chunk_ms=320, history=history)
    found, spoken = [], 0
    for slot in audio.reshape(-1, 5120):
        session.feed(slot)
        if slot.any():
            spoken += 1
            found.append(spoken - len(session.text.split()))
    session.finish()
    return found


@pytest.mark.parametrize("words", ["fixed", "adaptive"])
def test_distance_stays_on_long_speech_with_pauses(words: Literal["fixed", "adaptive"]) -> None:
    lags = behind(WaitK(k=3, words=words, word_ms=320, pause_s=None), toy_talk(12, pause=4))
    assert max(lags[3:]) <= 4
    assert min(lags[3:]) >= 2


def test_longer_k_stays_further_behind_at_the_end_of_a_talk() -> None:
    lags = [sum(behind(WaitK(k=k, word_ms=280), toy_talk(10, pause=4))[60:]) for k in (1, 3, 5, 7)]
    assert lags == sorted(lags) and len(set(lags)) == 4


def test_counts_begin_anew_where_history_begins() -> None:
    """A translation of another length than its source: the difference is forgotten with the text."""
    script = [says("_a", "_b", "_c", "_d", "_e")] * 40
    model = ScriptedTranslator(vocabulary=WORDS, script=script, source_words=[*range(1, 11), *[10] * 20])
    session = Session(model, WaitK(k=2, words="adaptive", pause_s=None), chunk_ms=400, history="keep_all")
    for _ in range(6):
        session.feed(np.full(6400, 0.1, dtype=np.float32))
    assert len(session.text.split()) == 4
    session._trim(len(session._log.kept), session._translator.heard_s)
    written = []
    for _ in range(4):
        session.feed(np.full(6400, 0.1, dtype=np.float32))
        written.append(len(session.text.split()))
    assert written == [4, 4, 5, 6]  # two words are read again before the next is written


def test_pause_is_no_time_for_words() -> None:
    tone, silence = np.full(16_000, 0.1, dtype=np.float32), np.zeros(48_000, dtype=np.float32)
    script = [says("_a", "_b", "_c", "_d", "_e")] * 40
    model = ScriptedTranslator(vocabulary=WORDS, script=script)
    session = Session(model, WaitK(k=3, word_ms=500, pause_s=None), chunk_ms=500, history="keep_all")
    session.feed(np.concatenate([tone, silence]))
    assert session.text == ""
    session.feed(np.concatenate([tone, np.zeros(1_600, dtype=np.float32)]))
    assert session.text == "a"


def test_the_rest_of_a_sentence_is_written_in_the_pause_after_it() -> None:
    lags = behind(WaitK(k=3, word_ms=320), toy_talk(6, pause=4))
    assert [lags[i] for i in range(12, 72, 12)] == [1] * 5  # all of the phrase before, nothing of this one


def test_target_words_per_source_word() -> None:
    script = [says("_a", "_b", "_c", "_d", "_e")] * 4
    _, shown = play(WaitK(k=2, words="adaptive", ratio=1.5), script, WORDS, source_words=[2, 3, 4])
    assert lengths(shown)[:3] == [0, 1, 3]
    with pytest.raises(PolicyError, match=r"ratio is 0\.0; it must be above 0"):
        WaitK(ratio=0.0)
    with pytest.raises(PolicyError, match=r"pause_s is -1\.0; it must be above 0"):
        WaitK(pause_s=-1)
