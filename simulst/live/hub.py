"""Who is being served: places, streams that wait for their client to come back, channels and their watchers."""

import asyncio
import contextlib
import functools
import time
from dataclasses import dataclass, field
from typing import Protocol

from simulst.core.memory import give_back
from simulst.live.captions import Captions
from simulst.live.catalogue import Catalogue, Opened
from simulst.live.engine import Engine
from simulst.live.metrics import Metrics
from simulst.live.pool import Pool, Stalled
from simulst.live.protocol import VERSION, Hello, Names, ProtocolError
from simulst.live.stream import LiveStream, Switch
from simulst.live.together import Beside, alone
from simulst.live.track import Track

HAND_ON_S = 3.0
"""Time that a shutdown gives clients to take the last events."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    max_clients: int = 8
    """Streams at a time."""
    idle_s: float = 60.0
    """A connection that sends nothing for so long is closed; a stream that gets no audio for so long makes room."""
    hello_s: float = 10.0
    resume_s: float = 15.0
    """A stream whose connection broke keeps its place for so long, less where somebody else needs it."""
    send_s: float = 20.0
    """A client that takes no data for so long is cut off."""
    control_per_s: float = 50.0
    """Control messages; twice as many in a burst."""
    audio_messages_per_s: float = 2000.0
    """More of them are slowed down."""
    silence_s: float = 0.0
    """Decoding pauses after so much silence; 0: never."""

    @property
    def max_connections(self) -> int:
        return 4 * self.max_clients + 128


class Owner(Protocol):
    """The connection that a stream belongs to."""

    def dismiss(self, error: ProtocolError) -> None: ...

    async def part(self, error: ProtocolError, within_s: float) -> None:
        """Send what is left of the ended stream, then `error`, and close."""


@dataclass(eq=False, kw_only=True)
class Place:
    stream: LiveStream
    each: list[Names]
    """Model, policy, chunk and languages, as clients are told, of each target."""
    owner: Owner | None
    """None while the connection is broken."""
    since: float = 0.0
    """When it broke."""

    @property
    def names(self) -> Names:
        """What clients are told of the first target."""
        return self.each[0]

    def ready(self, number: int | None = None) -> dict[str, object]:
        """What opens the stream for its client, or for one who watches the track of that number."""
        stream = self.stream
        targets = {"targets": list(stream.hello.targets)} if stream.hello.targets and number is None else {}
        return {
            "type": "ready",
            "version": VERSION,
            **self.each[number or 0],
            **targets,
            "chunk_ms": stream.chunk_ms,
            "sample_rate": stream.hello.sample_rate,
            "channel": stream.hello.channel,
        }

    def tracks(self) -> dict[Track, int]:
        """All tracks, to be read from their beginning."""
        return dict.fromkeys(self.stream.tracks, 0)

    def export(self, kind: str, target: str | None) -> dict[str, object]:
        """The answer to `export`. Raises ProtocolError."""
        track = self.stream.tracks[self.find(target)]
        told = {"target": track.target} if track.target else {}
        return {"type": "export", "format": kind, **told, "text": track.ledger.export(kind)}

    def find(self, target: str | None) -> int:
        """The number of the track in a target; None: the first. Raises ProtocolError."""
        if target is None:
            return 0
        written = [names["target"] for names in self.each]
        if target in written:
            return written.index(target)
        listed = ", ".join(one for one in written if one) or "a language it does not tell"
        raise ProtocolError("unknown_target", f"This stream writes {listed}, not {target!r}.")


@dataclass(eq=False)
class Channel:
    """Where watchers wait for the streams of one page, one after another."""

    place: Place | None = None
    watchers: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def show(self, place: Place) -> None:
        self.place = place
        self.changed.set()
        self.changed = asyncio.Event()

    async def next(self, last: Place | None) -> Place:
        """The current stream once it is not `last`."""
        while self.place is None or self.place is last:
            await self.changed.wait()
        return self.place


class Hub:
    def __init__(
        self,
        catalogue: Catalogue,
        pool: Pool,
        limits: Limits,
        metrics: Metrics,
        beside: Beside = alone,
        captions: Captions | None = None,
    ) -> None:
        self.catalogue = catalogue
        self.pool = pool
        self.limits = limits
        self.metrics = metrics
        self.beside = beside
        self.captions = captions or Captions()
        self.places: dict[str, Place] = {}
        self.channels: dict[str, Channel] = {}
        self.connections = 0
        self.closing = False
        self._used = False
        self._opening = 0

    @property
    def taken(self) -> int:
        """Places in use."""
        return self._opening + sum(not place.stream.closed for place in self.places.values())

    @property
    def backlog_s(self) -> float:
        return sum(place.stream.backlog_s for place in self.places.values())

    async def open(self, hello: Hello, owner: Owner) -> Place:
        """Start a stream. Raises ProtocolError where there is no place or the names are unknown."""
        while not self.closing and self.taken >= self.limits.max_clients:
            if not (self._evict() or await self._end_quiet()):
                raise ProtocolError(
                    "busy", f"All {self.limits.max_clients} places of this server are taken; try again in a moment."
                )
        if self.closing:
            raise ProtocolError("shutting_down", "The server is shutting down; connect again in a moment.")
        self._opening += 1
        try:
            opened = await self._opened(hello)
        finally:
            self._opening -= 1
        stream = LiveStream(Engine(opened.sessions, hello, self.beside, self.limits.silence_s), self.pool, self.metrics)
        place = Place(stream=stream, each=opened.names, owner=owner)
        self.places[stream.id] = place
        self._used = True
        self.metrics.count("streams_total")
        if hello.channel:
            self.channels.setdefault(hello.channel, Channel()).show(place)
        return place

    def caption(self, place: Place) -> ProtocolError | None:
        """Send what a stream commits to the caption services, or say why not."""
        try:
            found = self.captions.give([names["target"] for names in place.each])
        except ProtocolError as refusal:
            return refusal
        for track, sinks in zip(place.stream.tracks, found, strict=True):
            track.sinks = sinks
        return None

    def config(self) -> dict[str, object]:
        """What `GET /config` answers."""
        return {**self.catalogue.config(), "captions": self.captions.kinds}

    async def switch(self, place: Place, hello: Hello) -> None:
        """Change the model or policy of a stream. Raises ProtocolError where the names are unknown."""
        opened = await self._opened(hello)
        place.stream.hello, place.each = hello, opened.names
        place.stream.switch(Switch(sessions=opened.sessions, names=opened.names))

    async def _opened(self, hello: Hello) -> Opened:
        try:
            return await self.pool.run(functools.partial(self.catalogue.open, hello))
        except Stalled:
            raise ProtocolError("stalled", "The model took too long to begin.") from None

    def resume(self, session: str, owner: Owner) -> Place:
        """Give a stream to a new connection; one that still holds it is sent away. Raises ProtocolError."""
        place = self.places.get(session)
        if place is None:
            raise ProtocolError("unknown_session", "Unknown or expired session; start a new one.")
        if place.owner is not None:
            place.owner.dismiss(ProtocolError("taken_over", "The session goes on in another connection."))
        place.owner = owner
        return place

    def detach(self, place: Place, owner: Owner) -> None:
        """The connection broke: keep the stream for a while."""
        if place.owner is owner:
            place.owner, place.since = None, time.monotonic()

    def release(self, place: Place, owner: Owner) -> None:
        """The client is done with the stream."""
        if place.owner is owner:
            self._drop(place)

    async def watch(self, channel: str) -> Channel:
        """Take a seat in a channel; `unwatch` gives it back. Raises ProtocolError."""
        if sum(one.watchers for one in self.channels.values()) >= 4 * self.limits.max_clients:
            raise ProtocolError("busy", "Too many watchers; try again in a moment.")
        found = self.channels.setdefault(channel, Channel())
        found.watchers += 1
        return found

    def unwatch(self, channel: str) -> None:
        self.channels[channel].watchers -= 1
        self._tidy(channel)

    async def reap(self) -> None:
        """Free the places of streams whose clients did not come back, and the memory of the last stream that ended;
        runs until it is cancelled."""
        while True:
            await asyncio.sleep(min(1.0, self.limits.resume_s / 4))
            now = time.monotonic()
            for place in list(self.places.values()):
                if place.owner is None and now - place.since > self.limits.resume_s:
                    self._drop(place)
            if self._used and not self.places:
                self._used = False
                give_back(collect=False)

    async def shut_down(self, within_s: float) -> None:
        """Translate what was heard to its end, then send every client away."""
        self.closing = True
        places = list(self.places.values())
        for place in places:
            place.stream.end("shutdown")
        if places:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(within_s):
                    await asyncio.gather(*(place.stream.finished() for place in places))
        owners = [place.owner for place in places if place.owner is not None]
        error = ProtocolError("shutting_down", "The server was shut down.")
        await asyncio.gather(*(owner.part(error, HAND_ON_S) for owner in owners))

    def _evict(self) -> bool:
        """Free the place of the longest absent client."""
        absent = [place for place in self.places.values() if place.owner is None and not place.stream.closed]
        if not absent:
            return False
        self._drop(min(absent, key=lambda place: place.since))
        return True

    async def _end_quiet(self) -> bool:
        """End the stream that has got no audio for longest, as its client would; False where all are in use."""
        stream = max((place.stream for place in self.places.values()), key=lambda stream: stream.quiet_s, default=None)
        if stream is None or stream.quiet_s < self.limits.idle_s:
            return False
        stream.end("idle")
        await stream.finished()
        return True

    def _drop(self, place: Place) -> None:
        place.stream.abort()
        self.places.pop(place.stream.id, None)
        channel = place.stream.hello.channel
        if channel in self.channels:
            if self.channels[channel].place is place:
                self.channels[channel].place = None
            self._tidy(channel)

    def _tidy(self, channel: str) -> None:
        found = self.channels[channel]
        if not found.watchers and found.place is None:
            del self.channels[channel]
