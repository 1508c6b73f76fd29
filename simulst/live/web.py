"""Plain HTTP on the websocket's port: the page, configuration, health and metrics, and who may ask for them."""

import http
import json
import os
from importlib import resources
from urllib.parse import parse_qs, unquote, urlsplit

from websockets.asyncio.server import ServerConnection
from websockets.datastructures import Headers, MultipleValuesError
from websockets.http11 import Request, Response

import simulst
from simulst.live.access import Access, bearer
from simulst.live.door import Crowd
from simulst.live.hub import Hub
from simulst.live.openai.answers import listed
from simulst.live.openai.errors import body_of

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


REALTIME = "/v1/realtime/translations"
V1 = "/v1/"
"""Where OpenAI's interfaces begin."""
ALLOWED = {"Access-Control-Allow-Methods": "GET, POST", "Access-Control-Allow-Headers": "Authorization, Content-Type"}

Refused = tuple[http.HTTPStatus, str, str]


class Web:
    """Answers every request that is not a websocket, and refuses websockets that are not allowed."""

    def __init__(self, hub: Hub, access: Access, crowd: Crowd) -> None:
        self._hub = hub
        self._access = access
        self.crowd = crowd
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
            secret = request.path.startswith(V1) and request.method != "OPTIONS"
            if refused := self.refusal(request.headers, secret=secret):
                return self._refuse(request.path, *refused)
            response = self._answer(connection, request)
        except MultipleValuesError as twice:
            sentence = f"A request may have only one {twice} header."
            return self._error(http.HTTPStatus.BAD_REQUEST, "bad_request", sentence)
        except ValueError:  # an address that cannot be parsed
            return self._error(http.HTTPStatus.BAD_REQUEST, "bad_request", "The request cannot be understood.")
        if response is not None:
            response.headers.update(self._shared(request.headers))
        return response

    def refusal(self, headers: Headers, *, secret: bool) -> Refused | None:
        """Why a request is refused; with `secret` it must give the token. Raises LookupError where one came twice."""
        refused = self._access.refusal(headers)
        if refused is None and secret and not self._access.admits(bearer(headers)):
            sentence = "The API key is missing or wrong; it is what the server was given as --token."
            return http.HTTPStatus.UNAUTHORIZED, "unauthorised", sentence
        return refused

    def headers(self, kind: str, asked: Headers) -> list[tuple[str, str]]:
        """What goes with an answer to a request with the headers `asked`."""
        return [*self._plain(kind).items(), *self._shared(asked).items()]

    def _shared(self, asked: Headers) -> dict[str, str]:
        """Headers that let the pages of allowed sites read an answer."""
        origin = asked.get("Origin")
        return {"Access-Control-Allow-Origin": origin} if origin in self._access.origins and origin else {}

    def _refuse(self, path: str, status: http.HTTPStatus, code: str, sentence: str) -> Response:
        """An error as the interface words it that was asked for."""
        if not path.startswith(V1):
            return self._error(status, code, sentence)
        self._hub.metrics.count("refused_total", label=f'code="{code}"')
        return self._respond(status, body_of(code, sentence, status), "application/json")

    def _answer(self, connection: ServerConnection, request: Request) -> Response | None:
        address = urlsplit(request.path)
        if address.path in ("/ws", REALTIME):
            return self._admit(connection, request)
        if address.path.startswith(V1) and request.method == "OPTIONS":
            response = self._respond(http.HTTPStatus.NO_CONTENT, b"", "text/plain")
            response.headers.update(ALLOWED)
            return response
        if request.method != "GET":
            return self._error(http.HTTPStatus.METHOD_NOT_ALLOWED, "bad_method", "Only GET is served.")
        if address.path in self._files:
            name = PAGES[address.path]
            kind = TYPES[os.path.splitext(name)[1]] + "; charset=utf-8"
            return self._respond(http.HTTPStatus.OK, self._files[address.path], kind)
        if address.path == "/config":
            return self._json(http.HTTPStatus.OK, {**self._hub.config(), "token": bool(self._access.token)})
        if address.path == "/health":
            return self._health()
        if address.path == "/metrics":
            return self._metrics(request, address.query)
        if address.path.startswith(V1):
            return self._models(unquote(address.path))
        return self._error(http.HTTPStatus.NOT_FOUND, "not_found", "There is nothing here.")

    def _models(self, path: str) -> Response:
        """`GET /v1/models`, all or one."""
        models = {str(one["id"]): one for one in listed(self._hub.catalogue)}
        if path == "/v1/models":
            return self._json(http.HTTPStatus.OK, {"object": "list", "data": list(models.values())})
        name = path.removeprefix("/v1/models/")
        if name in models:
            return self._json(http.HTTPStatus.OK, models[name])
        if name == path:
            return self._refuse(path, http.HTTPStatus.NOT_FOUND, "not_found", "There is nothing here.")
        sentence = f"This server has no model {name[:80]!r}; it has {', '.join(models)}."
        return self._refuse(path, http.HTTPStatus.NOT_FOUND, "unknown_model", sentence)

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        if "websocket" not in request.headers.get("Upgrade", "").lower():
            return self._error(
                http.HTTPStatus.UPGRADE_REQUIRED, "no_websocket", "This address only accepts websockets."
            )
        if self._hub.closing:
            return self._error(http.HTTPStatus.SERVICE_UNAVAILABLE, "shutting_down", "The server is shutting down.")
        if not self.crowd.admit(connection.transport.get_extra_info("socket").fileno()):
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
        if not self._access.admits(bearer(request.headers) or parse_qs(query).get("token", [""])[0]):
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
        headers = Headers({**self._plain(kind), "Content-Length": str(len(body))})
        return Response(status.value, status.phrase, headers, body)

    def _plain(self, kind: str) -> dict[str, str]:
        return {
            "Content-Type": kind,
            "Cache-Control": "no-cache",
            "Content-Security-Policy": self._policy,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Connection": "close",
        }
