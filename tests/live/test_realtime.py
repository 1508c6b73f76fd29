"""OpenAI's realtime translation over raw frames: events, deltas that append, manners towards wrong events."""

import asyncio
import base64
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, cast

import numpy as np
import pytest
import soxr
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed, ConnectionClosedOK, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from simulst.core.session import Session
from simulst.live.access import Access
from simulst.live.openai.ahead import ReadAhead
from simulst.live.openai.deltas import StableWords
from simulst.policies import load_policy
from simulst.testing import ToyTranslator, toy_text

WORDS = [3, 14, 15, 0, 9, 26, 30, 0, 0, 5, 35, 8, 9, 10, 7, 9, 0, 21, 22, 23, 24, 20, 1, 2]
FRAME = 4_800
"""Samples of 200 ms at 24 kHz."""
Message = dict[str, Any]
Serve = Callable[..., Any]
Pcm = Callable[[list[int]], bytes]


def translated(audio: bytes) -> str:
    """The text of a session that hears the same samples."""
    session = Session(ToyTranslator(), load_policy("stream_att"))
    session.feed(soxr.resample(np.frombuffer(audio, "<i2").astype(np.float32) / 2**15, 24_000, 16_000))
    session.finish()
    return session.text


class Speaker:
    """A client that speaks the events and remembers those of the server."""

    def __init__(self, server: Any, query: str = "model=toy", **options: Any) -> None:
        address = server.address.replace("http", "ws") + "/v1/realtime/translations"
        self.opening = connect(f"{address}?{query}", compression=None, **options)
        self.socket: ClientConnection = self.opening.__enter__()
        self.seen: list[Message] = []

    def say(self, kind: str, **event: Any) -> None:
        self.socket.send(json.dumps({"type": kind, **event}))

    def append(self, audio: bytes, frame: int = 2 * FRAME) -> None:
        for start in range(0, len(audio), frame):
            piece = base64.b64encode(audio[start : start + frame]).decode()
            self.say("session.input_audio_buffer.append", audio=piece)

    def until(self, kind: str) -> Message:
        while True:
            message: Message = json.loads(self.socket.recv(timeout=10))
            self.seen.append(message)
            if message["type"] == kind:
                return message
            assert message["type"] != "error", message

    def text(self, direction: str = "output") -> str:
        kind = f"session.{direction}_transcript.delta"
        return "".join(message["delta"] for message in self.seen if message["type"] == kind)

    def finish(self) -> str:
        self.say("session.close")
        self.until("session.closed")
        with pytest.raises(ConnectionClosedOK):
            self.socket.recv(timeout=10)
        return self.text()


@pytest.fixture
def speak() -> Iterator[Callable[..., Speaker]]:
    with ExitStack() as stack:

        def start(server: Any, query: str = "model=toy", **options: Any) -> Speaker:
            one = Speaker(server, query, **options)
            stack.callback(one.opening.__exit__, None, None, None)
            return one

        yield start


def test_deltas_are_the_words_of_a_session(serve: Serve, speak: Callable[..., Speaker], pcm: Pcm) -> None:
    one = speak(serve())
    session = one.until("session.created")["session"]
    assert (session["type"], session["model"], session["policy"]) == ("translation", "toy", "stream_att")
    one.append(pcm(WORDS))
    assert one.finish() == translated(pcm(WORDS)) == toy_text(WORDS)
    deltas = [message for message in one.seen if message["type"] == "session.output_transcript.delta"]
    elapsed = [delta["elapsed_ms"] for delta in deltas]
    assert len(deltas) > 5 and elapsed == sorted(elapsed) and elapsed[-1] <= 1000 * len(WORDS) * 0.32 + 1
    assert all(0 <= delta["lag_ms"] < 10_000 for delta in deltas)
    assert len({message["event_id"] for message in one.seen}) == len(one.seen)


@pytest.mark.slow
@pytest.mark.parametrize("frame", [2, 674, 9_600, 200_000])
def test_frames_of_any_size_are_taken(serve: Serve, speak: Callable[..., Speaker], frame: int, pcm: Pcm) -> None:
    one = speak(serve())
    one.append(pcm(WORDS[:3]) if frame == 2 else pcm(WORDS), frame)
    assert one.finish() == toy_text(WORDS[:3] if frame == 2 else WORDS)


