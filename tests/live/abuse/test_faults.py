"""Faults and floods: each costs one stream or connection only, and what was translated is not lost."""

import json
import socket
import struct
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from simulst.testing import ToyTranslator, toy_audio, toy_text

Serve = Callable[..., Any]
Connect = Callable[..., Any]
HELLO = {"type": "hello", "version": 1, "sample_rate": 16_000, "format": "s16le"}
WORDS = [3, 14, 15, 9, 26, 30, 5, 35, 8, 9, 10, 7]


@pytest.mark.parametrize("fatal", ['{"type": "dance"}', b"\x00" * 3])
def test_what_was_translated_can_be_exported_after_a_fatal_error(
    serve: Serve, client: Connect, fatal: str | bytes
) -> None:
    server = serve(max_clients=1)
    one = client(server)
    one.hello(chunk_ms=320)
    one.audio(toy_audio(WORDS))
    while len(one.text.split()) < 6:
        one.take()
    one.socket.send(fatal)
    assert one.until("error")["fatal"]
    for form in ("srt", "vtt", "txt", "jsonl"):
        one.say(type="export", format=form)
    exports = {form: one.until("export")["text"] for form in ("srt", "vtt", "txt", "jsonl")}
    assert toy_text(WORDS).startswith(" ".join(exports["txt"].split()))
    assert len(exports["txt"].split()) >= 6
    assert "-->" in exports["srt"] and exports["vtt"].startswith("WEBVTT")
    assert "".join(json.loads(line)["text"] for line in exports["jsonl"].splitlines()).split() == exports["txt"].split()
    client(server).hello()  # its place is free meanwhile
    one.say(**HELLO)  # whoever goes on is not kept waiting
    with pytest.raises(ConnectionClosed) as closed:
        one.take()
    assert closed.value.rcvd is not None and closed.value.rcvd.code == 4400


class Hanging(ToyTranslator):
    """Never comes back from its first decision."""

    released: threading.Event

    def open(self) -> Any:
        session = super().open()

        def hang(*_: Any, **__: Any) -> Any:
            self.released.wait(20)
            return []

        session.hypothesise = hang  # type: ignore[method-assign]
        return session


def test_a_model_that_hangs_costs_one_stream_only(
    serve: Serve, client: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    from simulst.live import server as module
    from simulst.live.pool import Pool

    monkeypatch.setattr(module, "Pool", lambda workers, **more: Pool(workers, patience_s=0.4, **more))
    hanging = Hanging()
    hanging.released = threading.Event()
    server = serve(models={"toy": ToyTranslator(), "hanging": hanging}, workers=1)
    bad, good = client(server), client(server)
    bad.hello(model="hanging")
    bad.audio(toy_audio(WORDS))
    assert bad.until("error")["code"] == "stalled"
    good.hello()
    good.audio(toy_audio(WORDS))
    assert good.finish() == toy_text(WORDS)
    hanging.released.set()


def test_a_model_that_fails_costs_one_stream_only(serve: Serve, client: Connect) -> None:
    class Broken(ToyTranslator):
        def open(self) -> Any:
            session = super().open()
            session.hypothesise = None  # type: ignore[method-assign, assignment]
            return session

    server = serve(models={"toy": ToyTranslator(), "broken": Broken()})
    bad = client(server)
    bad.hello(model="broken")
    bad.audio(toy_audio(WORDS))
    error = bad.until("error")
    assert (error["code"], error["message"]) == ("internal", "The translation failed; the server's log says why.")
    good = client(server)
    good.hello()
    good.audio(toy_audio(WORDS))
    assert good.finish() == toy_text(WORDS)


def test_a_fault_of_the_server_costs_one_connection_only(bystander: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fault(message: object) -> None:
        raise RuntimeError("a fault")

    monkeypatch.setattr("simulst.live.connection.read_hello", fault)
    one = bystander[1]()
    one.say(**HELLO)
    error = one.until("error")
    assert (error["code"], error["message"]) == ("internal", "The server failed; its log says why.")


@pytest.mark.slow
def test_a_hundred_connections_in_a_second(bystander: Any) -> None:
    connect = bystander[1]
    outcomes: list[str] = []

    def one() -> None:
        try:
            someone = connect()
            someone.say(**HELLO)
            first = someone.take()
            outcomes.append(first.get("code", first["type"]))
            someone.close()
        except (InvalidStatus, OSError, ConnectionClosed) as error:
            outcomes.append(type(error).__name__)

    threads = [threading.Thread(target=one) for _ in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(outcomes) == 100
    assert set(outcomes) <= {"ready", "busy"}
    assert "ready" in outcomes


@pytest.mark.slow
def test_a_flood_of_messages_is_named(bystander: Any) -> None:
    one = bystander[1]()
    one.hello()
    try:
        for number in range(2_000):
            one.say(type="ping", id=number)
    except ConnectionClosed:
        pass
    assert one.until("error")["code"] == "rate_limited"


@pytest.mark.slow
def test_a_reader_that_does_not_read_is_cut_off(serve: Serve, client: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulst.live.connection.EXPORT_COST", 0)
    server = serve(max_clients=1, send_s=0.3, resume_s=0.2)
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    raw.connect(("127.0.0.1", int(server.address.rsplit(":", 1)[1])))
    raw.sendall(
        b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    hello = {**HELLO, "format": "f32le", "chunk_ms": 320}
    raw.sendall(frame(json.dumps(hello).encode(), 1))
    raw.sendall(frame(toy_audio(WORDS * 4).tobytes(), 2))
    raw.sendall(frame(b'{"type": "end"}', 1))
    until = time.monotonic() + 10
    ask = frame(json.dumps({"type": "export", "format": "jsonl"}).encode(), 1)
    try:
        while time.monotonic() < until:
            raw.sendall(ask * 20)
            time.sleep(0.01)
    except OSError:
        pass
    else:
        raise AssertionError("it was never cut off")
    raw.close()
    one = client(server)
    one.hello()
    one.audio(toy_audio(WORDS))
    assert one.finish() == toy_text(WORDS)


def frame(data: bytes, opcode: int) -> bytes:
    """A masked websocket frame (mask 0)."""
    size = len(data)
    head = bytes([0x80 | opcode])
    if size < 126:
        head += bytes([0x80 | size])
    elif size < 1 << 16:
        head += bytes([0x80 | 126]) + struct.pack(">H", size)
    else:
        head += bytes([0x80 | 127]) + struct.pack(">Q", size)
    return head + bytes(4) + data
