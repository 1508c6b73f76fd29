"""Clients that misbehave: each gets its named error or is served; the others notice nothing; places come back."""

import http.client
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.error import HTTPError

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from simulst.live.access import Access
from simulst.testing import ToyTranslator, toy_audio, toy_text

Serve = Callable[..., Any]
Connect = Callable[..., Any]
HELLO = {"type": "hello", "version": 1, "sample_rate": 16_000, "format": "s16le"}
WORDS = [3, 14, 15, 9, 26, 30, 5, 35, 8, 9, 10, 7]


class Victim:
    """Somebody else who is translated on the same server all the time; the text must come out right."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.said: list[int] = []
        connection.hello(chunk_ms=320)

    def speak(self) -> None:
        word = len(self.said) * 17 % 60 + 1
        self.said.append(word)
        self.connection.audio(toy_audio([word]))


@pytest.fixture(scope="module")
def victim(shared: Any, connect_to: Connect) -> Iterator[Victim]:
    one = Victim(connect_to(shared))
    yield one
    assert one.connection.finish() == toy_text(one.said)
    assert len(one.said) >= 2
    one.connection.close()


@pytest.fixture
def bystander(shared: Any, victim: Victim, client: Connect) -> Iterator[tuple[Any, Callable[..., Any]]]:
    """The server, and a way to connect; afterwards all places but the victim's must be free."""
    victim.speak()
    yield shared, lambda **options: client(shared, **options)
    victim.speak()
    until = time.monotonic() + 5
    while shared.health()["clients"] > 1:
        assert time.monotonic() < until, "a place was not given back"
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"sample_rate": 0}, "bad_rate"),
        ({"sample_rate": -1}, "bad_rate"),
        ({"sample_rate": 7}, "bad_rate"),
        ({"sample_rate": 1_000_000_000}, "bad_rate"),
        ({"sample_rate": "16000"}, "bad_rate"),
        ({"sample_rate": True}, "bad_rate"),
        ({"sample_rate": 1e999}, "bad_message"),
        ({"sample_rate": None}, "bad_rate"),
        ({"format": "mp3"}, "bad_format"),
        ({"channels": 0}, "bad_format"),
        ({"channels": 99}, "bad_format"),
        ({"version": 2}, "bad_version"),
        ({"chunk_ms": 0}, "bad_value"),
        ({"chunk_ms": 20_000}, "bad_value"),
        ({"pace": "warp"}, "bad_value"),
        ({"model": "../../etc/passwd"}, "unknown_model"),
        ({"policy": "/etc/passwd.toml"}, "unknown_policy"),
        ({"policy": "os.system"}, "unknown_policy"),
        ({"policy": 5}, "bad_value"),
        ({"model": "x" * 300}, "bad_value"),
    ],
)
def test_a_bad_hello_is_named(bystander: Any, changes: dict[str, Any], code: str) -> None:
    one = bystander[1]()
    text = json.dumps(HELLO | changes)
    one.socket.send(text.replace("Infinity", "1e999") if code != "bad_message" else "{" + text)
    error = one.until("error")
    assert (error["code"], error["fatal"]) == (code, True)
    assert error["message"].endswith(".") and "\n" not in error["message"]
    with pytest.raises(ConnectionClosed) as closed:
        one.take()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.reason == code


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (b"\x00" * 3_200, "not_started"),
        ("hello", "bad_message"),
        ("[1, 2]", "bad_message"),
        ("{}", "bad_message"),
        ('{"type": 5}', "bad_message"),
        ("[" * 5_000, "bad_message"),
        ('{"type": "end"}', "not_started"),
        ('{"type": "resume", "session": "guess", "seq": 0}', "unknown_session"),
        ('{"type": "resume", "session": "guess", "seq": -1}', "bad_value"),
        ('{"type": "watch"}', "bad_value"),
        ("x" * 20_000, "too_large"),
    ],
)
def test_a_bad_first_message_is_named(bystander: Any, message: str | bytes, code: str) -> None:
    one = bystander[1]()
    one.socket.send(message)
    assert one.until("error")["code"] == code


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (b"\x00" * 3_201, "odd_bytes"),
        (b"\x00" * ((1 << 20) + 2), "too_large"),
        ("what?", "bad_message"),
        ('{"type": "dance"}', "bad_message"),
    ],
)
def test_bad_messages_in_a_stream_are_named(bystander: Any, message: str | bytes, code: str) -> None:
    one = bystander[1]()
    one.hello(format="s16le")
    one.socket.send(message)
    assert one.until("error")["code"] == code


@pytest.mark.slow
def test_a_message_of_absurd_size_closes_its_connection(bystander: Any) -> None:
    one = bystander[1]()
    one.hello(format="s16le")
    with pytest.raises(ConnectionClosed) as closed:
        one.socket.send(bytes(32 << 20))
        while True:
            one.take()
    assert closed.value.rcvd is None or closed.value.rcvd.code == 1009


def test_samples_that_are_no_numbers_are_named(bystander: Any) -> None:
    one = bystander[1]()
    one.hello(format="f32le")
    one.audio(np.full(16_000, np.nan, np.float32))
    assert one.until("error")["code"] == "bad_samples"