def test_the_transcript_comes_once_it_is_asked_for(serve: Serve, speak: Callable[..., Speaker], pcm: Pcm) -> None:
    one = speak(serve())
    one.say("session.update", session={"audio": {"input": {"transcription": {"model": "any"}}}})
    updated = one.until("session.updated")["session"]
    assert updated["audio"]["input"] == {"transcription": {"model": "any"}, "noise_reduction": None}
    one.append(pcm(WORDS))
    one.finish()
    assert one.text("input").split() == [f"s{word}" for word in WORDS if word]


def test_the_session_changes_in_the_middle(serve: Serve, speak: Callable[..., Speaker], pcm: Pcm) -> None:
    one = speak(serve())
    one.until("session.created")
    one.append(pcm([3, 14, 15]))
    one.say("session.update", session={"policy": "wait_k", "chunk_ms": 320})
    updated = one.until("session.updated")["session"]
    assert (updated["policy"], updated["chunk_ms"]) == ("wait_k", 320)
    one.append(pcm([9, 26, 30]))
    assert one.finish() == f"{toy_text([3, 14, 15])} {toy_text([9, 26, 30])}"


MISTAKES: list[tuple[Any, str]] = [
    ("no json", "An event must be a JSON object with a type."),
    (b"\x00\x00", "Audio comes as base64 in session.input_audio_buffer.append, not in binary messages."),
    ({"type": "response.create"}, "The type 'response.create' is unknown; known are session.update, "),
    ({"type": "session.input_audio_buffer.append", "audio": "!!!"}, "audio must be base64 of 24 kHz mono PCM16."),
    ({"type": "session.input_audio_buffer.append", "audio": 7}, "audio must be base64 of 24 kHz mono PCM16."),
    ({"type": "session.input_audio_buffer.append", "audio": "AAAA"}, "audio must hold whole samples of 2 bytes, not 3"),
    ({"type": "session.update"}, "session.update needs a session."),
    ({"type": "session.update", "session": {"voice": "x"}}, "session.voice cannot be set here."),
    ({"type": "session.update", "session": {"audio": []}}, "audio must be an object."),
    ({"type": "session.update", "session": {"audio": {"output": {"voice": "x"}}}}, "output.voice cannot be set here."),
    ({"type": "session.update", "session": {"audio": {"input": {"noise_reduction": {"type": "near_field"}}}}}, "This"),
    ({"type": "session.update", "session": {"audio": {"output": {"language": "fr"}}}}, "There is no text into fr here"),
    ({"type": "session.update", "session": {"model": "other"}}, "This server has no model 'other'; it has toy."),
    ({"type": "session.update", "session": {"policy": "retranslation"}}, "Policy retranslation takes text back"),
    (
        {"type": "session.update", "session": {"glossary": "a\nb"}},
        "glossary, line 1: write the source, one tab and the",
    ),
    ({"type": "session.update", "session": {"chunk_ms": "fast"}}, "chunk_ms must be a whole number from 40 to"),
]


@pytest.mark.parametrize(("event", "sentence"), MISTAKES)
def test_a_wrong_event_is_named_and_changes_nothing(
    shared: Any, speak: Callable[..., Speaker], event: Any, sentence: str, pcm: Pcm
) -> None:
    one = speak(shared)
    one.until("session.created")
    one.append(pcm([3, 14, 15]))
    named = {**event, "event_id": "mine"} if isinstance(event, dict) else event
    one.socket.send(json.dumps(named) if isinstance(named, dict) else named)
    while (message := json.loads(one.socket.recv(timeout=10)))["type"] != "error":
        one.seen.append(message)
    error = message["error"]
    assert error["message"].startswith(sentence) and error["message"].endswith(".")
    assert error["type"] == "invalid_request_error"
    assert error["event_id"] == ("mine" if isinstance(event, dict) else None)
    one.append(pcm([9, 26, 30]))
    assert one.finish() == translated(pcm([3, 14, 15]) + pcm([9, 26, 30]))


@pytest.mark.parametrize(
    ("query", "code", "closed"),
    [
        ("model=other", "model_not_found", 4404),
        ("policy=retranslation", "unknown_policy", 4404),
        ("target=fr", "unknown_language", 4404),
        ("chunk_ms=1", "bad_value", 4400),
        ("chunk_ms=many", "bad_value", 4400),
    ],
)
def test_a_session_that_cannot_be_is_refused(
    shared: Any, speak: Callable[..., Speaker], query: str, code: str, closed: int
) -> None:
    one = speak(shared, query)
    assert json.loads(one.socket.recv(timeout=10))["error"]["code"] == code
    with pytest.raises(ConnectionClosed) as gone:
        one.socket.recv(timeout=10)
    assert gone.value.rcvd is not None and gone.value.rcvd.code == closed


