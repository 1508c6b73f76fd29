from typing import Any

import numpy as np
import pytest

from simulst.core.events import EndEvent, WriteEvent
from simulst.core.history import HistoryConfig
from simulst.core.session import Session
from simulst.core.translator import Bias, Query
from simulst.errors import PolicyError
from simulst.policies.retranslation import Retranslation, merge_windows
from simulst.testing import Scripted, ToyTranslator, ToyVocabulary, play, toy_audio, toy_text

WORDS = ToyVocabulary(["_a", "_b", "_c", "_d", "_x", "_y", "_z"])


def says(pieces: str) -> Scripted:
    return Scripted(ids=WORDS.encode(pieces.split()))


def test_mask_k_hides_the_last_tokens_and_the_end_shows_them() -> None:
    script = [says("_a _b _c _d"), says("_a _x _y _z"), says("_a _x _y")]
    session, shown = play(Retranslation(mask_k=2), script, WORDS, chunks=2)
    end = session.finish()[-1]
    assert shown == ["a b", "a x"]
    assert session.text == "a x y"
    assert isinstance(end, EndEvent)
    assert end.erasure == pytest.approx(1 / 3)


def test_corrections_take_back_only_what_differs() -> None:
    session, _ = play(Retranslation(mask_k=0), [says("_a _b"), says("_a _c _d")], WORDS, chunks=1)
    event = session.feed(np.zeros(6_400, dtype=np.float32))[0]
    assert isinstance(event, WriteEvent)
    assert (event.retract, event.text) == (1, "c d")
    assert session._translator.prefixes == [(), ()]  # type: ignore[attr-defined]


def test_mask_longer_than_the_hypothesis_shows_nothing_and_may_take_all_back() -> None:
    assert play(Retranslation(mask_k=5), [says("_a _b")], WORDS)[1] == [""]
    assert play(Retranslation(mask_k=1), [says("_a _b"), says("_a")], WORDS)[1] == ["a", ""]


@pytest.mark.parametrize(
    ("new", "retract", "start", "covered"),
    [
        ("c d e x y", 1, 3, "c d e x y"),
        ("z c d e g", 1, 4, "b c d e g"),
        ("x y", 6, 0, "x y"),
        ("a b c d e f", 0, 6, "a b c d e f"),
    ],
)
def test_windows_are_joined_at_their_longest_match(new: str, retract: int, start: int, covered: str) -> None:
    old = [ord(c) for c in "abcdef"]
    expected = (retract, start, [ord(c) for c in covered.split()])
    assert merge_windows(old, [ord(c) for c in new.split()], 0.1) == expected


def test_window_without_a_match_may_be_appended() -> None:
    assert merge_windows([1, 2], [3, 4], 0.1, append=True) == (0, 0, [3, 4])
    assert merge_windows([1, 2], [2, 4, 5, 6], 0.5, append=True) == (0, 0, [2, 4, 5, 6])


def test_sliding_window_follows_a_long_stream() -> None:
    words = [1 + 7 * i % 60 for i in range(120)]
    session = Session(
        ToyTranslator(), Retranslation(mask_k=0), history=HistoryConfig(method="keep_all", max_audio_s=8.0)
    )
    shown, kept = "", []
    for piece in np.array_split(toy_audio(words), 60):
        for event in session.feed(piece):
            assert isinstance(event, WriteEvent)
            shown = shown[: len(shown) - event.retract] + event.text
        kept.append(session._translator.heard_s - session._translator.start_s)
    session.finish()
    assert max(kept) <= 8.0
    assert session.text == toy_text(words)
    assert 0 < session.stats.words_retracted < 120


def test_bias_names_the_shown_text() -> None:
    seen = []

    class Watching(ToyTranslator):
        def open(self) -> Any:
            session = super().open()
            ask = session.hypothesise

            def watched(prefix: Any, query: Query) -> Any:
                seen.append(query.bias)
                return ask(prefix, query)

            session.hypothesise = watched  # type: ignore[method-assign, assignment]
            return session

    session = Session(Watching(), Retranslation(mask_k=0, bias=0.5))
    session.feed(toy_audio([5, 17, 30, 41, 7, 9, 11]))
    session.finish()
    assert seen[0] == Bias(ids=(), weight=0.5)
    assert seen[1] and seen[1].ids
    assert seen[-1] is None


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"mask_k": -1}, "mask_k is -1; it must be at least 0"),
        ({"bias": 1.0}, "bias is 1.0; it must be at least 0 and below 1"),
        ({"match": 0.0}, "match is 0.0; it must be above 0 and at most 1"),
    ],
)
def test_bad_parameters_are_refused(parameters: dict[str, Any], sentence: str) -> None:
    with pytest.raises(PolicyError, match=sentence):
        Retranslation(**parameters)
