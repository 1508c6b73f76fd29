"""The listening sockets of a server, and how many connections may wait at a time."""

import contextlib
import errno
import socket

from simulst.errors import SimulstError

FILES_KEPT = 24
"""Open files that are left for everything else when connections take the rest."""
STRANGERS = 32
"""Connections besides the admitted ones: handshakes, pages, and refusals that are to be answered."""


class Crowd:
    """Every connection from its first packet on; when there are too many, the stranger who has waited longest goes.

    A stranger is a connection that was not admitted: one in the middle of its TLS or HTTP handshake, or half open.
    At most `admitted` of `most` connections are those of admitted clients.
    """

    def __init__(self, *, admitted: int, most: int) -> None:
        self._most_admitted, self._most = admitted, most
        self._strangers: dict[int, socket.socket] = {}
        self._admitted: dict[int, socket.socket] = {}
        self._leaving: list[socket.socket] = []

    def enter(self, connection: socket.socket) -> None:
        """A new connection, not admitted yet."""
        self._strangers[connection.fileno()] = connection

    def admit(self, number: int) -> bool:
        """Whether the connection with this file number may stay; if so it is no longer sent away."""
        self._forget_closed()
        if len(self._admitted) >= self._most_admitted:
            return False
        if (found := self._strangers.pop(number, None)) is not None:
            self._admitted[number] = found
        return True

    def has_room(self) -> bool:
        """Whether one more may come in now; where not, a stranger has been sent away and room comes in a moment."""
        if len(self._strangers) + len(self._admitted) + len(self._leaving) < self._most:
            return True
        self._forget_closed()
        if len(self._strangers) + len(self._admitted) + len(self._leaving) < self._most:
            return True
        if self._strangers and not self._leaving:
            self._send_away(next(iter(self._strangers)))
        return False

    def _send_away(self, number: int) -> None:
        """End it; it counts until its file is closed."""
        one = self._strangers.pop(number)
        self._leaving.append(one)
        with contextlib.suppress(OSError):  # the peer was faster
            one.shutdown(socket.SHUT_RDWR)

    def _forget_closed(self) -> None:
        for people in (self._strangers, self._admitted):
            for number in [number for number, one in people.items() if one.fileno() < 0]:
                del people[number]
        self._leaving = [one for one in self._leaving if one.fileno() >= 0]


class Door(socket.socket):
    """A listening socket whose connections join a `Crowd`."""

    crowd: Crowd

    def accept(self) -> tuple[socket.socket, object]:
        """The next connection. Raises BlockingIOError where there is none, or no room for it yet."""
        if not self.crowd.has_room():
            raise BlockingIOError
        connection, address = super().accept()
        self.crowd.enter(connection)
        return connection, address


def open_doors(host: str, port: int) -> list[Door]:
    """Sockets bound to every address of `host`, all to the same port; "" and "::" are every address of this machine.

    Raises OSError where an address cannot be used or `host` has none.
    """
    doors: list[Door] = []
    missing: OSError | None = None
    try:
        for family, address in _addresses(host):
            try:
                doors.append(_bound(family, address, doors[0].getsockname()[1] if doors else port, host))
            except OSError as error:
                if error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
                    raise
                missing = error
        if missing and not doors:
            raise missing
    except BaseException:
        for door in doors:
            door.close()
        raise
    return doors


def _addresses(host: str) -> list[tuple[socket.AddressFamily, str]]:
    found = socket.getaddrinfo(host or None, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return list(dict.fromkeys((family, str(address[0])) for family, _, _, _, address in found))


def _bound(family: socket.AddressFamily, address: str, port: int, host: str) -> Door:
    door = Door(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # asyncio delays no message of what it knows as TCP
    try:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:  # a host of "" has an IPv4 address of its own
            alone = not (address == "::" and host and socket.has_dualstack_ipv6())
            door.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, alone)
        door.bind((address, port))
    except BaseException:
        door.close()
        raise
    return door


def gather(doors: list[Door], *, admitted: int, needed: int) -> Crowd:
    """A crowd before these doors: `admitted` connections and some strangers, or as many as there may be open files.

    Raises SimulstError where these are too few for `needed` streams.
    """
    wanted = admitted + STRANGERS
    used = max(door.fileno() for door in doors) + 1 + FILES_KEPT
    most = min(wanted, _files(used + wanted) - used)
    room = min(admitted, most - min(STRANGERS, most // 4))
    if room < needed:
        raise SimulstError(
            f"This process may open too few files for {needed} streams: allow {used + 2 * needed + STRANGERS} "
            "(`ulimit -n`) or serve fewer (--max-clients)."
        )
    crowd = Crowd(admitted=room, most=most)
    for door in doors:
        door.crowd = crowd
    return crowd


def _files(wanted: int) -> int:
    """How many files this process may open, after asking for `wanted`."""
    try:
        import resource
    except ImportError:  # no such limit on this system
        return wanted
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
