"""Plain HTTP on the websocket's port: the page, configuration, health and metrics, and who may ask for them."""

import functools
import hmac
import http
import ipaddress
import json
import os
import re
import socket
from dataclasses import dataclass
from importlib import resources
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import ServerConnection
from websockets.datastructures import Headers, MultipleValuesError
from websockets.http11 import Request, Response

import simulst
from simulst.errors import SimulstError
from simulst.live.door import Crowd
from simulst.live.hub import Hub

PAGES = {
    "/": "index.html",
    "/overlay": "overlay.html",
    "/app.js": "app.js",
    "/view.js": "view.js",
    "/captions.js": "captions.js",
    "/client.js": "client.js",
    "/audio.js": "audio.js",
    "/worklet.js": "worklet.js",
    "/overlay.js": "overlay.js",
    "/style.css": "style.css",
    "/favicon.svg": "favicon.svg",
}
TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
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

    def _named(self, host: str) -> bool:
        return is_loopback(host) or host == self.host.lower()


class Web:
    """Answers every request that is not a websocket, and refuses websockets that are not allowed."""

    def __init__(self, hub: Hub, access: Access, crowd: Crowd) -> None:
        self._hub = hub
        self._access = access
        self._crowd = crowd
        folder = resources.files("simulst.live") / "static"
        self._files = {path: (folder / name).read_bytes() for path, name in PAGES.items()}
        frames = " ".join(["'self'", *access.origins])
        self._policy = (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self' blob:; "
            f"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors {frames}"
        )

    def answer(self, connection: ServerConnection, request: Request) -> Response | None:
        """The response, None where the request may become a websocket."""
        try:
            if refused := self._access.refusal(request.headers):
                return self._error(*refused)
            response = self._answer(connection, request)
        except MultipleValuesError as twice:
            sentence = f"A request may have only one {twice} header."
            return self._error(http.HTTPStatus.BAD_REQUEST, "bad_request", sentence)
        except ValueError:  # an address that cannot be parsed
            return self._error(http.HTTPStatus.BAD_REQUEST, "bad_request", "The request cannot be understood.")
        if response is not None and (origin := request.headers.get("Origin")) in self._access.origins:
            response.headers["Access-Control-Allow-Origin"] = str(origin)
        return response

    def _answer(self, connection: ServerConnection, request: Request) -> Response | None:
        address = urlsplit(request.path)
        if address.path == "/ws":
            return self._admit(connection, request)
        if getattr(request, "method", "GET") != "GET":
            return self._error(http.HTTPStatus.METHOD_NOT_ALLOWED, "bad_method", "Only GET is served.")
        if address.path in self._files:
            name = PAGES[address.path]
            kind = TYPES[os.path.splitext(name)[1]] + "; charset=utf-8"
            return self._respond(http.HTTPStatus.OK, self._files[address.path], kind)
        if address.path == "/config":
            return self._json(http.HTTPStatus.OK, {**self._hub.catalogue.config(), "token": bool(self._access.token)})
        if address.path == "/health":
            return self._health()
        if address.path == "/metrics":
            return self._metrics(request, address.query)
        return self._error(http.HTTPStatus.NOT_FOUND, "not_found", "There is nothing here.")

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        if "websocket" not in request.headers.get("Upgrade", "").lower():
            return self._error(
                http.HTTPStatus.UPGRADE_REQUIRED, "no_websocket", "This address only accepts websockets."
            )
        if self._hub.closing:
            return self._error(http.HTTPStatus.SERVICE_UNAVAILABLE, "shutting_down", "The server is shutting down.")
        if not self._crowd.admit(connection.transport.get_extra_info("socket").fileno()):
            return self._error(http.HTTPStatus.SERVICE_UNAVAILABLE, "busy", "Too many connections; try again.")
        return None

    def _health(self) -> Response:
        hub = self._hub
        status = http.HTTPStatus.SERVICE_UNAVAILABLE if hub.closing else http.HTTPStatus.OK
        return self._json(
            status,
            {
                "status": "closing" if hub.closing else "ok",
                "version": simulst.__version__,
                "clients": hub.taken,
                "max_clients": hub.limits.max_clients,
                "backlog_s": round(hub.backlog_s, 3),
            },
        )

    def _metrics(self, request: Request, query: str) -> Response:
        token = self._access.token
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        given = given or parse_qs(query).get("token", [""])[0]
        if token and not hmac.compare_digest(given.encode(), token.encode()):
            return self._error(http.HTTPStatus.UNAUTHORIZED, "unauthorised", "The token is missing or wrong.")
        gauges = [
            ("clients", float(self._hub.taken)),
            ("connections", float(self._hub.connections)),
            ("max_clients", float(self._hub.limits.max_clients)),
            ("backlog_seconds", self._hub.backlog_s),
        ]
        text = self._hub.metrics.text(gauges)
        return self._respond(http.HTTPStatus.OK, text.encode(), "text/plain; version=0.0.4; charset=utf-8")

    def _error(self, status: http.HTTPStatus, code: str, sentence: str) -> Response:
        self._hub.metrics.count("refused_total", label=f'code="{code}"')
        return self._json(status, {"type": "error", "code": code, "message": sentence})

    def _json(self, status: http.HTTPStatus, body: dict[str, object]) -> Response:
        return self._respond(status, json.dumps(body).encode(), "application/json")

    def _respond(self, status: http.HTTPStatus, body: bytes, kind: str) -> Response:
        headers = Headers(
            {
                "Content-Type": kind,
                "Content-Length": str(len(body)),
                "Cache-Control": "no-cache",
                "Content-Security-Policy": self._policy,
                "X-Content-Type-Options": "nosniff",
                "Referrer-Policy": "no-referrer",
                "Connection": "close",
            }
        )
        return Response(status.value, status.phrase, headers, body)
