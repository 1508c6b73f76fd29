"""`simulst live`: one process that serves the page and the websocket until it is told to stop."""

import asyncio
import contextlib
import ipaddress
import logging
import os
import signal
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator

from websockets.asyncio.server import Server, ServerConnection, serve

from simulst.errors import SimulstError
from simulst.live.catalogue import Catalogue
from simulst.live.connection import Connection
from simulst.live.door import Door, gather, open_doors
from simulst.live.hub import Hub, Limits
from simulst.live.metrics import Metrics
from simulst.live.pool import Pool
from simulst.live.protocol import MAX_AUDIO_BYTES
from simulst.live.together import Beside, alone
from simulst.live.web import Access, Web

FLUSH_S = 15.0
"""Time that a shutdown gives the streams to be translated to their end."""


async def serve_live(
    catalogue: Catalogue,
    *,
    port: int = 8765,
    access: Access | None = None,
    limits: Limits | None = None,
    workers: int = 2,
    beside: Beside = alone,
    tls: ssl.SSLContext | None = None,
    ready: Callable[[str], None] = lambda address: None,
    stop: asyncio.Event | None = None,
) -> None:
    """Serve until `stop` is set, or SIGINT or SIGTERM comes, then translate what was heard and leave.

    `ready` is called with the address once clients can connect. Raises SimulstError where it cannot listen.
    """
    access, limits, stop = access or Access(), limits or Limits(), stop or asyncio.Event()
    doors = _listen(access.host, port)
    pool = Pool(workers)
    try:
        crowd = gather(doors, admitted=limits.max_connections, needed=limits.max_clients)
        hub = Hub(catalogue, pool, limits, Metrics(), beside)
        async with _serving(doors, hub, Web(hub, access, crowd), access.token, tls):
            with _signals(stop):
                ready(address_of(access.host, doors[0].getsockname()[1], secure=tls is not None))
                await stop.wait()
                await hub.shut_down(FLUSH_S)
    finally:
        for door in doors:
            door.close()
        pool.close()


def _listen(host: str, port: int) -> list[Door]:
    try:
        return open_doors(host, port)
    except OSError as error:
        raise SimulstError(f"{host}:{port} cannot be used: {_reason(error)}; choose another --port.") from None


@contextlib.asynccontextmanager
async def _serving(
    doors: list[Door], hub: Hub, web: Web, token: str, tls: ssl.SSLContext | None
) -> AsyncIterator[None]:
    """Take connections at these doors until the end of the block."""

    async def handle(socket: ServerConnection) -> None:
        hub.connections += 1
        try:
            await Connection(socket, hub, token).run()
        finally:
            hub.connections -= 1

    logging.getLogger("websockets").setLevel(logging.CRITICAL)  # peers that break off are not worth a line
    reaper = asyncio.create_task(hub.reap())
    servers: list[Server] = []
    try:
        for door in doors:
            servers.append(
                await serve(
                    handle,
                    sock=door,
                    process_request=web.answer,
                    ssl=tls,
                    open_timeout=hub.limits.hello_s,
                    max_size=4 * MAX_AUDIO_BYTES,
                    max_queue=16,
                    compression=None,
                    ping_interval=None,  # a reader that is held back could not answer; connections end by being idle
                    close_timeout=2,
                    server_header=None,
                )
            )
        yield
    finally:
        reaper.cancel()
        for server in servers:
            server.close()
        for server in servers:
            await server.wait_closed()


@contextlib.contextmanager
def _signals(stop: asyncio.Event) -> Iterator[None]:
    """The first SIGINT or SIGTERM sets `stop`; the second one has its usual effect."""
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGINT, signal.SIGTERM)

    def take() -> None:
        stop.set()
        for number in numbers:
            loop.remove_signal_handler(number)

    with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):  # not in the main thread
        for number in numbers:
            loop.add_signal_handler(number, take)
    try:
        yield
    finally:
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
            for number in numbers:
                loop.remove_signal_handler(number)


def address_of(host: str, port: int, *, secure: bool) -> str:
    """What to type into a browser; a server that listens everywhere is named by this machine's own address."""
    name = _own_address(host) if _everywhere(host) else host
    return f"{'https' if secure else 'http'}://{f'[{name}]' if ':' in name else name}:{port}"


def _everywhere(host: str) -> bool:
    try:
        return not host or ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def _own_address(host: str) -> str:
    """Address of this machine in its network, IPv6 where `host` is; its name where it has none."""
    v4, v6 = (socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")  # networks for documents
    order = [v4] if ":" not in host else [v6, v4] if socket.has_dualstack_ipv6() else [v6]
    for family, far in order:
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((far, 9))  # nothing is sent
            return str(probe.getsockname()[0])
    return socket.gethostname()


def _reason(error: OSError) -> str:
    return os.strerror(error.errno).lower() if error.errno and error.errno > 0 else str(error)
