"""Hostile frames and clients against the process of a server: it answers as the protocol says and serves the others."""

import contextlib
import json
import random
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simulst.live.protocol import CLOSE_CODES, NOT_FATAL
from simulst.testing import toy_audio, toy_text

pytestmark = pytest.mark.slow
CASES = 1_000
"""Of each of the two tests; together 2,000 hostile exchanges."""
HELLO = {"type": "hello", "version": 1, "sample_rate": 16_000, "format": "s16le", "chunk_ms": 320, "pace": "file"}
CONTROL: list[dict[str, Any]] = [
    {**HELLO, "channels": 1, "model": "toy", "policy": "stream_att", "channel": "c", "token": "t", "transcript": False},
    {"type": "switch", "model": "toy", "policy": "wait_k", "chunk_ms": 640},
    {"type": "resume", "session": "guess", "seq": 3, "token": "t"},
    {"type": "watch", "channel": "c", "token": "t"},
    {"type": "export", "format": "srt"},
    {"type": "ping", "id": 7},
    {"type": "end"},
]
ANSWERS = {
    *("write", "retract", "transcript", "switched", "end", "hypothesis", "lag"),
    *("ready", "resumed", "watching", "export", "pong", "snapshot", "error"),
}
UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
DONE = {"type": "pong", "id": "done"}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)
Frame = tuple[int, bytes]


def framed(frame: Frame) -> bytes:
    """A masked websocket frame (mask 0)."""
    opcode, data = frame
    size = len(data)
    if size < 126:
        head = bytes([0x80 | opcode, 0x80 | size])
    else:
        head = bytes([0x80 | opcode, 0x80 | 126]) + struct.pack(">H", size)
    return head + bytes(4) + data


@st.composite
def mutated(draw: Any) -> Frame:
    """A valid message with something changed, or as it is."""
    if draw(st.integers(0, 4)) == 0:
        return 2, draw(st.sampled_from([b"", bytes(3), bytes(640), toy_audio([3, 5]).tobytes(), bytes(range(256)) * 2]))
    message = dict(draw(st.sampled_from(CONTROL)))
    for _ in range(draw(st.integers(0, 2))):
        key = draw(st.sampled_from([*message, "type", "extra"]))
        if draw(st.booleans()):
            message[key] = draw(JSON)
        else:
            message.pop(key, None)
    text = json.dumps(message).encode()
    if draw(st.integers(0, 5)) == 0:
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(st.binary(max_size=4)) + text[at + draw(st.integers(0, 3)) :]
    return 1, text


@pytest.fixture(scope="module")
def server(live: Callable[..., Any]) -> Iterator[Any]:
    """A process that must be as it was when all is over."""
    one = live("--max-clients", "120")
    process = psutil.Process(one.process.pid)
    files = process.num_fds()
    yield one
    until = time.monotonic() + 40
    while (
        process.num_fds() > files + 2
        or json.loads(one.request("GET /health HTTP/1.1", "Host: localhost")[1])["clients"]
    ):
        assert time.monotonic() < until, "connections or places were not given back"
        time.sleep(0.5)
    assert one.translate([3, 14, 15]) == toy_text([3, 14, 15])
    assert "Traceback" not in one.said.read_text()


