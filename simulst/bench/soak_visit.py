"""One client of `simulst bench soak --live`: a stream that stays, pushes, leaves, breaks and resumes, or vanishes."""

import asyncio
import json
import random
import time
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypedDict

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from simulst.errors import SimulstError

if TYPE_CHECKING:
    from simulst.core.translator import FloatArray
    from simulst.live.ledger import Message

BLOCK = 1_600
"""Samples per message: 100 ms at 16 kHz."""
AHEAD_CHUNKS = 3
"""Audio that is sent before what is decided on, except by those that push: lags are then those of a live stream."""
BUSY_S = 0.25
"""Wait of a client that was told that all places are taken."""
WAYS = ("stays", "pushes", "breaks", "leaves", "vanishes")
"""What a client does: all of it at the speed of the model; all of it as fast as the socket takes it; loses its
connection several times and resumes; says goodbye in the middle; loses its connection and never comes back."""


class Answer(TypedDict, total=False):
    """What the server says to `hello` and `resume`."""

    type: str
    session: str
    chunk_ms: int
    received: int
    code: str
    message: str


@dataclass
class Visit:
    """The state of one stream over all its connections; `progress` and `lag` are called with seconds as they come."""

    address: str
    audio: "FloatArray"
    way: str
    chance: random.Random
    progress: Callable[[float], None]
    lag: Callable[[float], None]
    text: str = ""
    seq: int = 0
    session: str = ""
    retracts: bool = False
    ended: bool = False
    resumed: int = 0
    decided_s: float = 0.0
    _ahead_s: float = 0.0
    _sent: int = 0
    _sent_s: list[float] = field(default_factory=list)
    _sent_at: list[float] = field(default_factory=list)
    _moved: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def run(self) -> None:
        """Say everything, or as much as this way of behaving says. Raises SimulstError where the server refuses."""
        for stop in self._stops():
            await self._connected(stop)
            if stop < len(self.audio) and self.way == "breaks":
                self.resumed += 1
                await asyncio.sleep(self.chance.uniform(0.0, 2.0))
        if self.way in ("stays", "pushes", "breaks") and not self.ended:
            raise SimulstError(f"The server closed a stream of a client that {self.way} before its end.")

    def _stops(self) -> list[int]:
        """Samples after which each connection ends."""
        whole = len(self.audio)
        if self.way in ("leaves", "vanishes"):
            return [self.chance.randrange(whole // 4, whole)]
        if self.way == "breaks":
            return [*sorted(self.chance.sample(range(whole // 8, whole), self.chance.randint(1, 3))), whole]
        return [whole]

    async def _connected(self, stop: int) -> None:
        """One connection, up to that sample."""
        async with connect(self.address, compression=None, ping_interval=None, max_size=None) as socket:
            await self._open(socket)
            sender = asyncio.create_task(self._send(socket, stop))
            try:
                await self._listen(socket)
            except ConnectionClosed:
                if stop >= len(self.audio):
                    raise SimulstError("The server broke a connection in the middle of a stream.") from None
            finally:
                sender.cancel()
                await asyncio.wait({sender})

    async def _open(self, socket: ClientConnection) -> None:
        if self.session:
            await self._say(socket, type="resume", session=self.session, seq=self.seq)
            self._sent = (await self._answer(socket, "resumed"))["received"]
            keep = bisect_left(self._sent_s, self._sent / 16_000 + 1e-6)
            del self._sent_s[keep:], self._sent_at[keep:]
            return
        ready = await self._hello(socket)
        self.session = ready["session"]
        self._ahead_s = 1e9 if self.way == "pushes" else AHEAD_CHUNKS * ready["chunk_ms"] / 1000

    async def _hello(self, socket: ClientConnection) -> Answer:
        await self._say(socket, type="hello", version=1, sample_rate=16_000, format="f32le", pace="file")
        return await self._answer(socket, "ready")

    async def _answer(self, socket: ClientConnection, kind: str) -> Answer:
        message: Answer = json.loads(await socket.recv())
        if message["type"] != kind:
            raise Refused(message.get("code", ""), f"The server answered {message.get('message', message)}")
        return message

    async def _say(self, socket: ClientConnection, **message: object) -> None:
        await socket.send(json.dumps(message))

    async def _send(self, socket: ClientConnection, stop: int) -> None:
        while self._sent < stop:
            block = self.audio[self._sent : min(stop, self._sent + BLOCK)]
            until_s = (self._sent + len(block)) / 16_000
            await self._wait(until_s - self._ahead_s)
            self._sent += len(block)
            self._sent_s.append(until_s)
            self._sent_at.append(time.monotonic())
            await socket.send(block.tobytes())
        if self.way in ("stays", "pushes") or (self.way == "breaks" and stop >= len(self.audio)):
            await self._say(socket, type="end")
        elif self.way == "leaves":
            await socket.close()
        else:
            socket.transport.abort()

    async def _wait(self, audio_s: float) -> None:
        """Until that much is decided on."""
        async with self._moved:
            await self._moved.wait_for(lambda: self.decided_s >= audio_s)

    async def _listen(self, socket: ClientConnection) -> None:
        async for raw in socket:
            message = json.loads(raw)
            self.seq = message.get("seq", self.seq)
            match message["type"]:
                case "write":
                    self.text += message["text"]
                    self._note_lag(message)
                case "retract":
                    self.retracts = True
                    self.text = self.text[: message["length"]]
                case "snapshot":
                    self.text = message["text"]
                case "lag":
                    await self._decide(message["audio_s"])
                case "end":
                    self.ended = True
                    await self._decide(message["audio_s"])
                    return
                case "error":
                    raise Refused(message["code"], f"The server ended a stream: {message['message']}")

    async def _decide(self, audio_s: float) -> None:
        new_s = audio_s - self.decided_s
        if new_s > 0:
            self.decided_s = audio_s
            self.progress(new_s)
            async with self._moved:
                self._moved.notify_all()

    def _note_lag(self, message: "Message") -> None:
        """Seconds since the end of the source words was sent; those that push or break say nothing about the server."""
        if self.way in ("pushes", "breaks"):
            return
        spoken_s = message["end_s"] if message["end_s"] is not None else message["audio_s"]
        index = min(bisect_left(self._sent_s, spoken_s - 1e-6), len(self._sent_at) - 1)
        self.lag(time.monotonic() - self._sent_at[index])


class Refused(SimulstError):
    """The server said no; `code` is that of the protocol."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code
