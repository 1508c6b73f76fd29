"""One stream from its source through a session into sinks, with an orderly end whatever ends it."""

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, Protocol

from simulst.audio import AudioStream
from simulst.core.events import EndEvent, Event
from simulst.core.session import Session
from simulst.core.translator import Evidence
from simulst.errors import AudioError


class Sink(Protocol):
    def handle(self, event: Event) -> None: ...


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM; `status` is the exit status of a process that it ended."""

    def __init__(self, status: int) -> None:
        super().__init__()
        self.status = status


class Interrupts:
    """Within `with`, Ctrl-C and SIGTERM wait for the end of a guarded block; a second one does not.

    The first one lets a live source finish what it has recorded instead of breaking off.
    """

    def __init__(self, stream: AudioStream) -> None:
        self._stream = stream
        self._guarded = False
        self._count = 0
        self._old: dict[int, Any] = {}
        self.status = 0
        """Exit status that the signal asks for, 0 where none came."""

    def __enter__(self) -> "Interrupts":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._old[number] = signal.signal(number, self._take)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)

    @contextmanager
    def guard(self) -> Iterator[None]:
        self._guarded = True
        try:
            yield
        finally:
            self._guarded = False
        if self.status and not self._stream.live:
            raise Interrupted(self.status)

    def _take(self, number: int, frame: FrameType | None) -> None:
        self.status = 128 + number
        self._count += 1
        if self._count == 1 and self._stream.live:
            self._stream.stop()
        elif not (self._count == 1 and self._guarded):
            raise Interrupted(self.status)


def run_stream(
    session: Session, stream: AudioStream, sinks: Sequence[Sink], *, progress: Callable[[Session], object] | None = None
) -> None:
    """Translate all of `stream`, handing events to every sink as they come and `progress` the session after each block.

    Where the audio breaks off, what was heard is translated to its end before AudioError is raised. Interrupted is
    raised after everything committed, and an EndEvent, was handed on.
    """
    begin = time.monotonic()
    with Interrupts(stream) as interrupts:
        try:
            failure = _feed(session, stream, sinks, interrupts, progress)
            with interrupts.guard():
                _hand(session.finish(), sinks)
        except KeyboardInterrupt:
            _hand([*session.drain(), _end(session, time.monotonic() - begin)], sinks)
            raise
    if failure is not None:
        raise failure
    if interrupts.status:
        raise Interrupted(interrupts.status)


def revises(session: Session) -> bool:
    """Whether the policy may take text back that was shown."""
    return Evidence.RETRACT in session.policy.needs()


def _feed(
    session: Session,
    stream: AudioStream,
    sinks: Sequence[Sink],
    interrupts: Interrupts,
    progress: Callable[[Session], object] | None,
) -> AudioError | None:
    """Feed every block; the error that broke the audio off, None where it ended well."""
    heard = False
    try:
        for block in stream:
            heard = True
            with interrupts.guard():
                _hand(session.feed(block, catch_up=stream.live), sinks)
                if progress is not None:
                    progress(session)
    except AudioError as error:
        if not heard:
            raise
        return error
    return None


def _hand(events: Sequence[Event], sinks: Sequence[Sink]) -> None:
    for event in events:
        for sink in sinks:
            sink.handle(event)


def _end(session: Session, wall_s: float) -> EndEvent:
    """The end of a stream that was broken off."""
    stats = session.stats
    return EndEvent(
        text=session.text,
        audio_s=session.audio_s,
        wall_s=wall_s,
        rtf=stats.compute_s / session.audio_s if session.audio_s else 0.0,
    )
