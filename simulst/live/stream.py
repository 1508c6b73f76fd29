"""A live stream on the event loop: bounded audio in, numbered events out, independent of any one connection."""

import asyncio
import bisect
import contextlib
import functools
import logging
import secrets
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from simulst.core.session import Session
from simulst.live.engine import Engine, Output
from simulst.live.ledger import Ledger
from simulst.live.metrics import Metrics
from simulst.live.pool import Pool, Stalled
from simulst.live.protocol import Names, ProtocolError
from simulst.live.subscriber import Subscriber
from simulst.live.track import Latest, Track, switched

log = logging.getLogger(__name__)

MAX_PENDING_S = 30.0
"""Audio that may wait; beyond it the connection is not read."""
LIVE_JOB_S = 10.0
"""Most audio that one job of a live stream takes; a file takes one chunk, so that clients share the threads."""
NAP_S = 1.0
"""Audio that one job takes while decoding pauses."""
ARRIVALS = 2048


@dataclass(frozen=True, kw_only=True)
class Switch:
    """Go on with other sessions from here, one for each target."""

    sessions: Sequence[Session]
    names: Sequence[Names]
    """What `switched` says about each."""


class LiveStream:
    """Runs one `Engine` in a pool, a job at a time, and keeps its events for subscribers."""

    def __init__(self, engine: Engine, pool: Pool, metrics: Metrics) -> None:
        self.id = secrets.token_urlsafe(18)
        self.engine = engine
        self.chunk_ms = engine.session.chunk_ms
        self.hello = engine.hello
        self.subscribers: set[Subscriber] = set()
        self.tracks = [Track(target) for target in engine.hello.targets or ("",)]
        self.latest = Latest()
        self.received = 0
        """Sample frames taken."""
        self.ended = False
        """No more audio is taken."""
        self.closed = False
        """No more events come."""
        self.error: ProtocolError | None = None
        self.lag_s = 0.0
        self.audio_s = 0.0
        self._pool = pool
        self._metrics = metrics
        self._pending: deque[bytes | Switch] = deque()
        self._pending_bytes = 0
        self._working = False
        self._active_at = time.monotonic()
        self._more = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._arrival_s: deque[float] = deque(maxlen=ARRIVALS)
        self._arrival_at: deque[float] = deque(maxlen=ARRIVALS)
        self._task = asyncio.create_task(self._pump())

    @property
    def ledger(self) -> Ledger:
        """The text in the first target."""
        return self.tracks[0].ledger

    @property
    def received_s(self) -> float:
        return self.received / self.hello.sample_rate

    @property
    def backlog_s(self) -> float:
        return max(0.0, self.received_s - self.audio_s)

    @property
    def held_back(self) -> bool:
        """The sender waits until some of its audio is done."""
        return not self._room.is_set()

    @property
    def busy(self) -> bool:
        """Audio waits or is being worked on, or the end of the stream is."""
        return not self.closed and (self.ended or self._working or bool(self._pending))

    @property
    def quiet_s(self) -> float:
        """Seconds since audio came or was worked on, 0 while there is something to do and once the stream is over."""
        return 0.0 if self.busy or self.closed else time.monotonic() - self._active_at

    @property
    def pending_s(self) -> float:
        return self._pending_bytes / self.hello.frame_bytes / self.hello.sample_rate

    async def push(self, data: bytes) -> None:
        """Take audio, waiting while too much of it is pending. Raises ProtocolError."""
        if len(data) % self.hello.frame_bytes:
            raise ProtocolError(
                "odd_bytes",
                f"Audio must come in whole frames of {self.hello.frame_bytes} bytes, not {len(data)} bytes.",
            )
        if self.ended or not data:
            return
        self._pending.append(data)
        self._pending_bytes += len(data)
        self.received += len(data) // self.hello.frame_bytes
        self._arrival_s.append(self.received_s)
        self._active_at = time.monotonic()
        self._arrival_at.append(self._active_at)
        self._more.set()
        if self.pending_s > MAX_PENDING_S:
            self._room.clear()
            await self._room.wait()

    def end(self, reason: str = "end") -> None:
        """Take no more audio; what was taken is translated to its end."""
        if not self.ended:
            self.ended = True
            for track in self.tracks:
                track.ledger.reason = reason
            self._more.set()

    def switch(self, switch: Switch) -> None:
        """Change model or policy after the audio taken so far."""
        self._pending.append(switch)
        self._more.set()

    async def finished(self) -> None:
        """Wait until no more events will come."""
        await asyncio.wait({self._task})

    def abort(self) -> None:
        """Stop at once, whatever is left."""
        self._task.cancel()
        self._close()

    async def _pump(self) -> None:
        try:
            while not self.closed:
                while not self._enough:
                    self._more.clear()
                    await self._more.wait()
                if self._pending and isinstance(self._pending[0], Switch):
                    switch = self._pending[0]
                    await self._work(functools.partial(self.engine.switch, switch.sessions))
                    for track, names in zip(self.tracks, switch.names, strict=True):
                        track.record(switched(names))
                    self._wake()
                    self._pending.popleft()
                    continue
                data = self._take()
                final = self.ended and not self._pending
                await self._work(functools.partial(self.engine.work, data, final, self._pool.spare))
                if final:
                    return
        except ProtocolError as error:
            self.error = error
        except Stalled:
            self.error = ProtocolError("stalled", "The model took too long for one step; the stream was given up.")
        except Exception:
            log.exception("a live stream failed")
            self.error = ProtocolError("internal", "The translation failed; the server's log says why.")
        finally:
            self._close()

    @property
    def _enough(self) -> bool:
        """Whether there is something to do; silence in a pause is looked at once a second only."""
        if not self._pending or self.ended:
            return self.ended
        return not self.engine.pausing or self.pending_s >= NAP_S or isinstance(self._pending[-1], Switch)

    async def _work(self, job: Callable[[], Output]) -> None:
        """Have it done in the pool and publish what it brings."""
        self._working = True
        running = self._pool.run(job)
        del job  # a cancelled task keeps its frames, and the job knows the model's caches
        try:
            output = await running
        finally:
            self._working = False
            self._active_at = time.monotonic()
        self._publish(output)

    def _take(self) -> bytes:
        """Pending audio for one job."""
        live = self.hello.pace == "live"
        self.chunk_ms = self.engine.session.chunk_ms
        limit_s = LIVE_JOB_S if live else max(NAP_S if self.engine.pausing else 0.0, self.chunk_ms / 1000)
        limit = max(1, round(limit_s * self.hello.sample_rate)) * self.hello.frame_bytes
        parts: list[bytes] = []
        size = 0
        while self._pending and size < limit:
            part = self._pending[0]
            if isinstance(part, Switch):
                break
            self._pending.popleft()
            if size + len(part) > limit:
                self._pending.appendleft(part[limit - size :])
                part = part[: limit - size]
            parts.append(part)
            size += len(part)
        self._pending_bytes -= size
        if self.pending_s <= MAX_PENDING_S - 1.0:
            self._room.set()
        return b"".join(parts)

    def _publish(self, output: Output) -> None:
        self._metrics.count("audio_seconds_total", output.audio_s - self.audio_s)
        self.audio_s = output.audio_s
        for track, said in zip(self.tracks, output.said, strict=True):
            for message in track.take(said, output.transcript):
                if message["type"] == "write":
                    at_s = message["end_s"] if message["end_s"] is not None else message["audio_s"]
                    self.lag_s = message["lag_s"] = round(self._since_arrival(at_s), 3)
                    self._metrics.lag(self.lag_s)
                track.record(message)
            if self.hello.hypotheses:
                track.suppose(said.hypothesis, output.audio_s)
        self._tell_lag(output.load)
        self._wake()

    def _tell_lag(self, load: float) -> None:
        self.latest.replace(
            {
                "type": "lag",
                "audio_s": round(self.audio_s, 3),
                "received_s": round(self.received_s, 3),
                "received": self.received,
                "backlog_s": round(self.backlog_s, 3),
                "lag_s": self.lag_s,
                "load": round(load, 4),
            }
        )

    def _since_arrival(self, at_s: float) -> float:
        """Seconds since the audio up to `at_s` had arrived."""
        index = bisect.bisect_left(self._arrival_s, at_s - 1e-6)
        return time.monotonic() - self._arrival_at[min(index, len(self._arrival_at) - 1)] if self._arrival_at else 0.0

    def _close(self) -> None:
        with contextlib.suppress(AttributeError):
            del self.engine  # the caches in it are large, and what still knows this stream may live for long
        self.ended = self.closed = True
        self._pending.clear()
        for track in self.tracks:
            track.close()
        self._room.set()
        self._wake()

    def _wake(self) -> None:
        for subscriber in self.subscribers:
            subscriber.wake()
