"""simulstream's HTTP processor protocol (FBK; IWSLT's simultaneous track): its harness drives any model and policy.

Every request is a JSON object with a `session_id`: `speech_chunk_size`, `source_language`, `target_language`,
`process_chunk` (base64 of 16 kHz float32), `end_of_stream`, `clear`, `tokens_to_string`.
"""

import asyncio
import base64
import binascii
import contextlib
import functools
import json
import logging
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from http import HTTPStatus

import numpy as np

from simulst.audio.samples import PEAK_LIMIT, SAMPLE_RATE, FloatArray
from simulst.core.events import Event, WriteEvent
from simulst.core.languages import Wanted
from simulst.core.prefix import common_prefix
from simulst.core.session import Session
from simulst.live.access import Access
from simulst.live.catalogue import Catalogue
from simulst.live.door import gather
from simulst.live.http import Exchange, Gone, Refusal
from simulst.live.openai.errors import status_of
from simulst.live.pool import Pool, Stalled
from simulst.live.protocol import Hello, ProtocolError
from simulst.live.server import address_of, listen, stop_signals

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 32 << 20
"""About four minutes of audio."""
PATIENCE_S = 20.0

Message = dict[str, object]


class Tokens:
    """The text of a stream as the harness counts it: words with the blanks before them, and parts of words."""

    def __init__(self) -> None:
        self._tokens: list[str] = []

    def take(self, events: Sequence[Event]) -> Message:
        """What a step has written and taken back."""
        before = list(self._tokens)
        for event in events:
            if isinstance(event, WriteEvent):
                self._retract(event.retract)
                self._tokens += re.findall(r"\s*\S+|\s+", event.text)
        same = common_prefix(before, self._tokens)
        new, deleted = self._tokens[same:], before[same:]
        strings = {"new_string": "".join(new), "deleted_string": "".join(deleted)}
        return {"new_tokens": new, "deleted_tokens": deleted, **strings}

    def _retract(self, count: int) -> None:
        while count > 0 and self._tokens:
            token = self._tokens.pop()
            if len(token) > count:
                self._tokens.append(token[:-count])
            count -= len(token)


@dataclass(kw_only=True)
class Stream:
    """What one session of the harness has come to."""

    wanted: Wanted = field(default_factory=Wanted)
    session: Session | None = None
    tokens: Tokens = field(default_factory=Tokens)
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    used_at: float = field(default_factory=time.monotonic)

    def opened(self, catalogue: Catalogue) -> Session:
        """The session, made where there is none yet. Raises ProtocolError for what nothing here can do."""
        if self.session is None:
            hello = Hello(
                sample_rate=SAMPLE_RATE, format="f32le", hypotheses=False, transcript=False, wanted=self.wanted
            )
            self.session = catalogue.open(hello).sessions[0]
        return self.session

    def want(self, wanted: Wanted) -> None:
        """Another language for what is not heard yet. Raises Refusal after audio came."""
        if self.session is not None and self.session.audio_s:
            raise _bad("The language of a stream cannot change after audio came; clear ends the stream.")
        self.wanted, self.session = wanted, None


