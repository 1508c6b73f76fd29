"""One websocket connection: what it may say when, what it is told, and what becomes of its stream when it goes."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping
from typing import Protocol

from websockets.exceptions import ConnectionClosed

from simulst.live.access import Access
from simulst.live.bucket import Bucket
from simulst.live.hub import Hub, Place
from simulst.live.protocol import (
    CLOSE_CODES,
    EXPORTS,
    MAX_AUDIO_BYTES,
    ProtocolError,
    read_hello,
    read_message,
    read_name,
    read_positions,
    read_switch,
)
from simulst.live.subscriber import Subscriber
from simulst.live.track import Track, dump

log = logging.getLogger(__name__)

EXPORT_COST = 10
"""Control messages that an export counts as."""
LAST_EXPORTS_S = 2.0
"""After a fatal error, time to ask for exports of what was translated; less than a shutdown gives."""


class Wire(Protocol):
    """What carries messages of the protocol: a websocket, or what makes them of other messages."""

    @property
    def transport(self) -> asyncio.Transport: ...

    async def recv(self) -> str | bytes:
        """The next message. Raises ConnectionClosed, and ProtocolError, not fatal, for one that means nothing."""
        ...

    async def send(self, text: str, /) -> None: ...

    async def close(self, code: int, reason: str) -> None: ...


class Connection:
    def __init__(self, socket: Wire, hub: Hub, access: Access) -> None:
        self._socket = socket
        self._hub = hub
        self._access = access
        self._place: Place | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._control = Bucket(hub.limits.control_per_s)
        self._audio = Bucket(hub.limits.audio_messages_per_s)
        self._told_end = False
        self._heard_at = time.monotonic()
        self._dismissal: ProtocolError | None = None
        self._failing = False
        self._main: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Serve the connection until it ends."""
        self._main = asyncio.current_task()
        clean = True
        try:
            await self._serve()
        except ProtocolError as error:
            await self._fail(error)
        except ConnectionClosed as closed:
            clean = closed.rcvd is not None  # otherwise the network broke
        except asyncio.CancelledError:
            if self._dismissal is None:
                raise
            await self._fail(self._dismissal)
        except Exception:
            log.exception("a connection failed")
            await self._fail(ProtocolError("internal", "The server failed; its log says why."))
        finally:
            for task in self._tasks:
                task.cancel()
            if self._place is not None:
                leave = self._hub.release if clean else self._hub.detach
                leave(self._place, self)

    def dismiss(self, error: ProtocolError) -> None:
        """Tell the client why and close."""
        if self._failing:  # it has been told something else
            return
        self._dismissal = error
        if self._main is not None:
            self._main.cancel()

    async def part(self, error: ProtocolError, within_s: float) -> None:
        """Send what is left of the ended stream, then `error`, and close."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=within_s)
        self.dismiss(error)
        if self._main is not None:
            await asyncio.wait({self._main}, timeout=within_s)

    async def _serve(self) -> None:
        limits = self._hub.limits
        data = await self._receive(limits.hello_s, "hello_timeout", "No hello was received in time.")
        while True:
            if isinstance(data, bytes):
                await self._take_audio(data)
            else:
                await self._take_message(read_message(data))
            data = await self._receive(
                limits.idle_s, "idle_timeout", "Nothing was received for too long; connect again."
            )

    async def _receive(self, within_s: float, code: str, sentence: str) -> str | bytes:
        """The next message; while the server owes the client something, it may take its time."""
        while True:
            try:
                async with asyncio.timeout(within_s):
                    data = await self._socket.recv()
            except TimeoutError:
                if self._place is None or not self._place.stream.busy:
                    raise ProtocolError(code, sentence) from None
            except ProtocolError as error:
                self._limit()
                await self._tell(error)
            else:
                self._heard_at = time.monotonic()
                return data

    async def _take_audio(self, data: bytes) -> None:
        if len(data) > MAX_AUDIO_BYTES:
            raise ProtocolError("too_large", f"An audio message has at most {MAX_AUDIO_BYTES} bytes, not {len(data)}.")
        if self._place is None:
            raise ProtocolError("not_started", "Audio came before hello.")
        if self._place.stream.ended:
            if not self._told_end and self._place.stream.error is None:  # else its own error is on the way
                self._told_end = True
                await self._tell(ProtocolError("already_ended", "The stream has ended; hello opens another one."))
            return
        if wait_s := self._audio.take():
            await asyncio.sleep(wait_s)
        await self._place.stream.push(data)
        self._hub.metrics.count("audio_bytes_total", len(data))

    def _limit(self, cost: int = 1) -> None:
        if self._control.take(cost):
            raise ProtocolError("rate_limited", "Too many messages in a short time.")

    async def _take_message(self, message: dict[str, object]) -> None:
        kind = message["type"]
        self._limit(EXPORT_COST if kind == "export" else 1)
        if kind == "ping":
            given = message.get("id")
            await self._send({"type": "pong", "id": given if isinstance(given, int | str) else None})
        elif kind in ("hello", "resume", "watch"):
            await self._begin(kind, message)
        elif self._place is None:
            raise ProtocolError("not_started", "The first message must be hello, resume or watch.")
        elif kind == "end":
            self._place.stream.end()
        elif kind == "switch":
            await self._switch(message, self._place)
        elif kind == "export":
            await self._export(message)
        else:
            raise ProtocolError("bad_message", "Unknown type; known: hello, resume, watch, switch, end, export, ping.")

    async def _begin(self, kind: str, message: dict[str, object]) -> None:
        free = self._place is None or (kind == "hello" and self._place.stream.closed)
        if not free or self._watching:
            await self._tell(ProtocolError("already_started", "This connection already carries a stream."))
            return
        if not self._access.admits(message.get("token")):
            raise ProtocolError("unauthorised", "The token is missing or wrong.")
        if kind == "hello":
            await self._open(message)
        elif kind == "resume":
            await self._resume(message)
        else:
            channel = read_name(message, "channel")
            if channel is None:
                raise ProtocolError("bad_value", "watch needs a channel.")
            target = read_name(message, "target")
            await self._send({"type": "watching", "channel": channel})
            self._tasks.append(asyncio.create_task(self._watch(channel, target)))

    @property
    def _watching(self) -> bool:
        return self._place is None and bool(self._tasks)

    async def _open(self, message: dict[str, object]) -> None:
        hello = read_hello(message)
        if self._place is not None:
            self._hub.release(self._place, self)
            self._place = None
        self._place, self._told_end = await self._hub.open(hello, self), False
        await self._send({**self._place.ready(), "session": self._place.stream.id})
        if hello.captions and (refusal := self._hub.caption(self._place)):
            await self._tell(refusal)
        self._follow(self._place.tracks())

    async def _resume(self, message: dict[str, object]) -> None:
        seen = read_positions(message)  # before the stream is taken from whoever has it
        self._place = self._hub.resume(read_name(message, "session") or "", self)
        stream = self._place.stream
        seq: object = {track.target: track.seq for track in stream.tracks}
        if not stream.hello.targets:
            seq = stream.tracks[0].seq
        await self._send({"type": "resumed", "session": stream.id, "seq": seq, "received": stream.received})
        self._follow({track: seen(track.target) for track in stream.tracks})

    async def _switch(self, message: dict[str, object], place: Place) -> None:
        if place.stream.ended:
            await self._tell(ProtocolError("already_ended", "The stream has ended; hello opens another one."))
            return
        try:
            await self._hub.switch(place, read_switch(message, place.stream.hello))
        except ProtocolError as error:
            await self._tell(ProtocolError(error.code, str(error), fatal=False))  # the stream goes on as it was

    def _follow(self, positions: Mapping[Track, int]) -> None:
        assert self._place is not None
        self._tasks.append(asyncio.create_task(self._send_events(self._place, positions)))

    async def _send_events(self, place: Place, positions: Mapping[Track, int]) -> None:
        """Hand the stream's events on; tell what broke it."""
        if await self._forward(place, positions) and place.stream.error is not None:
            self._hub.metrics.count("errors_total", label=f'code="{place.stream.error.code}"')
            self.dismiss(place.stream.error)

    async def _watch(self, channel: str, target: str | None) -> None:
        try:
            found = await self._hub.watch(channel)
        except ProtocolError as error:
            self.dismiss(error)
            return
        try:
            place: Place | None = None
            while True:
                place = await found.next(place)
                try:
                    if not await self._show(place, place.find(target)):
                        return
                except ProtocolError as error:
                    with contextlib.suppress(ConnectionClosed):
                        await self._tell(error)
        finally:
            self._hub.unwatch(channel)

    async def _show(self, place: Place, number: int) -> bool:
        """One track of a stream to its end; False where the client is gone."""
        with contextlib.suppress(ConnectionClosed):
            await self._send(place.ready(number))
        return await self._forward(place, {place.stream.tracks[number]: 0})

    async def _forward(self, place: Place, positions: Mapping[Track, int]) -> bool:
        """Send events until the stream is over; False where the client is gone."""
        subscriber = Subscriber(place.stream, positions)
        try:
            while batch := await subscriber.take():
                for text in batch:
                    await self._send_text(text)
        except ConnectionClosed:
            return False
        finally:
            subscriber.close()
        return True

    async def _export(self, message: dict[str, object]) -> None:
        assert self._place is not None
        kind = message.get("format")
        if not (isinstance(kind, str) and kind in EXPORTS):
            await self._tell(ProtocolError("unknown_export", f"format must be one of {', '.join(EXPORTS)}."))
            return
        try:
            found = self._place.export(kind, read_name(message, "target"))
        except ProtocolError as error:
            await self._tell(ProtocolError(error.code, str(error), fatal=False))
        else:
            await self._send(found)

    async def _send(self, message: Mapping[str, object]) -> None:
        await self._send_text(dump(message))

    async def _send_text(self, text: str) -> None:
        """Send, or cut off a client that neither takes nor sends anything. Raises ConnectionClosed.

        A client that cannot read because its sending is held back here is waited for: events wait in bounded memory.
        """
        sending = asyncio.ensure_future(self._socket.send(text))
        try:
            while not (await asyncio.wait({sending}, timeout=self._hub.limits.send_s))[0]:
                if not self._alive():
                    self._hub.metrics.count("errors_total", label='code="slow_reader"')
                    self._socket.transport.abort()
            await sending
        finally:
            sending.cancel()

    def _alive(self) -> bool:
        """Whether the client was heard lately, or would be if its audio were taken."""
        held_back = self._place is not None and self._place.stream.held_back
        return held_back or time.monotonic() - self._heard_at < self._hub.limits.send_s

    async def _tell(self, error: ProtocolError) -> None:
        self._hub.metrics.count("errors_total", label=f'code="{error.code}"')
        await self._send(error.to_json())

    async def _fail(self, error: ProtocolError) -> None:
        """Name the error, give the place back, hand out what was translated, and close."""
        self._failing = True
        for task in self._tasks:
            task.cancel()
        place = self._place if self._place is not None and self._place.owner is self else None
        if place is not None:
            self._hub.release(place, self)
        with contextlib.suppress(ConnectionClosed, TimeoutError):
            async with asyncio.timeout(2.0):
                await self._tell(error)
            if place is not None and any(track.ledger.writes for track in place.stream.tracks):
                await self._give_last_exports()
            async with asyncio.timeout(2.0):
                await self._socket.close(CLOSE_CODES[error.code], error.code)

    async def _give_last_exports(self) -> None:
        """Answer `export` for a moment; the stream is over, its text is not lost."""
        with contextlib.suppress(ProtocolError, TimeoutError):
            async with asyncio.timeout(LAST_EXPORTS_S):
                while True:
                    data = await self._socket.recv()
                    if isinstance(data, bytes):
                        continue  # what was on its way
                    message = read_message(data)
                    if self._control.take(EXPORT_COST) or message["type"] in ("hello", "resume", "watch"):
                        return
                    if message["type"] == "export":
                        await self._export(message)
