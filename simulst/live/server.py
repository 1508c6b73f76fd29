"""`simulst live`: one process that serves the page and the websocket until it is told to stop."""

import asyncio
import contextlib
import ipaddress
import logging
import os
import signal
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.typing import Subprotocol

from simulst.errors import DeviceLostError, SimulstError
from simulst.live.access import Access, bearer
from simulst.live.captions import Captions
from simulst.live.catalogue import Catalogue
from simulst.live.connection import Connection, Wire
from simulst.live.door import Door, gather, open_doors
from simulst.live.front import fronts
from simulst.live.hub import HAND_ON_S, Hub, Limits
from simulst.live.metrics import Metrics
from simulst.live.openai.realtime import Realtime
from simulst.live.openai.uploads import Uploads
from simulst.live.pool import Pool
from simulst.live.protocol import MAX_AUDIO_BYTES
from simulst.live.together import Beside, alone
from simulst.live.web import REALTIME, Web

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
    captions: Captions | None = None,
    tls: ssl.SSLContext | None = None,
    ready: Callable[[str], None] = lambda address: None,
    stop: asyncio.Event | None = None,
) -> None:
    """Serve until `stop` is set, or SIGINT or SIGTERM comes, then translate what was heard and leave.

    `ready` is called with the address once clients can connect. Raises SimulstError where it cannot listen, and
    DeviceLostError when the model's device fails, which a new process may be able to use.
    """
    access, limits, stop = access or Access(), limits or Limits(), stop or asyncio.Event()
    doors = listen(access.host, port)
    pool = Pool(workers, on_lost=stop.set)
    try:
        crowd = gather(doors, admitted=limits.max_connections, needed=limits.max_clients)
        hub = Hub(catalogue, pool, limits, Metrics(), beside, captions)
        async with _serving(doors, hub, Web(hub, access, crowd), access, tls):
            with stop_signals(stop):
                ready(address_of(access.host, doors[0].getsockname()[1], secure=tls is not None))
                await stop.wait()
                await hub.shut_down(0.0 if pool.lost else FLUSH_S)
                await asyncio.to_thread(hub.captions.close)
    finally:
        for door in doors:
            door.close()
        pool.close()
    if pool.lost is not None:
        raise DeviceLostError(
            f"The model's device failed ({' '.join(str(pool.lost).split())}); start the server again."
        )


def listen(host: str, port: int) -> list[Door]:
    """Doors at an address. Raises SimulstError where it cannot be used."""
    try:
        return open_doors(host, port)
    except OSError as error:
        raise SimulstError(f"{host}:{port} cannot be used: {_reason(error)}; choose another --port.") from None


@contextlib.asynccontextmanager
async def _serving(
    doors: list[Door], hub: Hub, web: Web, access: Access, tls: ssl.SSLContext | None
) -> AsyncIterator[None]:
    """Take connections at these doors until the end of the block."""

    async def handle(socket: ServerConnection) -> None:
        hub.connections += 1
        try:
            await Connection(_wire(socket), hub, access).run()
        finally:
            hub.connections -= 1

    logging.getLogger("websockets").setLevel(logging.CRITICAL)  # peers that break off are not worth a line
    reaper = asyncio.create_task(hub.reap())
    servers: list[Server] = []
    posts: set[asyncio.Task[None]] = set()
    front = fronts(Uploads(hub, web).serve, posts)
    try:
        for door in doors:
            servers.append(
                await serve(
                    handle,
                    sock=door,
                    process_request=web.answer,
                    create_connection=front,
                    select_subprotocol=_subprotocol,
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
        if posts:  # answers on their way, and streams that were being opened
            await asyncio.wait(posts, timeout=HAND_ON_S)
        for task in (reaper, *posts):
            task.cancel()
        for server in servers:
            server.close()
        front.drop_silent()
        await asyncio.wait({reaper, *posts})
        for server in servers:
            await server.wait_closed()


def _wire(socket: ServerConnection) -> Wire:
    """What the client speaks: our protocol, or OpenAI's events."""
    address = urlsplit(socket.request.path if socket.request is not None else "")
    if address.path != REALTIME or socket.request is None:
        return socket
    query = {key: values[-1] for key, values in parse_qs(address.query).items()}
    return Realtime(socket, query, bearer(socket.request.headers))


def _subprotocol(socket: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    """The one of OpenAI's pages."""
    return next((one for one in offered if one == "realtime"), None)


@contextlib.contextmanager
def stop_signals(stop: asyncio.Event) -> Iterator[None]:
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
