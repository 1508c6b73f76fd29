"""The hostile cases that concern streams: 1-8 and 19-21 of the list."""

import gc
import os
import tracemalloc
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from simulst.core.events import EndEvent, Event, WriteEvent
from simulst.core.session import Session
from simulst.core.translator import Evidence, FloatArray, Translator
from simulst.policies import load_policy
from simulst.testing import ToyTranslator, toy_audio

pytestmark = pytest.mark.slow

Start = Callable[..., Session]
Shapes = list[tuple[object, ...]]
WHOLE: dict[tuple[str, str], Shapes] = {}
HOUR_ALWAYS = ("stream_att", "read_write")
"""One that forgets audio and one that forgets turns of its cache; continuous integration has no time for all."""


def silence(seconds: float) -> FloatArray:
    return np.zeros(round(seconds * 16_000), dtype=np.float32)


def run(session: Session, *pieces: FloatArray) -> list[Event]:
    events = [event for piece in pieces for event in session.feed(piece)]
    return events + session.finish()


def shapes(events: Sequence[Event]) -> Shapes:
    """What does not depend on the clock: text, what was taken back, when, and the source times to the last bit."""
    names = ("text", "retract", "audio_s", "start_s", "end_s")
    return [tuple(getattr(event, name, None) for name in names) for event in events]


@pytest.fixture
def whole(request: pytest.FixtureRequest, start: Start, talk: list[int]) -> Shapes:
    """What a fresh session says of the talk in one piece; computed once for a translator and a policy."""
    params = request.node.callspec.params
    key = params["translator"], params["policy"]
    if key not in WHOLE:
        WHOLE[key] = shapes(run(start(), toy_audio(talk)))
    return WHOLE[key]


def assert_legal(session: Session, events: Sequence[Event]) -> None:
    """Append-only unless the policy may retract, nothing empty, no broken character, the end says what was shown."""
    shown = ""
    for event in events[:-1]:
        assert isinstance(event, WriteEvent)
        assert event.text or event.retract
        assert event.retract == 0 or session.revises
        assert "\ufffd" not in event.text
        shown = shown[: len(shown) - event.retract] + event.text
    assert isinstance(events[-1], EndEvent)
    assert shown == events[-1].text == session.text
    times = [event.audio_s for event in events]
    assert times == sorted(times)


def test_01_empty_stream(start: Start) -> None:
    session = start()
    events = run(session, silence(0))
    assert_legal(session, events)
    assert events[-1].audio_s == 0


def test_02_stream_shorter_than_an_analysis_window(start: Start) -> None:
    session = start()
    assert_legal(session, run(session, silence(0.005)))


def test_03_pure_silence(start: Start) -> None:
    session = start()
    assert_legal(session, run(session, silence(10)))


def test_04_one_word_then_silence(start: Start) -> None:
    session = start()
    assert_legal(session, run(session, toy_audio([7]), silence(30)))


def test_05_finish_without_any_chunk(start: Start) -> None:
    session = start()
    assert_legal(session, session.finish())


def test_06_finish_twice(start: Start, talk: list[int]) -> None:
    session = start()
    events = run(session, toy_audio(talk))
    assert_legal(session, events)
    text = session.text
    assert session.finish() == []
    assert session.text == text


def test_07_reset_in_the_middle_is_a_fresh_session(start: Start, talk: list[int], whole: Shapes) -> None:
    used = start()
    used.feed(toy_audio(talk[:7]))
    used.reset()
    assert used.text == ""
    assert shapes(run(used, toy_audio(talk))) == whole


def test_08_samples_one_by_one(start: Start, talk: list[int]) -> None:
    audio = toy_audio(talk[:3])
    expected = shapes(run(start(), audio))
    assert hear_pieces(start(), audio, 1) == expected


@pytest.mark.parametrize("size", [37, 4_000])
def test_08_pieces_of_any_size(start: Start, talk: list[int], whole: Shapes, size: int) -> None:
    assert hear_pieces(start(), toy_audio(talk), size) == whole


def hear_pieces(session: Session, audio: FloatArray, size: int) -> Shapes:
    events = run(session, *(audio[at : at + size] for at in range(0, len(audio), size)))
    assert_legal(session, events)
    return shapes(events)


@pytest.mark.parametrize("chunk_ms", [100, 480, 1_000])
def test_08_decisions_at_any_chunk(start: Start, talk: list[int], chunk_ms: int) -> None:
    session = start(chunk_ms=chunk_ms)
    assert_legal(session, run(session, toy_audio(talk)))


def test_19_source_that_is_forgotten_between_two_steps(start: Start, talk: list[int]) -> None:
    session = start()
    half = len(talk) // 2
    events = session.feed(toy_audio(talk[:half]))
    session._translator.drop_source(session._translator.heard_s - 0.5)
    assert_legal(session, events + run(session, toy_audio(talk[half:])))


def test_20_interleaved_sessions_do_not_meet(start: Start, talk: list[int], whole: Shapes) -> None:
    talks = [toy_audio(talk), toy_audio(talk[::-1])]
    alone = [whole, shapes(run(start(), talks[1]))]
    sessions = [start(), start()]
    events: list[list[Event]] = [[], []]
    for pieces in zip(*(np.array_split(talk, 40) for talk in talks), strict=True):
        for i, piece in enumerate(pieces):
            events[i] += sessions[i].feed(piece)
    for i, session in enumerate(sessions):
        assert shapes(events[i] + session.finish()) == alone[i]


def listen(session: Session, minutes: float) -> list[int]:
    """Traced memory at the end of each quarter of a stream that is longer than the model's window."""
    words = [1 + 7 * i % 60 if i % 11 else 0 for i in range(round(minutes * 60 / 0.32))]
    memory = []
    for quarter in np.array_split(words, 4):
        for at in range(0, len(quarter), 8):
            session.feed(toy_audio(quarter[at : at + 8].tolist()))
            kept = session._translator.heard_s - session._translator.start_s
            assert kept <= session.model.max_source_s + 1e-6
            assert len(session.prefix) <= 130
        gc.collect()  # what nobody holds any more goes at times of its own
        memory.append(tracemalloc.get_traced_memory()[0])
    return memory


def test_21_long_stream_stays_within_the_window(start: Start, translator: Translator) -> None:
    session = start()
    listen(session, 2.5 * translator.max_source_s / 60)
    session.finish()


def test_21_hour_keeps_memory_flat(policy: str) -> None:
    if policy not in HOUR_ALWAYS and os.environ.get("CI"):
        pytest.skip(f"an hour of {policy} runs where CI is not set")
    session = Session(ToyTranslator(provides=frozenset(Evidence)), load_policy(policy))
    tracemalloc.start()
    try:
        memory = listen(session, 60)
    finally:
        tracemalloc.stop()
    assert memory[3] - memory[1] < 800_000  # a second of audio takes 64,000 bytes
    session.finish()


def test_refusal_or_not_is_what_the_requirements_say(policy: str, translator: Translator) -> None:
    needs = load_policy(policy).policy.needs()
    assert needs <= frozenset(Evidence)
    if needs <= translator.provides:
        Session(translator, load_policy(policy))
