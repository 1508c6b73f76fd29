"""Segments between pauses, whatever the policy."""

import numpy as np
import pytest

from simulst import Session, load_policy
from simulst.core.events import WriteEvent
from simulst.errors import PolicyError
from simulst.policies import POLICIES
from simulst.testing import ToyTranslator, toy_audio
from simulst.testing.toy import toy_text

PHRASES = [[5, 17, 31, 2, 41, 8, 23], [44, 7, 19, 33, 11, 9, 27], [51, 53, 37, 29, 13, 43, 21], [1, 3, 15, 25]]
TALK = [word for phrase in PHRASES for word in [*phrase, 0, 0, 0]]
SLOT = 5120


def written(session: Session, words: list[int] = TALK) -> list[tuple[float, str]]:
    events = []
    for slot in toy_audio(words).reshape(-1, SLOT):
        events += session.feed(slot)
    events += session.finish()
    return [(event.audio_s, event.text.strip()) for event in events if isinstance(event, WriteEvent)]


@pytest.mark.parametrize("policy", ["offline", "hold_n", "local_agreement", "retranslation"])
def test_every_segment_is_said_in_the_pause_after_it_and_nothing_is_lost(policy: str) -> None:
    session = Session(ToyTranslator(), load_policy(policy, **{"history.segment_s": 2.0}), chunk_ms=320)
    events = written(session)
    assert session.text == toy_text(TALK)
    if policy == "offline":
        assert [text for _, text in events] == [toy_text(phrase) for phrase in PHRASES]
        ends = np.cumsum([len(phrase) + 3 for phrase in PHRASES]) * 0.32 - 0.96
        assert all(end < at <= end + 0.97 for (at, _), end in zip(events, ends, strict=True))


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
