"""Sessions beside each other on one stream: each writes another language, all hear the same pieces at the same time."""

from collections.abc import Sequence

import numpy.typing as npt

from simulst.core.events import Event
from simulst.core.session import Session


def feed_all(sessions: Sequence[Session], samples: npt.ArrayLike, *, catch_up: bool = False) -> list[list[Event]]:
    """`Session.feed` of every session, a chunk at a time in turn, so that what they share is still at hand."""
    for session in sessions:
        session.take(samples)
    while any([session.advance(catch_up=catch_up) for session in sessions]):
        pass
    return [session.drain() for session in sessions]


def finish_all(sessions: Sequence[Session]) -> list[list[Event]]:
    """`Session.finish` of every session."""
    return [session.finish() for session in sessions]
