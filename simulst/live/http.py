"""Requests with a body, which the websocket library does not read: one exchange for each connection, parsed by h11."""

import asyncio
from collections.abc import Iterable
from http import HTTPStatus

import h11
from websockets.datastructures import Headers

MAX_HEAD_BYTES = 1 << 14
LEAST_BYTES_PER_S = 1 << 15
"""A body that comes more slowly is not waited for."""
READ_BYTES = 1 << 16


class Refusal(Exception):
    """A request that cannot be served; `code` tells programs why."""

    def __init__(self, status: HTTPStatus, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


class Gone(Exception):
    """The client is no longer there."""


class Exchange:
    """One request and its answer."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, patience_s: float) -> None:
        self._reader, self._writer = reader, writer
        self._patience_s = patience_s
        self._wire = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)
        self.method = ""
        self.path = ""
        self.headers = Headers()

    @property
    def begun(self) -> bool:
        """Whether some of the answer was sent."""
        return self._wire.our_state not in (h11.IDLE, h11.SEND_RESPONSE)

    @property
    def number(self) -> int:
        """File number of the connection."""
        return int(self._writer.get_extra_info("socket").fileno())

    async def head(self) -> None:
        """Read the request up to its body. Raises Refusal and Gone."""
        try:
            async with asyncio.timeout(self._patience_s):
                event = await self._next()
        except TimeoutError:
            raise Gone from None
        if not isinstance(event, h11.Request):
            raise Gone
        self.method, self.path = event.method.decode("ascii"), event.target.decode("ascii", "replace")
        for name, value in event.headers:
            self.headers[name.decode("ascii")] = value.decode("latin-1")

    async def body(self, most: int) -> bytes:
        """The whole body. Raises Refusal where it is longer than `most` bytes or too slow, and Gone."""
        promised = self.headers.get("Content-Length", "")
        if promised.isdigit() and (len(promised) > 15 or int(promised) > most):
            raise _too_large(most)
        parts, size = list[bytes](), 0
        try:
            async with asyncio.timeout(self._patience_s + most / LEAST_BYTES_PER_S):
                while isinstance(event := await self._next(), h11.Data):
                    parts.append(bytes(event.data))
                    size += len(event.data)
                    if size > most:
                        raise _too_large(most)
        except TimeoutError:
            raise Refusal(HTTPStatus.REQUEST_TIMEOUT, "too_slow", "The request took too long to come.") from None
        return b"".join(parts)

    async def left(self) -> None:
        """Wait until the client goes away."""
        while await self._reader.read(READ_BYTES):
            pass

    async def answer(self, status: int, body: bytes, headers: Iterable[tuple[str, str]]) -> None:
        """A whole answer. Raises Gone."""
        await self.begin(status, [*headers, ("Content-Length", str(len(body)))])
        await self.send(body)
        await self.end()

    async def begin(self, status: int, headers: Iterable[tuple[str, str]]) -> None:
        """The head of an answer; without a Content-Length its body comes in chunks. Raises Gone."""
        own = [name for name, _ in headers]
        close = [] if "Connection" in own else [("Connection", "close")]
        await self._send(h11.Response(status_code=status, headers=[*headers, *close], reason=HTTPStatus(status).phrase))

    async def send(self, data: bytes) -> None:
        """A piece of the answer's body. Raises Gone."""
        if data:
            await self._send(h11.Data(data=data))

    async def end(self) -> None:
        """The answer is complete. Raises Gone."""
        await self._send(h11.EndOfMessage())

    async def close(self) -> None:
        """Say goodbye so that what was sent arrives, even where not all of the request was read."""
        try:
            async with asyncio.timeout(1.0):
                await self._writer.drain()
                if self._writer.can_write_eof():
                    self._writer.write_eof()
                await self.left()
        except (OSError, TimeoutError):
            pass
        finally:
            self._writer.transport.abort()

    async def _next(self) -> h11.Event:
        try:
            while (event := self._wire.next_event()) is h11.NEED_DATA:
                if self._wire.they_are_waiting_for_100_continue:
                    await self._send(h11.InformationalResponse(status_code=100, headers=[]))
                self._wire.receive_data(await self._reader.read(READ_BYTES))
        except h11.RemoteProtocolError as error:
            status = HTTPStatus(error.error_status_hint)
            raise Refusal(status, "bad_request", "The request cannot be understood.") from None
        except OSError:
            raise Gone from None
        if not isinstance(event, h11.Event):
            raise Gone
        return event

    async def _send(self, event: h11.Event) -> None:
        try:
            self._writer.write(self._wire.send(event) or b"")
            async with asyncio.timeout(self._patience_s):
                await self._writer.drain()
        except (OSError, TimeoutError, h11.LocalProtocolError):
            raise Gone from None


def _too_large(most: int) -> Refusal:
    return Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_large", f"A request has at most {most >> 20} MiB.")