@contextlib.contextmanager
def upgraded(server: Any) -> Iterator[Any]:
    """A raw connection after the handshake, as a file to read from and the socket."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as raw, raw.makefile("rb") as answers:
        raw.sendall(UPGRADE)
        assert answers.readline() == b"HTTP/1.1 101 Switching Protocols\r\n"
        while answers.readline() != b"\r\n":
            pass
        yield raw, answers


def received(answers: Any) -> Iterator[Frame]:
    """Frames of the server until the connection is over."""
    with contextlib.suppress(ConnectionError):
        while head := answers.read(2):
            size = head[1]
            if size > 125:
                size = int.from_bytes(answers.read(2 if size == 126 else 8), "big")
            yield head[0] & 15, answers.read(size)


def check(answers: Any) -> list[dict[str, Any]]:
    """Messages until `DONE` or the end, each as the protocol says."""
    messages: list[dict[str, Any]] = []
    fatal = ""
    for opcode, data in received(answers):
        if opcode == 8:
            code, reason = int.from_bytes(data[:2], "big"), data[2:].decode()
            assert (code, reason) == (CLOSE_CODES[fatal], fatal) if fatal else code in (1000, 1002, 1007, 1009)
            return messages
        if opcode != 1:
            assert opcode == 10  # a pong
            continue
        message = json.loads(data)
        assert message["type"] in ({"export"} if fatal else ANSWERS)
        messages.append(message)
        if message["type"] == "error":
            sentence = message["message"]
            assert sentence.endswith(".") and "\n" not in sentence and "Traceback" not in sentence
            assert message["code"] in CLOSE_CODES or message["code"] in NOT_FATAL
            assert message["code"] != "internal"
            fatal = message["code"] if message["fatal"] else ""
        if message == DONE:
            return messages
    return messages


@settings(max_examples=CASES, deadline=None, suppress_health_check=list(HealthCheck))
@given(frames=st.lists(mutated(), min_size=1, max_size=4), greeted=st.booleans())
def test_any_message_is_served_or_named(server: Any, frames: list[Frame], greeted: bool) -> None:
    """Whatever comes, there is a last word: the answer to a ping, or an error and its close code."""
    greeting = [(1, json.dumps(HELLO).encode())] if greeted else []
    ping = (1, b'{"type": "ping", "id": "done"}')
    with upgraded(server) as (raw, answers):
        with contextlib.suppress(OSError):
            raw.sendall(b"".join(map(framed, [*greeting, *frames, ping])))
        messages = check(answers)
    last = messages[-1] if messages else {}
    utf8 = all(opcode == 2 or not data.decode("utf-8", "replace").count("\ufffd") for opcode, data in frames)
    assert last == DONE or any(message.get("fatal") for message in messages) or not utf8


@settings(max_examples=CASES, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    frames=st.lists(mutated(), min_size=1, max_size=3),
    flips=st.lists(st.tuples(st.integers(0), st.integers(1, 255)), min_size=1, max_size=4),
)
def test_any_bytes_are_served_or_named(server: Any, frames: list[Frame], flips: list[tuple[int, int]]) -> None:
    """Frames whose heads and bodies are damaged on the way; then the client is gone, and the server lets go."""
    data = bytearray(b"".join(map(framed, [(1, json.dumps(HELLO).encode()), *frames])))
    for at, change in flips:
        data[at % len(data)] ^= change
    with upgraded(server) as (raw, answers):
        with contextlib.suppress(OSError):
            raw.sendall(data)
            raw.shutdown(socket.SHUT_WR)
        check(answers)


def misbehave(server: Any, kind: int) -> None:
    """One of ten ways."""
    chance = random.Random(kind)
    hello = framed((1, json.dumps(HELLO).encode()))
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", server.port), timeout=20) as raw:
        if kind % 10 == 0:
            time.sleep(5)  # half open
        elif kind % 10 == 1:
            raw.sendall(b"GET /ws HTTP/1.1\r\n")
            for _ in range(50):
                raw.sendall(b"A: b\r\n")
                time.sleep(0.1)
        elif kind % 10 == 2:
            raw.sendall(chance.randbytes(20_000))
        else:
            raw.sendall(UPGRADE)
            raw.recv(4_096)
            sent = {
                3: b"",
                4: hello + framed((2, bytes(3))),
                5: hello + framed((1, b'{"type": "ping", "id": 1}')) * 500,
                6: hello + framed((2, bytes(6_400)))[:1_000],
                7: hello + bytes([0x81, 4]) + b"bare",
                8: hello + bytes([0x82, 0xFF]) + struct.pack(">Q", 1 << 40),
                9: hello + framed((2, bytes(32_000))) * 4,
            }[kind % 10]
            raw.sendall(sent)
            if kind % 20 > 9:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            else:
                time.sleep(3)


def test_a_hundred_clients_of_which_half_misbehave(server: Any) -> None:
    """The other half hear every word of their own, and nobody else's."""
    heard: dict[int, str] = {}
    words = {number: [(number * 7 + step * 11) % 60 + 1 for step in range(10)] for number in range(50)}

    def behave(number: int) -> None:
        heard[number] = server.translate(words[number])

    threads = [threading.Thread(target=behave, args=(number,)) for number in words]
    threads += [threading.Thread(target=misbehave, args=(server, kind)) for kind in range(50)]
    random.Random(0).shuffle(threads)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert heard == {number: toy_text(said) for number, said in words.items()}