class Harness:
    """Answers the harness; at most `size` sessions, each forgotten after `ttl_s` seconds without a request."""

    def __init__(self, catalogue: Catalogue, pool: Pool, access: Access, *, size: int, ttl_s: float) -> None:
        self._catalogue, self._pool, self._access = catalogue, pool, access
        self._size, self._ttl_s = size, ttl_s
        self.streams: dict[str, Stream] = {}
        self._tasks: set[asyncio.Task[object]] = set()
        self._routes: dict[tuple[str, str], Callable[[Stream, Message], Awaitable[Message | None]]] = {
            ("GET", "speech_chunk_size"): self._chunk_size,
            ("PUT", "source_language"): self._source,
            ("PUT", "target_language"): self._target,
            ("POST", "process_chunk"): self._chunk,
            ("POST", "end_of_stream"): self._end,
            ("GET", "tokens_to_string"): self._joined,
        }

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request and its answer."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        exchange = Exchange(reader, writer, patience_s=PATIENCE_S)
        with contextlib.suppress(Gone):
            try:
                status, body = await self._answer(exchange)
            except Refusal as refusal:
                status, body = refusal.status, {"error": str(refusal)}
            except ProtocolError as error:
                status, body = status_of(error.code), {"error": str(error)}
            except Stalled:
                status, body = HTTPStatus.INTERNAL_SERVER_ERROR, {"error": "The model took too long for one step."}
            except Gone:
                raise
            except Exception:
                log.exception("a request failed")
                status, body = HTTPStatus.INTERNAL_SERVER_ERROR, {"error": "The server failed; its log tells why."}
            content = b"" if body is None else json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")
            await exchange.answer(status, content, [("Content-Type", "application/json; charset=utf-8")])
        await exchange.close()

    async def close(self) -> None:
        """Break off what is being answered."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _answer(self, exchange: Exchange) -> tuple[HTTPStatus, Message | None]:
        await exchange.head()
        try:
            refused = self._access.refusal(exchange.headers)
        except (LookupError, ValueError):
            raise _bad("The request cannot be understood.") from None
        if refused is not None:
            raise Refusal(*refused)
        name = exchange.path.strip("/")
        route = self._routes.get((exchange.method, name))
        if route is None and (exchange.method, name) != ("POST", "clear"):
            raise Refusal(HTTPStatus.NOT_FOUND, "not_found", "There is nothing here; see simulstream's HTTP processor.")
        message = _read(await exchange.body(MAX_BODY_BYTES))
        session_id = _text(message, "session_id")
        if route is None:
            self.streams.pop(session_id, None)
            return HTTPStatus.NO_CONTENT, None
        stream = self._stream(session_id)
        async with stream.turn:
            found = await route(stream, message)
            stream.used_at = time.monotonic()
        return (HTTPStatus.NO_CONTENT, None) if found is None else (HTTPStatus.OK, found)

    def _stream(self, session_id: str) -> Stream:
        """The session, a new one where there is none yet. Raises Refusal where there are too many."""
        if session_id not in self.streams:
            late = time.monotonic() - self._ttl_s
            for name in [name for name, one in self.streams.items() if one.used_at < late and not one.turn.locked()]:
                del self.streams[name]
            if len(self.streams) >= self._size:
                sentence = f"All {self._size} sessions are taken; end one with clear, or allow more with --sessions."
                raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "busy", sentence)
            self.streams[session_id] = Stream()
        return self.streams[session_id]

    async def _session(self, stream: Stream) -> Session:
        if stream.session is not None:
            return stream.session
        return await self._pool.run(functools.partial(stream.opened, self._catalogue))

    async def _chunk_size(self, stream: Stream, message: Message) -> Message:
        return {"speech_chunk_size": (await self._session(stream)).chunk_ms / 1000}

    async def _source(self, stream: Stream, message: Message) -> None:
        stream.want(replace(stream.wanted, source=_text(message, "language")))

    async def _target(self, stream: Stream, message: Message) -> None:
        stream.want(replace(stream.wanted, target=_text(message, "language")))

    async def _chunk(self, stream: Stream, message: Message) -> Message:
        samples = _samples(message.get("waveform"))
        session = await self._session(stream)
        return stream.tokens.take(await self._pool.run(functools.partial(session.feed, samples)))

    async def _end(self, stream: Stream, message: Message) -> Message:
        return stream.tokens.take(await self._pool.run((await self._session(stream)).finish))

    async def _joined(self, stream: Stream, message: Message) -> Message:
        tokens = message.get("tokens")
        if not (isinstance(tokens, list) and all(isinstance(token, str) for token in tokens)):
            raise _bad("tokens must be a list of texts.")
        return {"tokens_as_string": "".join(tokens)}


def _read(body: bytes) -> Message:
    try:
        message = json.loads(body)
    except (ValueError, RecursionError):
        message = None
    if not isinstance(message, dict):
        raise _bad("A request must be a JSON object.")
    return message


def _text(message: Message, key: str) -> str:
    value = message.get(key)
    if not (isinstance(value, str) and 0 < len(value) <= 200):
        raise _bad(f"{key} must be a text of 1 to 200 characters.")
    return value


def _samples(encoded: object) -> FloatArray:
    try:
        data = base64.b64decode(encoded, validate=True) if isinstance(encoded, str) else b"?"
    except (binascii.Error, ValueError):
        data = b"?"
    if len(data) % 4:
        raise _bad("waveform must be base64 of 16 kHz mono float32.")
    samples = np.frombuffer(data, "<f4").astype(np.float32)
    if not np.abs(samples).max(initial=0.0) <= PEAK_LIMIT:  # neither is NaN
        raise _bad("The samples must be finite numbers near [-1, 1].")
    return samples


def _bad(sentence: str) -> Refusal:
    return Refusal(HTTPStatus.BAD_REQUEST, "bad_request", sentence)


async def serve_simulstream(
    catalogue: Catalogue,
    *,
    host: str,
    port: int,
    sessions: int,
    ttl_s: float,
    workers: int,
    ready: Callable[[str], None],
    stop: asyncio.Event | None = None,
) -> None:
    """Answer until `stop` is set, or SIGINT or SIGTERM comes. Raises SimulstError where it cannot listen."""
    stop = stop or asyncio.Event()
    doors = listen(host, port)
    pool = Pool(workers)
    harness = Harness(catalogue, pool, Access(host=host), size=sessions, ttl_s=ttl_s)
    servers: list[asyncio.Server] = []
    try:
        gather(doors, admitted=4 * sessions + 32, needed=sessions)
        servers += [await asyncio.start_server(harness.serve, sock=door) for door in doors]
        with stop_signals(stop):
            ready(address_of(host, doors[0].getsockname()[1], secure=False))
            await stop.wait()
    finally:
        for server in servers:
            server.close()
        await harness.close()
        for door in doors:
            door.close()
        pool.close()
