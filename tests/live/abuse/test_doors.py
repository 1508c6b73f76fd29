"""What the server answers to pages of other sites, to browsers that ask for anything else, and to garbage."""

import http.client
import json
import socket
from collections.abc import Callable
from typing import Any
from urllib.error import HTTPError

import pytest
from websockets.exceptions import InvalidStatus

from simulst.live.access import Access

Serve = Callable[..., Any]
Connect = Callable[..., Any]
HELLO = {"type": "hello", "version": 1, "sample_rate": 16_000, "format": "s16le"}
WORDS = [3, 14, 15, 9, 26, 30, 5, 35, 8, 9, 10, 7]


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1", "file://"])
def test_pages_of_other_sites_may_not_connect(bystander: Any, origin: str) -> None:
    server, connect = bystander
    with pytest.raises(InvalidStatus) as refused:
        connect(origin=origin)
    assert refused.value.response.status_code == 403
    assert json.loads(refused.value.response.body)["code"] == "forbidden_origin"
    own = connect(origin=server.address)
    assert own.hello()["type"] == "ready"
    own.close()


def test_other_sites_can_be_allowed(serve: Serve, client: Connect) -> None:
    server = serve(access=Access(origins=("https://subtitles.example",)))
    assert client(server, origin="https://subtitles.example").hello()["type"] == "ready"
    headers = http_get(server, "/client.js", Origin="https://subtitles.example")[1]
    assert "frame-ancestors 'self' https://subtitles.example" in headers["Content-Security-Policy"]
    assert headers["Access-Control-Allow-Origin"] == "https://subtitles.example"
    assert http_get(server, "/client.js")[1]["Access-Control-Allow-Origin"] is None


def http_get(server: Any, path: str, method: str = "GET", **headers: str) -> tuple[int, Any, str]:
    connection = http.client.HTTPConnection("127.0.0.1", int(server.address.rsplit(":", 1)[1]), timeout=10)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer.status, answer.headers, body


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/../protocol.py", 404),
        ("/static/../../errors.py", 404),
        ("/%2e%2e/%2e%2e/etc/passwd", 404),
        ("//etc/passwd", 404),
        ("/app.js?x=1", 200),
        ("/ws", 426),
        ("/overlay?channel=<script>", 200),
    ],
)
def test_nothing_but_the_page_is_served(bystander: Any, path: str, status: int) -> None:
    found, headers, body = http_get(bystander[0], path)
    assert found == status
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "<script>" not in body.replace('<script type="module"', "")


def test_foreign_names_and_methods_are_refused(bystander: Any) -> None:
    server = bystander[0]
    assert http_get(server, "/", Host="evil.example")[0] == 421
    assert http_get(server, "/", method="POST")[0] == 405
    with pytest.raises(HTTPError):
        server.get("/nothing")


@pytest.mark.parametrize(
    ("path", "headers"), [("//[", {}), ("/", {"Host": "["}), ("/", {"Origin": "http://["}), ("/ws", {"Origin": "//]["})]
)
def test_addresses_that_cannot_be_parsed_are_named(bystander: Any, path: str, headers: dict[str, str]) -> None:
    status, _, body = http_get(bystander[0], path, **headers)
    assert (status, json.loads(body)["code"]) in ((400, "bad_request"), (403, "forbidden_origin"))


def test_half_characters_come_back_whole(bystander: Any) -> None:
    one = bystander[1]()
    one.socket.send('{"type": "ping", "id": "\\ud800"}')
    assert one.until("pong")["id"] == "?"
    one.socket.send(json.dumps(HELLO | {"channel": "\ud83d"}))
    assert one.until("ready")["channel"] == "?"
    one.close()


def test_raw_garbage_leaves_the_server_up(bystander: Any) -> None:
    for garbage in (b"\x16\x03\x01\x02\x00", b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 5_000, b"\r\n\r\n", b"x" * 100_000):
        with socket.create_connection(("127.0.0.1", int(bystander[0].address.rsplit(":", 1)[1]))) as raw:
            try:
                raw.sendall(garbage)
            except OSError:
                pass
