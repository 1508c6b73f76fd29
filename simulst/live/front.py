"""The first bytes of a connection: a POST goes to HTTP, everything else stays with the websocket library."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from weakref import WeakSet

from websockets.asyncio.server import ServerConnection
from websockets.protocol import CONNECTING

POST = b"POST "

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class _HandedOn(asyncio.Transport):
    """What the websocket library holds of a connection that is no longer its own."""

    def abort(self) -> None: ...

    def close(self) -> None: ...


class Front(ServerConnection):
    """A connection whose kind its first bytes tell; `posted` serves those that post."""

    posted: Handler
    """Set by `fronts`."""
    tasks: set["asyncio.Task[None]"]
    all: WeakSet["Front"]

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._first: bytes | None = b""
        self.all.add(self)

    @classmethod
    def drop_silent(cls) -> None:
        """End the connections that have not asked for anything yet; closing the server would wait for them."""
        for front in list(cls.all):
            if front.protocol.state is CONNECTING:
                front.transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._first is not None:
            data = self._first + data
            if len(data) < len(POST) and POST.startswith(data):
                self._first = data
                return
            self._first = None
            if data.startswith(POST):
                self._hand_on(data)
                return
        super().data_received(data)

    def _hand_on(self, data: bytes) -> None:
        """Let an HTTP exchange have the connection; for the websocket library it is over."""
        transport, self.transport = self.transport, _HandedOn()
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        protocol.data_received(data)
        writer = asyncio.StreamWriter(transport, protocol, reader, self.loop)
        task = self.loop.create_task(_run(self.posted, reader, writer))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        self.connection_lost(None)


async def _run(handler: Handler, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        await handler(reader, writer)
    finally:
        writer.transport.abort()


def fronts(posted: Handler, tasks: "set[asyncio.Task[None]]") -> type[Front]:
    """The class of connections whose posts go to `posted`; `tasks` holds those that are being served."""
    return type("Front", (Front,), {"posted": staticmethod(posted), "tasks": tasks, "all": WeakSet()})