def test_a_flood_of_wrong_events_is_cut_off(serve: Serve, speak: Callable[..., Speaker], pcm: Pcm) -> None:
    one = speak(serve())
    one.append(pcm([3, 14, 15]))
    with pytest.raises(ConnectionClosed) as gone:
        for _ in range(5_000):
            one.socket.send("{}")
        while True:
            one.seen.append(json.loads(one.socket.recv(timeout=10)))
    assert gone.value.rcvd is not None and gone.value.rcvd.code == 4429


def test_the_token_is_asked_for(serve: Serve, speak: Callable[..., Speaker], pcm: Pcm) -> None:
    server = serve(access=Access(token="geheim ü"))
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        with pytest.raises(InvalidStatus) as refused:
            speak(server, additional_headers=headers)
        assert refused.value.response.status_code == 401
        assert json.loads(refused.value.response.body)["error"]["code"] == "invalid_api_key"
    page = ["realtime", "openai-insecure-api-key.geheim"]
    one = speak(serve(access=Access(token="geheim")), subprotocols=page)
    assert one.socket.subprotocol == "realtime"
    one.append(pcm([3, 5]))
    assert one.finish() == toy_text([3, 5])


def test_pages_of_other_sites_may_not_connect(shared: Any, speak: Callable[..., Speaker]) -> None:
    with pytest.raises(InvalidStatus) as refused:
        speak(shared, additional_headers={"Origin": "https://example.org"})
    assert refused.value.response.status_code == 403
    assert json.loads(refused.value.response.body)["error"]["code"] == "forbidden_origin"


def test_one_too_many_is_told_to_wait(serve: Serve, speak: Callable[..., Speaker], pcm: Pcm) -> None:
    server = serve(max_clients=1)
    first = speak(server)
    first.until("session.created")
    second = speak(server)
    error = json.loads(second.socket.recv(timeout=10))["error"]
    assert (error["code"], error["type"]) == ("busy", "server_error")
    first.append(pcm([3, 5]))
    assert first.finish() == toy_text([3, 5])


def test_a_client_that_vanishes_gives_its_place_back(serve: Serve, speak: Callable[..., Speaker], pcm: Pcm) -> None:
    server = serve(resume_s=0.1)
    one = speak(server)
    one.until("session.created")
    one.append(pcm([3, 5]))
    one.socket.socket.close()
    until = time.monotonic() + 10
    while server.health()["clients"]:
        assert time.monotonic() < until
        time.sleep(0.05)


def test_words_come_once_two_versions_agree() -> None:
    words = StableWords()
    assert words.hear(0, "the cat") == ""
    assert words.hear(0, "the cat sits") == "the cat"
    assert words.hear(8, "sat on") == ""
    assert words.hear(0, "a cat sat on it") == ""  # what was given out stays
    assert words.hear(0, "a cat sat on it and") == " sat on it"
    assert words.finish() == " and"
    assert words.finish() == ""


@pytest.mark.slow
def test_pings_are_answered_while_a_file_waits(serve: Serve, speak: Callable[..., Speaker], pcm: Pcm) -> None:
    """As the official clients want it, which send a file at once and break off without an answer."""
    held = threading.Event()

    def wait() -> None:
        assert held.wait(20)

    one = speak(serve({"toy": ToyTranslator(before=wait)}), ping_interval=None)
    one.append(40 * pcm(WORDS), 96_000)  # five minutes, of which the stream takes half a minute
    assert one.socket.ping().wait(10)
    held.set()
    assert one.finish().startswith(toy_text(WORDS))


def test_a_sender_far_ahead_is_held_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not read on before there is room again."""
    monkeypatch.setattr("simulst.live.openai.ahead.MAX_AHEAD_BYTES", 3_000)
    given: list[int] = []

    class Socket:
        close_code = None

        async def recv(self) -> str:
            given.append(1)
            return "x" * 1_000

    async def main() -> None:
        ahead = ReadAhead(cast(ServerConnection, Socket()))
        for taken in range(1, 50):
            assert len(await ahead.take()) == 1_000
            await asyncio.sleep(0)
            assert len(given) <= taken + 3

    asyncio.run(main())
