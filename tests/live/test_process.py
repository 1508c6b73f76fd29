"""`simulst live` as a process before strangers: who may come in, under which names, and how many."""

import contextlib
import json
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from simulst.errors import SimulstError
from simulst.live.access import Access, site
from simulst.testing import toy_text

pytestmark = pytest.mark.slow

WORDS = [3, 14, 15, 9]
Start = Callable[..., Any]


@pytest.fixture(scope="module")
def local(live: Start) -> Any:
    return live()


@contextlib.contextmanager
def half_open(port: int, count: int) -> Iterator[None]:
    """Connections that never say anything."""
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
        yield


@pytest.mark.parametrize("secure", [False, True])
def test_half_open_connections_keep_nobody_out(live: Start, tmp_path: Path, secure: bool) -> None:
    """Three times as many as there may be open files: who comes next is served at once, and the log stays short."""
    options: dict[str, Any] = {}
    args: list[str] = []
    if secure:
        if not shutil.which("openssl"):
            pytest.skip("no openssl on this machine")
        cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
        make = "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=live -keyout".split()
        subprocess.run([*make, key, "-out", cert], check=True, capture_output=True)
        args = ["--tls-cert", str(cert), "--tls-key", str(key)]
        context = ssl.create_default_context(cafile=str(cert))
        context.check_hostname = False
        options["ssl"] = context
    server = live(*args, files=100)
    with half_open(server.port, 300):
        for _ in range(3):
            begin = time.monotonic()
            assert server.translate(WORDS, **options) == toy_text(WORDS)
            assert time.monotonic() - begin < 3
    assert server.translate(WORDS, **options) == toy_text(WORDS)
    assert len(server.said.read_text().splitlines()) <= 3


def test_too_few_open_files_are_explained_before_anybody_comes(live: Start) -> None:
    with pytest.raises(AssertionError, match=r"may open too few files for 60 streams: allow \d+ \(`ulimit -n`\)"):
        live("--max-clients", "60", files=100)


def test_headers_that_come_too_slowly_are_not_waited_for(local: Any) -> None:
    with socket.create_connection(("127.0.0.1", local.port), timeout=30) as raw:
        begin = time.monotonic()
        raw.sendall(b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        with pytest.raises(OSError):
            while time.monotonic() - begin < 20:
                raw.sendall(b"A: b\r\n")
                time.sleep(0.3)
        assert 8 < time.monotonic() - begin < 15
    assert local.translate(WORDS) == toy_text(WORDS)


@pytest.mark.parametrize("header", ["Host", "Origin", "Authorization", "Upgrade"])
def test_a_header_that_comes_twice_is_named(local: Any, header: str) -> None:
    value = "127.0.0.1" if header == "Host" else "x"
    lines = ["GET /ws HTTP/1.1", "Host: 127.0.0.1", f"{header}: {value}", f"{header}: {value}"]
    if header == "Authorization":
        lines[0] = "GET /metrics HTTP/1.1"
    status, body = local.request(*lines)
    assert (status, json.loads(body)["code"]) == (400, "bad_request")
    assert json.loads(body)["message"] == f"A request may have only one '{header}' header."


@pytest.mark.parametrize("host", ["127.0.0.2", "LOCALHOST"])
def test_local_names_of_every_kind_are_kept_from_rebinding(live: Start, host: str) -> None:
    server = live("--host", host)
    at = "127.0.0.2" if host == "127.0.0.2" else "127.0.0.1"
    assert server.request("GET /config HTTP/1.1", "Host: evil.example", host=at)[0] == 421
    for name in (host, "localhost:1", "127.0.0.1", "127.9.9.9", "[::1]:80", "LocalHost."):
        assert server.request("GET /config HTTP/1.1", f"Host: {name}", host=at)[0] == 200
    assert server.translate(WORDS) == toy_text(WORDS)


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 on this machine")
def test_a_server_on_all_ipv6_addresses_answers_at_the_address_it_prints(live: Start) -> None:
    server = live("--host", "::", "--token", "")
    assert urlsplit(server.address).hostname not in (None, "::")
    assert server.translate(WORDS) == toy_text(WORDS)
    for own in ("http://[::1]", "http://127.0.0.1"):
        assert server.translate(WORDS, f"{own}:{server.port}") == toy_text(WORDS)


def test_a_site_may_be_written_as_it_stands_in_the_address_bar(live: Start) -> None:
    server = live("--allow-origin", "https://Example.org/", "--allow-origin", "http://bücher.example:80")
    for origin in ("https://example.org", "http://xn--bcher-kva.example"):
        assert server.translate(WORDS, origin=origin) == toy_text(WORDS)
        assert server.request("GET /client.js HTTP/1.1", "Host: 127.0.0.1", f"Origin: {origin}")[0] == 200
    assert server.request("GET /config HTTP/1.1", "Host: 127.0.0.1", "Origin: https://other.example")[0] == 403


@pytest.mark.parametrize(
    "url", ["example.org", "*", "null", "https://", "https://example.org/page", "ftp://a.b", "https://a.b:x", "http://[",
            "https://me@a.b", "https://a.b?x=1", "https://a b", "https://a.b;"]
)  # fmt: skip
def test_what_is_no_site_is_refused(url: str) -> None:
    with pytest.raises(SimulstError, match="takes a site such as"):
        site(url)


def test_names_of_this_machine_that_mean_loopback_are_local() -> None:
    for host in ("127.1", "localhost", "::1", "127.255.255.254"):
        assert Access(host=host).local
    for host in ("0.0.0.0", "::", "", "192.0.2.1", "no such name"):
        assert not Access(host=host).local
