"""Captions of a live server: what one stream at a time commits goes to the sinks of `--caption`, from a thread."""

import contextlib
import functools
import queue
import threading
from collections.abc import Callable, Mapping, Sequence

from simulst.core.events import SinkEvent
from simulst.errors import SimulstError
from simulst.live.protocol import ProtocolError
from simulst.sinks.captions import open_captions, split_target
from simulst.sinks.sink import Sink

MAX_WAITING = 4096
"""Events; a stream whose captions are further behind goes on without them."""
LAST_S = 12.0
"""How long a shutdown waits for captions that are on their way."""

Tell = Callable[[str], None]


class Captions:
    """Where captions go, as `KIND=WHERE` or `KIND.TARGET=WHERE`, and which stream has them.

    Raises SimulstError for what cannot be opened. `tell` gets a sentence when something goes wrong, from any thread.
    """

    def __init__(self, specs: Sequence[str] = (), tell: Tell = print) -> None:
        self._specs = [split_target(spec) for spec in specs]
        self._tell = tell
        self._feed: CaptionFeed | None = None
        for _, spec in self._specs:
            open_captions(spec, tell).close()

    @property
    def kinds(self) -> list[str]:
        """What there is, by names that tell no address."""
        return [spec.partition("=")[0] for _, spec in self._specs]

    @property
    def busy(self) -> bool:
        """Whether a stream has them."""
        return self._feed is not None and self._feed.alive

    def give(self, targets: Sequence[str | None]) -> "list[Sequence[Sink]]":
        """For each target of a stream the sinks that it feeds until it closes them. Raises ProtocolError, not fatal."""
        if not self._specs:
            raise ProtocolError("no_captions", "This server sends no captions; it is to be started with --caption.")
        if self.busy:
            raise ProtocolError("no_captions", "Another stream has the captions; this one goes without.")
        wanted: dict[int, list[str]] = {}
        for target, spec in self._specs:
            if target is None or target in targets:
                wanted.setdefault(0 if target is None else targets.index(target), []).append(spec)
        self._feed = feed = CaptionFeed(wanted, self._tell)
        return [[FeedSink(feed, number)] if number in wanted else [] for number in range(len(targets))]

    def close(self) -> None:
        """Wait for what is still on its way."""
        if self._feed is not None:
            self._feed.close()
            self._feed.join(LAST_S)


class CaptionFeed:
    """Hands events to sinks from a thread of its own; whoever brings them never waits."""

    def __init__(self, specs: Mapping[int, Sequence[str]], tell: Tell) -> None:
        self._waiting: queue.Queue[tuple[int, SinkEvent] | None] = queue.Queue(MAX_WAITING)
        self._tell = tell
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(specs,), name="simulst-captions", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether captions are still on their way."""
        return self._thread.is_alive()

    def join(self, within_s: float) -> None:
        self._thread.join(within_s)

    def handle(self, number: int, event: SinkEvent) -> None:
        """Take an event for the sinks of that number."""
        if self._ended.is_set():
            return
        try:
            self._waiting.put_nowait((number, event))
        except queue.Full:
            self._ended.set()
            self._tell("Captions are too far behind; the rest of the stream goes without them.")

    def close(self) -> None:
        """No event will follow; what waits is still sent."""
        self._ended.set()
        with contextlib.suppress(queue.Full):  # else the thread sees it once it has caught up
            self._waiting.put_nowait(None)

    def _run(self, specs: Mapping[int, Sequence[str]]) -> None:
        sinks = {number: [sink for spec in few for sink in self._open(spec)] for number, few in specs.items()}
        while (found := self._next()) is not None:
            number, event = found
            for sink in list(sinks[number]):
                if not self._try(functools.partial(sink.handle, event)):
                    sinks[number].remove(sink)
        for sink in [sink for few in sinks.values() for sink in few]:
            self._try(sink.close)

    def _next(self) -> tuple[int, SinkEvent] | None:
        if self._ended.is_set() and self._waiting.empty():
            return None
        return self._waiting.get()

    def _open(self, spec: str) -> list[Sink]:
        try:
            return [open_captions(spec, self._tell)]
        except (SimulstError, OSError) as error:
            self._tell(f"Captions stop: {error}")
            return []

    def _try(self, act: Callable[[], None]) -> bool:
        try:
            act()
        except (SimulstError, OSError) as error:
            self._tell(f"Captions stop: {error}")
            return False
        return True


class FeedSink:
    """The sink of one target of the stream."""

    def __init__(self, feed: CaptionFeed, number: int) -> None:
        self._feed, self._number = feed, number

    def handle(self, event: SinkEvent) -> None:
        self._feed.handle(self._number, event)

    def close(self) -> None:
        self._feed.close()
