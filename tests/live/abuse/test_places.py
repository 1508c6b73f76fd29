"""Who keeps a place: clients that leave, say nothing, only ping, or wait for a slow model."""

import socket
import struct
import time
from collections.abc import Callable
from typing import Any

import pytest

from simulst.testing import ToyTranslator, toy_audio, toy_text

Serve = Callable[..., Any]
Connect = Callable[..., Any]
HELLO = {"type": "hello", "version": 1, "sample_rate": 16_000, "format": "s16le"}
WORDS = [3, 14, 15, 9, 26, 30, 5, 35, 8, 9, 10, 7]


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


def test_a_client_that_says_nothing_is_sent_away(serve: Serve, client: Connect) -> None:
    server = serve(max_clients=1, hello_s=0.3)
    assert client(server).until("error")["code"] == "hello_timeout"
    client(server).hello()  # its place is free


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


@pytest.mark.slow
def test_a_client_that_waits_for_a_slow_model_is_not_idle(serve: Serve, client: Connect) -> None:
    one = client(serve(models={"toy": ToyTranslator(before=lambda: time.sleep(0.05))}, idle_s=0.2))
    one.hello(chunk_ms=320)
    one.audio(toy_audio(WORDS))
    assert one.finish() == toy_text(WORDS)
    assert one.until("error")["code"] == "idle_timeout"


@pytest.mark.slow
def test_a_client_is_not_idle_while_its_last_audio_is_worked_on(serve: Serve, client: Connect) -> None:
    """All that was sent is in the hands of the model, nothing waits, and the client has nothing to say."""

    audio = toy_audio(WORDS[:2])
    one = client(serve(models={"toy": ToyTranslator(before=lambda: time.sleep(1.5))}, idle_s=0.6))
    one.hello(chunk_ms=640, hypotheses=False)
    one.audio(audio, len(audio))
    assert one.until("lag")["audio_s"] == 0.64
    assert one.until("error")["code"] == "idle_timeout"


@pytest.mark.slow
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


@pytest.mark.slow
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
