"""Segments between pauses, whatever the policy."""

import math

import numpy as np
import pytest

from simulst import Session, load_policy
from simulst.core.events import Event, WriteEvent
from simulst.core.translator import Evidence, FloatArray
from simulst.errors import PolicyError
from simulst.policies import POLICIES
from simulst.testing import ToyTranslator, toy_audio
from simulst.testing.toy import toy_text

PHRASES = [[5, 17, 31, 2, 41, 8, 23], [44, 7, 19, 33, 11, 9, 27], [51, 53, 37, 29, 13, 43, 21], [1, 3, 15, 25]]
TALK = [word for phrase in PHRASES for word in [*phrase, 0, 0, 0]]
CLOSE = [word for phrase in PHRASES for word in [*phrase, 0, 0]]
SLOT = 5120


def written(session: Session, words: list[int] = TALK) -> list[tuple[float, str]]:
    events = []
    for slot in toy_audio(words).reshape(-1, SLOT):
        events += session.feed(slot)
    events += session.finish()
    return [(event.audio_s, event.text.strip()) for event in events if isinstance(event, WriteEvent)]


def shape(events: list[Event]) -> list[tuple[float, str]]:
    return [(event.audio_s, event.text) for event in events if isinstance(event, WriteEvent)]


@pytest.mark.parametrize("policy", ["offline", "hold_n", "local_agreement", "retranslation"])
def test_every_segment_is_said_in_the_pause_after_it_and_nothing_is_lost(policy: str) -> None:
    session = Session(ToyTranslator(), load_policy(policy, **{"history.segment_s": 2.0}), chunk_ms=320)
    events = written(session)
    assert session.text == toy_text(TALK)
    if policy == "offline":
        assert [text for _, text in events] == [toy_text(phrase) for phrase in PHRASES]
        ends = np.cumsum([len(phrase) + 3 for phrase in PHRASES]) * 0.32 - 0.96
        assert all(end < at <= end + 0.97 for (at, _), end in zip(events, ends, strict=True))


def due(chunk_s: float) -> dict[float, str]:
    """What is to be said at the end of the chunk that tells the pause after each phrase of CLOSE, or at the end."""
    said: dict[float, str] = {}
    ends = np.cumsum([len(phrase) + 2 for phrase in PHRASES]) * 0.32 - 0.64
    for end, phrase in zip(ends, PHRASES, strict=True):
        told = round(min(len(CLOSE) * 0.32, math.ceil((end + 0.5) / chunk_s) * chunk_s), 2)
        said[told] = f"{said.get(told, '')} {toy_text(phrase)}".strip()
    return said


def shown_at(events: list[tuple[float, str]]) -> dict[float, str]:
    shown: dict[float, str] = {}
    for at, text in events:
        shown[round(at, 2)] = f"{shown.get(round(at, 2), '')} {text}".strip()
    return shown


@pytest.mark.parametrize("policy", ["offline", "hold_n", "local_agreement", "wait_k", "retranslation", "infinite"])
@pytest.mark.parametrize("chunk_ms", [320, 1600, 8000])
def test_pauses_shorter_than_chunk_and_look_ahead_end_segments(policy: str, chunk_ms: int) -> None:
    """What follows a pause is heard with it, and what the encoder still waits for is what was said before it."""
    model = ToyTranslator(restarts=True, look_ahead_s=0.7, provides=frozenset(Evidence))
    session = Session(model, load_policy(policy, **{"history.segment_s": 2.0}), chunk_ms=chunk_ms)
    events = written(session, CLOSE)
    assert session.text == toy_text(CLOSE)
    if policy == "offline":
        assert shown_at(events) == due(chunk_ms / 1000)


def test_a_model_that_cannot_begin_anew_waits_for_a_pause_that_lasts() -> None:
    model = ToyTranslator(look_ahead_s=0.7, max_source_s=60.0)
    events = written(Session(model, load_policy("offline", **{"history.segment_s": 2.0}), chunk_ms=320), CLOSE)
    assert len(events) == 1


@pytest.mark.parametrize("size", [97, 5120, 70_001])
def test_segments_do_not_depend_on_the_pieces(size: int) -> None:
    model, audio = ToyTranslator(restarts=True, look_ahead_s=0.7), toy_audio(CLOSE)
    whole, pieces = (Session(model, load_policy("offline", **{"history.segment_s": 2.0})) for _ in range(2))
    one = [*whole.feed(audio), *whole.finish()]
    other = [event for at in range(0, len(audio), size) for event in pieces.feed(audio[at : at + size])]
    other += pieces.finish()
    assert shape(one) == shape(other)


def test_hearing_that_failed_is_tried_again_with_the_same_segments() -> None:
    model = ToyTranslator(restarts=True, look_ahead_s=0.7)
    session = Session(model, load_policy("offline", **{"history.segment_s": 2.0}), chunk_ms=320)
    real, failed = session._translator.extend_source, False

    def failing(samples: FloatArray, *, is_final: bool = False) -> None:
        nonlocal failed
        if is_final and not failed:
            failed = True
            raise MemoryError
        real(samples, is_final=is_final)

    session._translator.extend_source = failing  # type: ignore[method-assign]
    with pytest.raises(MemoryError):
        session.feed(toy_audio(CLOSE))
    session.feed([])
    session.finish()
    assert session.text == toy_text(CLOSE)


def test_a_short_recording_is_one_segment() -> None:
    words = [5, 17, 0, 0, 0, 31, 2, 0, 0, 0, 41]
    session = Session(ToyTranslator(), load_policy("offline"))
    ((at, text),) = written(session, words)
    assert at == pytest.approx(len(words) * 0.32) and text == toy_text(words)


def test_without_segments_the_whole_stream_is_read_first() -> None:
    session = Session(ToyTranslator(max_source_s=60.0), load_policy("offline", **{"history.segment_s": None}))
    assert len(written(session)) == 1


def test_only_offline_has_segments_by_itself() -> None:
    assert [name for name in POLICIES if load_policy(name).history.segment_s is not None] == ["offline"]
    with pytest.raises(PolicyError, match=r"history\.segment_s is 0\.0; it must be above 0"):
        load_policy("offline", **{"history.segment_s": 0.0})
