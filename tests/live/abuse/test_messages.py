"""Clients that say what has no meaning: each gets its named error, the others notice nothing."""

import json
from typing import Any

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed

from simulst.testing import toy_audio, toy_text

HELLO = {"type": "hello", "version": 1, "sample_rate": 16_000, "format": "s16le"}


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
