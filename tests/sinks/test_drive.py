"""The feed loop, and the events that sinks are handed."""

from collections.abc import Iterator

import numpy as np
import pytest

from simulst.audio import FloatArray
from simulst.core.events import EndEvent, HypothesisEvent, ProgressEvent, SinkEvent, WriteEvent
from simulst.core.session import Session
from simulst.errors import AudioError
from simulst.policies import load_policy
from simulst.sinks.drive import drive, hand
from simulst.sinks.shown import Shown
from simulst.testing import ToyTranslator, toy_audio, toy_text

WORDS = [int(word) for word in np.random.default_rng(1).integers(1, 61, 90)]
ENDLESS = ["stream_att", "wait_k", "local_agreement", "retranslation", "retranslation-window8"]


class Kept:
    """A sink that keeps what it is handed."""

    def __init__(self) -> None:
        self.events: list[SinkEvent] = []

    def handle(self, event: SinkEvent) -> None:
        self.events.append(event)

    def close(self) -> None: ...


def blocks(words: list[int], size: int = 5_000) -> Iterator[FloatArray]:
    audio = toy_audio(words)
    yield from (audio[at : at + size] for at in range(0, len(audio), size))


@pytest.mark.parametrize("policy", ENDLESS)
def test_settled_text_never_changes_and_all_of_it_is_shown(policy: str) -> None:
    session, kept, shown, final = Session(ToyTranslator(), load_policy(policy)), Kept(), Shown(), ""
    drive(session, blocks(WORDS), [kept])
    for event in kept.events:
        shown.take(event)
        assert shown.settled >= len(final) and shown.text.startswith(final)
        if isinstance(event, WriteEvent | ProgressEvent):
            assert event.settled is not None and event.settled <= len(shown.text)
            assert session.revises or event.settled == len(shown.text)
        final = shown.text[: shown.settled]
    assert final == session.text and len(final.split()) >= len(WORDS)


@pytest.mark.parametrize("policy", ENDLESS)
def test_every_block_is_followed_by_its_progress(policy: str) -> None:
    session, kept = Session(ToyTranslator(), load_policy(policy)), Kept()
    drive(session, blocks(WORDS[:30]), [kept])
    progress = [event for event in kept.events if isinstance(event, ProgressEvent)]
    writes = [event for event in kept.events if isinstance(event, WriteEvent)]
    end = kept.events[-1]
    assert len(progress) == len(list(blocks(WORDS[:30])))
    assert [one.step for one in writes] == sorted(one.step for one in writes)
    assert [one.compute_s for one in progress] == sorted(one.compute_s for one in progress)
    assert progress[-1].step == session.stats.steps - 1
    assert isinstance(end, EndEvent) and end.compute_s == session.stats.compute_s >= progress[-1].compute_s
    assert set(progress[0].to_json()) >= {"type", "step", "audio_s", "compute_s", "lag_s", "settled", "whole"}


def test_audio_that_breaks_off_is_translated_to_its_end() -> None:
    def breaking() -> Iterator[FloatArray]:
        yield from blocks(WORDS[:6])
        raise AudioError("the rest is damaged")

    session, kept = Session(ToyTranslator(), load_policy("wait_k")), Kept()
    with pytest.raises(AudioError, match="damaged"):
        drive(session, breaking(), [kept])
    assert session.text == toy_text(WORDS[:6]) and isinstance(kept.events[-1], EndEvent)


def test_audio_that_never_began_is_an_error_at_once() -> None:
    def silent() -> Iterator[FloatArray]:
        raise AudioError("no samples")
        yield np.zeros(1, np.float32)

    kept = Kept()
    with pytest.raises(AudioError, match="no samples"):
        drive(Session(ToyTranslator(), load_policy("wait_k")), silent(), [kept])
    assert kept.events == []


def test_a_stream_that_is_broken_off_says_what_was_committed() -> None:
    session, kept = Session(ToyTranslator(), load_policy("wait_k")), Kept()
    for block in blocks(WORDS[:20]):
        hand(session.feed(block), [kept])
    written = session.text
    hand(session.break_off(), [kept])
    end = kept.events[-1]
    assert isinstance(end, EndEvent) and end.text == session.text == written != ""
    assert (end.audio_s, end.compute_s) == (session.audio_s, session.stats.compute_s)
    assert session.finish() == []
    with pytest.raises(AudioError, match="has ended"):
        session.feed(np.zeros(100, np.float32))


@pytest.mark.parametrize(("policy", "previews"), [("wait_k", True), ("retranslation", False)])
def test_the_rest_is_decoded_for_display_only_where_it_is_asked_for(policy: str, previews: bool) -> None:
    seen = []
    for preview in (False, True):
        kept = Kept()
        drive(Session(ToyTranslator(), load_policy(policy)), blocks(WORDS[:20]), [kept], preview=preview)
        seen.append(any(isinstance(event, HypothesisEvent) for event in kept.events))
    assert seen == [False, previews]
