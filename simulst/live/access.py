"""Who may use a server: addresses, origins, tokens."""

import functools
import hmac
import http
import ipaddress
import re
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

from websockets.datastructures import Headers

from simulst.errors import SimulstError

PAGE_KEY = "openai-insecure-api-key."
PORTS = {"http": 80, "https": 443}


def site(url: str) -> str:
    """The origin that browsers name for a page at this address, which has no path: `https://example.org`.

    Raises SimulstError for anything else.
    """
    try:
        parts = urlsplit(url)
        name = (parts.hostname or "").encode("idna").decode()
        port = "" if parts.port in (None, PORTS.get(parts.scheme)) else f":{parts.port}"
    except ValueError:
        parts, name, port = urlsplit(""), "", ""
    rest = (parts.path.removesuffix("/"), parts.query, parts.fragment, parts.username)
    if parts.scheme not in PORTS or not re.fullmatch(r"[\w.-]+|[0-9a-f:]+", name, re.ASCII) or any(rest):
        raise SimulstError(f"--allow-origin takes a site such as https://example.org, without a path, not {url!r}.")
    return f"{parts.scheme}://{f'[{name}]' if ':' in name else name}{port}"


def is_loopback(host: str) -> bool:
    """Whether a name or address in a URL always means the machine that it is used on."""
    name = host.lower().removesuffix(".")
    if name == "localhost":
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


@dataclass(frozen=True, kw_only=True)
class Access:
    """Who may use a server."""

    host: str = "127.0.0.1"
    """Address that it is bound to; on loopback only local names are accepted as its own (against DNS rebinding)."""
    token: str = ""
    origins: tuple[str, ...] = ()
    """Other sites, as `https://example.org`, whose pages may connect and embed."""

    @functools.cached_property
    def local(self) -> bool:
        """Whether the address is one of loopback, however it is written."""
        if is_loopback(self.host):
            return True
        try:
            found = socket.getaddrinfo(self.host or None, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        except OSError:
            return False
        return all(is_loopback(str(address[0])) for *_, address in found)

    def refusal(self, headers: Headers) -> tuple[http.HTTPStatus, str, str] | None:
        """Status, code and sentence where a request must be refused. Raises LookupError where one came twice."""
        host = headers.get("Host", "")
        if self.local and not self._named(urlsplit(f"//{host}").hostname or ""):
            sentence = "This server answers to local names only; start it with --host to open it to others."
            return http.HTTPStatus.MISDIRECTED_REQUEST, "forbidden_host", sentence
        origin = headers.get("Origin")
        if origin is None or origin in self.origins or urlsplit(origin).netloc == host:
            return None
        sentence = "Pages of other sites may not connect; allow one with --allow-origin."
        return http.HTTPStatus.FORBIDDEN, "forbidden_origin", sentence

    def admits(self, given: object) -> bool:
        """Whether somebody who gives this as the token may use the server."""
        return not self.token or (isinstance(given, str) and hmac.compare_digest(_bytes(given), _bytes(self.token)))

    def _named(self, host: str) -> bool:
        return is_loopback(host) or host == self.host.lower()


def bearer(headers: Headers) -> str:
    """The token of an `Authorization: Bearer` header, or of the subprotocol in which OpenAI's pages send it, or ""."""
    given = headers.get("Authorization", "").removeprefix("Bearer ")
    offered = [one.strip() for one in headers.get("Sec-WebSocket-Protocol", "").split(",")]
    keys = [one.removeprefix(PAGE_KEY) for one in offered if one.startswith(PAGE_KEY)]
    return given or (keys or [""])[0]


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "replace")
