"""The page when something breaks: cables, servers that refuse or fail, places that are taken."""

import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from simulst.live.access import Access
from simulst.testing import ToyTranslator, toy_text

WORDS = [3, 14, 15, 9, 26, 30, 5, 35, 8, 9, 10, 7, 21, 22, 23, 24, 20, 1, 2, 4]
Serve = Callable[..., Any]
Visit = Callable[[str], Any]
pytestmark = pytest.mark.slow


class Wire:
    """A proxy whose cables can be pulled."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near = self._server.accept()[0]
                far = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                return
            self._pairs.append((near, far))
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._carry, args=(one, other), daemon=True).start()

    def _carry(self, one: socket.socket, other: socket.socket) -> None:
        try:
            while data := one.recv(65_536):
                other.sendall(data)
        except OSError:
            pass
        other.close()

    def pull(self) -> None:
        for pair in self._pairs:
            for end in pair:
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
        self._pairs.clear()

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)  # or the thread that is waiting takes one more connection
        self._server.close()
        self.pull()


def test_a_pulled_cable_loses_nothing(visit: Visit, serve: Serve, speech: Path, slow: Any) -> None:
    server = serve(models={"toy": slow}, max_clients=1)
    wire = Wire(int(server.address.rsplit(":", 1)[1]))
    page = visit(f"http://127.0.0.1:{wire.port}")
    page.choose("chunk", "320")
    page.translate_file(speech)
    page.wait(lambda: len(page.text.split()) >= 3)
    before = page.text
    wire.pull()
    page.wait(lambda: page.status == "Reconnecting", 5)
    assert page.text.startswith(before)
    page.wait(lambda: page.status == "Ready")
    assert page.text == toy_text(WORDS)


def test_what_is_shown_can_be_saved_without_the_server(
    visit: Visit, browser: Any, serve: Serve, speech: Path, slow: Any
) -> None:
    server = serve(models={"toy": slow})
    wire = Wire(int(server.address.rsplit(":", 1)[1]))
    page = visit(f"http://127.0.0.1:{wire.port}")
    for path in browser.downloads.glob("simulst-*"):
        path.unlink()
    page.choose("chunk", "320")
    page.translate_file(speech)
    page.wait(lambda: len(page.text.split()) >= 3)
    wire.close()
    page.wait(lambda: page.status == "Reconnecting", 5)
    page.find("button[data-format=srt]").click()
    page.wait(lambda: page.find("#alert").text)
    assert page.find("#alert").text == ("The server is gone, and the times with it; what is shown can be saved as TXT.")
    page.find("button[data-format=txt]").click()
    page.wait(lambda: list(browser.downloads.glob("*.txt")))
    assert " ".join(next(browser.downloads.glob("*.txt")).read_text().split()) == page.text


def test_everything_can_be_saved_after_a_fatal_error(visit: Visit, browser: Any, serve: Serve, speech: Path) -> None:
    steps = iter(range(1_000))

    def fail_later() -> None:
        if next(steps) > 12:
            raise RuntimeError("a fault")

    page = visit(serve(models={"toy": ToyTranslator(before=fail_later)}).address)
    for path in browser.downloads.glob("simulst-*"):
        path.unlink()
    page.choose("chunk", "320")
    page.translate_file(speech)
    page.wait(lambda: page.find("#alert").text == "The translation failed; the server's log says why.")
    assert page.status == "Ready" and len(page.text.split()) >= 3
    time.sleep(4)  # the server has closed the connection
    for form in ("srt", "vtt", "txt", "jsonl"):
        page.js("arguments[0].click()", page.find(f"button[data-format={form}]"))
        page.wait(lambda form=form: list(browser.downloads.glob(f"*.{form}")))
    srt = next(browser.downloads.glob("*.srt")).read_text()
    spoken = [line for line in srt.splitlines() if line and "-->" not in line and not line.isdigit()]
    assert " ".join(spoken) == page.text
    page.translate_file(speech)  # it can go on
    page.wait(lambda: page.status == "Ready" and page.find("#alert").text)


def test_a_page_without_sound_makes_room_and_says_so(visit: Visit, serve: Serve, client: Any, speech: Path) -> None:
    server = serve(max_clients=1, idle_s=1.0)
    page = visit(server.address)
    page.choose("chunk", "320")
    page.js(
        "const send = WebSocket.prototype.send; WebSocket.prototype.send = function (data) {"
        "  send.call(this, typeof data === 'string' ? data : JSON.stringify({ type: 'ping', id: 0 })); }"
    )
    page.find("#toggle").click()
    page.wait(lambda: page.status == "Listening")
    time.sleep(2)
    assert page.status == "Listening"  # nobody else is there
    client(server).hello()
    page.wait(lambda: page.find("#alert").text.startswith("No sound came for a while"))
    assert page.find("#toggle").text == "Start"


def test_a_full_server_is_explained(visit: Visit, serve: Serve, client: Any, speech: Path) -> None:
    server = serve(max_clients=1)
    client(server).hello()
    page = visit(server.address)
    page.translate_file(speech)
    page.wait(lambda: page.find("#alert").text)
    assert page.find("#alert").text == "All 1 places of this server are taken; try again in a moment."
    assert page.find("#toggle").text == "Start"


def test_the_address_carries_the_token(visit: Visit, browser: Any, serve: Serve, speech: Path) -> None:
    server = serve(access=Access(token="ganz geheim+"))
    page = visit(server.address)
    page.translate_file(speech)
    page.wait(lambda: page.find("#alert").text)
    assert page.find("#alert").text == "The token is missing or wrong."
    browser.get("about:blank")
    page = visit(f"{server.address}/#token=ganz%20geheim%2B")
    page.translate_file(speech)
    page.wait(lambda: page.status == "Ready" and page.text)
    assert page.text == toy_text(WORDS)
    page.js("arguments[0].click()", page.find("#overlay"))
    assert page.find("#overlay-address").text.endswith("#token=ganz%20geheim%2B")