def test_a_second_hello_changes_nothing(bystander: Any) -> None:
    one = bystander[1]()
    one.hello()
    one.audio(toy_audio([3, 5]))
    one.say(**HELLO)
    error = one.until("error")
    assert (error["code"], error["fatal"]) == ("already_started", False)
    one.audio(toy_audio([7, 9]))
    assert one.finish() == toy_text([3, 5, 7, 9])


def test_audio_after_the_end_is_named_once(bystander: Any) -> None:
    one = bystander[1]()
    one.hello()
    one.finish()
    one.audio(toy_audio([3, 5]))
    assert one.until("error")["code"] == "already_ended"
    one.say(type="ping", id=1)
    one.until("pong")
    assert [message["type"] for message in one.seen].count("error") == 1


@pytest.mark.slow
def test_ten_minutes_of_silence_are_served(bystander: Any) -> None:
    one = bystander[1]()
    one.hello(chunk_ms=5_000)
    for _ in range(600):
        one.socket.send(bytes(64_000))
    one.say(type="end")
    end = one.until("end", 30)
    assert (end["text"], end["audio_s"]) == ("", 600.0)


@pytest.mark.parametrize("way", ["reset", "shutdown", "close"])
def test_leaving_in_the_middle_of_a_word_frees_the_place(bystander: Any, way: str) -> None:
    one = bystander[1]()
    one.hello()
    one.audio(toy_audio([3, 5])[:7_000])
    raw = one.socket.socket
    if way == "reset":
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raw.close()
    elif way == "shutdown":
        raw.shutdown(socket.SHUT_RDWR)
    else:
        one.close()


def test_a_client_that_says_nothing_is_sent_away(bystander: Any) -> None:
    assert bystander[1]().until("error")["code"] == "hello_timeout"


def test_an_idle_stream_frees_its_place(serve: Serve, client: Connect) -> None:
    server = serve(max_clients=1, idle_s=0.3)
    one = client(server)
    one.hello()
    assert one.until("error")["code"] == "idle_timeout"
    for _ in range(100):
        if server.health()["clients"] == 0:
            break
        time.sleep(0.05)
    client(server).hello()


def test_a_client_that_waits_for_a_slow_model_is_not_idle(serve: Serve, client: Connect) -> None:
    class Slow(ToyTranslator):
        def open(self) -> Any:
            session = super().open()
            quick = session.hypothesise

            def slow(*args: Any, **options: Any) -> Any:
                time.sleep(0.05)
                return quick(*args, **options)

            session.hypothesise = slow  # type: ignore[method-assign]
            return session

    one = client(serve(models={"toy": Slow()}, idle_s=0.2))
    one.hello(chunk_ms=320)
    one.audio(toy_audio(WORDS))
    assert one.finish() == toy_text(WORDS)
    assert one.until("error")["code"] == "idle_timeout"


def test_a_client_is_not_idle_while_its_last_audio_is_worked_on(serve: Serve, client: Connect) -> None:
    """All that was sent is in the hands of the model, nothing waits, and the client has nothing to say."""

    class Slow(ToyTranslator):
        def open(self) -> Any:
            session = super().open()
            quick = session.hypothesise

            def slow(*args: Any, **options: Any) -> Any:
                time.sleep(1.5)
                return quick(*args, **options)

            session.hypothesise = slow  # type: ignore[method-assign]
            return session

    audio = toy_audio(WORDS[:2])
    one = client(serve(models={"toy": Slow()}, idle_s=0.6))
    one.hello(chunk_ms=640, hypotheses=False)
    one.audio(audio, len(audio))
    assert one.until("lag")["audio_s"] == 0.64
    assert one.until("error")["code"] == "idle_timeout"


def test_who_only_pings_makes_room_and_loses_nothing(serve: Serve, client: Connect) -> None:
    """A place without audio is kept until somebody needs it, then its stream ends as if its client had ended it."""
    server = serve(max_clients=1, idle_s=0.4)
    quiet, busy = client(server), client(server)
    quiet.hello(chunk_ms=5_000)
    quiet.audio(toy_audio(WORDS))
    for number in range(4):  # nobody else is there
        time.sleep(0.2)
        quiet.say(type="ping", id=number)
        quiet.until("pong")
    busy.hello()
    end = quiet.until("end")
    assert (end["reason"], end["text"]) == ("idle", toy_text(WORDS))
    quiet.say(type="export", format="txt")
    assert quiet.until("export")["text"].split() == toy_text(WORDS).split()
    quiet.say(**HELLO)
    assert quiet.until("error")["code"] == "busy"
    busy.audio(toy_audio(WORDS))
    assert busy.finish() == toy_text(WORDS)


def test_who_is_speaking_keeps_the_place(serve: Serve, client: Connect) -> None:
    server = serve(max_clients=1, idle_s=0.6)
    one = client(server)
    one.hello()
    until = time.monotonic() + 1.5
    while time.monotonic() < until:
        one.audio(toy_audio([3]))
        time.sleep(0.1)
    other = client(server)
    other.say(**HELLO)
    assert other.until("error")["code"] == "busy"
    assert set(one.finish().split()) == {"w3"}


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

    monkeypatch.setattr(module, "Pool", lambda workers: Pool(workers, patience_s=0.4))
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
    assert (error["code"], error["message"]) == ("internal", "The translation failed; the server's log tells why.")
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
    assert (error["code"], error["message"]) == ("internal", "The server failed; its log tells why.")


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
