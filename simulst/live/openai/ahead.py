"""Messages taken from a websocket before they are wanted, so that pings between them are answered."""

import asyncio
from collections import deque

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

MAX_AHEAD_BYTES = 16 << 20
"""About four minutes of audio; a sender that is farther ahead is held back, and gets no answer to its pings."""
MESSAGE_BYTES = 256
"""What a message takes besides its content."""


class ReadAhead:
    """Takes messages as they come, to a bound.

    The official clients break off where a ping is not answered for 20 s, which a file that is sent at once would bring
    about if its messages waited in the socket.
    """

    def __init__(self, socket: ServerConnection) -> None:
        self._socket = socket
        self._waiting: deque[str | bytes] = deque()
        self._bytes = 0
        self._closed: ConnectionClosed | None = None
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def take(self) -> str | bytes:
        """The next message. Raises ConnectionClosed as soon as the connection is, whatever waits."""
        if self._task is None:
            self._task = asyncio.create_task(self._read())
        while not self._waiting and self._closed is None:
            self._changed.clear()
            await self._changed.wait()
        if self._closed is not None:
            raise self._closed
        data = self._waiting.popleft()
        self._bytes -= len(data) + MESSAGE_BYTES
        self._room.set()
        return data

    async def _read(self) -> None:
        try:
            while True:
                data = await self._socket.recv()
                self._waiting.append(data)
                self._bytes += len(data) + MESSAGE_BYTES
                self._changed.set()
                while self._bytes > MAX_AHEAD_BYTES and self._socket.close_code is None:
                    self._room.clear()
                    await self._room.wait()
        except ConnectionClosed as closed:
            self._closed = closed
        finally:
            self._changed.set()
