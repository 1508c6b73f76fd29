"""The feed loop: one stream from its source through a session into sinks, with an orderly end whatever ends it."""

import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import FrameType

from simulst.audio import AudioStream, FloatArray
from simulst.core.beside import feed_all, finish_all
from simulst.core.events import HypothesisEvent, SinkEvent
from simulst.core.session import Session
from simulst.errors import AudioError
from simulst.sinks.sink import Sink

Handler = Callable[[int, FrameType | None], object] | int | None
"""What `signal.signal` takes and gives back."""


Part = tuple[Session, Sequence[Sink]]
"""A session of a stream, and what takes its events."""


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
        self._old: dict[int, Handler] = {}
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


def drive(
    session: Session,
    source: Iterable[FloatArray],
    sinks: Sequence[Sink],
    *,
    catch_up: bool = False,
    preview: bool = False,
    guard: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> None:
    """`drive_all` of one session."""
    drive_all([(session, sinks)], source, catch_up=catch_up, preview=preview, guard=guard)


def drive_all(
    parts: Sequence[Part],
    source: Iterable[FloatArray],
    *,
    catch_up: bool = False,
    preview: bool = False,
    guard: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> None:
    """Translate all of `source`, 16 kHz mono blocks, handing every event of a session to its sinks as it comes.

    A ProgressEvent follows each block. Where the audio breaks off, what was heard is translated to its end before
    AudioError is raised. With `preview` the unstable rest is decoded for display where the policy stops short of it;
    `guard` is entered around every piece of work, `catch_up` is that of `Session.feed`.
    """
    heard, failure = False, None
    sessions = [session for session, _ in parts]
    try:
        for block in source:
            heard = True
            with guard():
                for (session, sinks), events in zip(parts, feed_all(sessions, block, catch_up=catch_up), strict=True):
                    hand(events, sinks)
                    if preview and not (session.revises or session.shows_rest):
                        hand([_preview(session)], sinks)
                    hand([session.progress()], sinks)
    except AudioError as error:
        if not heard:
            raise
        failure = error
    with guard():
        for (_, sinks), events in zip(parts, finish_all(sessions), strict=True):
            hand(events, sinks)
    if failure is not None:
        raise failure


def drive_stream(parts: Sequence[Part], stream: AudioStream, *, preview: bool = False) -> None:
    """`drive_all` with an orderly end at Ctrl-C and SIGTERM, and decisions that catch up with a live source.

    Interrupted is raised after everything committed, and an EndEvent, was handed on.
    """
    with Interrupts(stream) as interrupts:
        try:
            drive_all(parts, stream, catch_up=stream.live, preview=preview, guard=interrupts.guard)
        except KeyboardInterrupt:
            for session, sinks in parts:
                hand(session.break_off(), sinks)
            raise
    if interrupts.status:
        raise Interrupted(interrupts.status)


def hand(events: Iterable[SinkEvent], sinks: Sequence[Sink]) -> None:
    """Every event to every sink."""
    for event in events:
        for sink in sinks:
            sink.handle(event)


def _preview(session: Session) -> HypothesisEvent:
    text, now = session.preview(), session.progress()
    return HypothesisEvent(text=text, audio_s=now.audio_s, wall_s=now.wall_s)
