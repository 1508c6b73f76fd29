"""simulstream's HTTP processor protocol, as its own client speaks it and as nobody should."""

import asyncio
import base64
import json
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import numpy as np
import pytest

from simulst.core.events import WriteEvent
from simulst.core.session import Session
from simulst.live.catalogue import Catalogue
from simulst.live.simulstream import Tokens, serve_simulstream
from simulst.policies import load_policy
from simulst.testing import ToyTranslator, toy_audio, toy_text

WORDS = [3, 14, 15, 0, 9, 26, 30, 0, 0, 5, 35, 8, 9, 10, 7, 9, 0, 21, 22, 23]


@pytest.fixture
def served(scribe: ToyTranslator) -> Iterator[Callable[..., str]]:
    """Starts a server in a thread; its address."""
    stops: list[Callable[[], None]] = []

    def start(policy: str = "stream_att", model: Any = None, **limits: Any) -> str:
        loop, stop, up = asyncio.new_event_loop(), asyncio.Event(), threading.Event()
        found: list[str] = []

        def ready(address: str) -> None:
            found.append(address)
            up.set()

        def end() -> None:
            loop.call_soon_threadsafe(stop.set)
            thread.join(20)

        main = serve_simulstream(
            Catalogue({"toy": model or ToyTranslator()}, load_policy(policy)),
            host="127.0.0.1",
            port=0,
            **{"sessions": 4, "ttl_s": 60.0, "workers": 2, **limits},
            ready=ready,
            stop=stop,
        )
        thread = threading.Thread(target=loop.run_until_complete, args=(main,))
        thread.start()
        stops.append(end)
        assert up.wait(10)
        return found[0]

    yield start
    for stop in stops:
        stop()


def ask(address: str, method: str, name: str, body: bytes | None = None, **message: Any) -> tuple[int, Any]:
    content = json.dumps({"session_id": "one", **message}).encode() if body is None else body
    try:
        with urlopen(Request(f"{address}/{name}", content, method=method)) as answer:
            return answer.status, json.loads(answer.read() or b"null")
    except HTTPError as error:
        return error.code, json.loads(error.read())


def chunk(samples: Any) -> str:
    return base64.b64encode(np.asarray(samples, "<f4").tobytes()).decode()


def stream(address: str, session_id: str = "one") -> list[str]:
    """The tokens that are left at the end."""
    tokens: list[str] = []
    size = round(16_000 * ask(address, "GET", "speech_chunk_size", session_id=session_id)[1]["speech_chunk_size"])
    audio = toy_audio(WORDS)
    for start in range(0, len(audio) + size, size):
        last = start >= len(audio)
        name = "end_of_stream" if last else "process_chunk"
        message: dict[str, Any] = {} if last else {"waveform": chunk(audio[start : start + size])}
        status, found = ask(address, "POST", name, session_id=session_id, **message)
        assert status == 200
        assert found["new_string"] == "".join(found["new_tokens"])
        if deleted := found["deleted_tokens"]:
            assert tokens[-len(deleted) :] == deleted
            del tokens[-len(deleted) :]
        tokens += found["new_tokens"]
    return tokens


@pytest.mark.parametrize("policy", ["stream_att", "wait_k", "retranslation"])
def test_the_tokens_are_the_text_of_a_session(served: Callable[..., str], policy: str) -> None:
    address = served(policy)
    session = Session(ToyTranslator(), load_policy(policy))
    session.feed(toy_audio(WORDS))
    session.finish()
    for _ in range(2):
        tokens = stream(address)
        assert "".join(tokens) == session.text
        assert ask(address, "GET", "tokens_to_string", tokens=tokens) == (200, {"tokens_as_string": session.text})
        assert ask(address, "POST", "clear") == (204, None)


def test_the_client_of_simulstream(served: Callable[..., str], scribe: ToyTranslator) -> None:
    remote: Any = pytest.importorskip("simulstream.server.speech_processors.remote.http_proxy_speech_processor")
    place = urlsplit(served(model=scribe))
    processor = remote.HttpProxySpeechProcessor(SimpleNamespace(hostname=place.hostname, port=place.port))
    processor.set_source_language("xx")
    processor.set_target_language("xx")
    size = round(processor.speech_chunk_size * 16_000)
    audio = toy_audio(WORDS)
    outputs = [processor.process_chunk(audio[start : start + size]) for start in range(0, len(audio), size)]
    outputs.append(processor.end_of_stream())
    tokens = [token for output in outputs for token in output.new_tokens]
    assert processor.tokens_to_string(tokens) == toy_text(WORDS)
    processor.clear()


def test_streams_do_not_hear_each_other(served: Callable[..., str]) -> None:
    address = served()
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda name=str(number): found.append("".join(stream(address, name))))
        for number in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [toy_text(WORDS)] * 4
    status, refused = ask(address, "GET", "speech_chunk_size", session_id="five")
    assert (status, refused["error"]) == (
        503,
        "All 4 sessions are taken; end one with clear, or allow more with --sessions.",
    )
    ask(address, "POST", "clear", session_id="0")
    assert ask(address, "GET", "speech_chunk_size", session_id="five")[0] == 200


def test_a_session_that_is_left_makes_room(served: Callable[..., str]) -> None:
    address = served(sessions=1, ttl_s=0.01)
    assert ask(address, "GET", "speech_chunk_size", session_id="gone")[0] == 200
    threading.Event().wait(0.05)
    assert ask(address, "GET", "speech_chunk_size", session_id="new")[0] == 200


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "name", "body", "sentence"),
    [
        ("POST", "process_chunk", b"no json", "A request must be a JSON object."),
        ("POST", "process_chunk", b"[]", "A request must be a JSON object."),
        ("POST", "process_chunk", b"{}", "session_id must be a text of 1 to 200 characters."),
        ("POST", "process_chunk", b'{"session_id": "a", "waveform": "!"}', "waveform must be base64 of 16 kHz mono"),
        ("POST", "process_chunk", b'{"session_id": "a", "waveform": "AAAA"}', "waveform must be base64 of 16 kHz mono"),
        ("POST", "process_chunk", b'{"session_id": "a", "waveform": "AADAfw=="}', "The samples must be finite numbers"),
        ("GET", "tokens_to_string", b'{"session_id": "a", "tokens": [1]}', "tokens must be a list of texts."),
        ("PUT", "target_language", b'{"session_id": "a"}', "language must be a text of 1 to 200 characters."),
    ],
)
def test_a_wrong_request_is_named(
    served: Callable[..., str], method: str, name: str, body: bytes, sentence: str
) -> None:
    status, found = ask(served(), method, name, body)
    assert status == 400 and found["error"].startswith(sentence)


def test_languages_and_places_that_are_not_served(served: Callable[..., str], scribe: ToyTranslator) -> None:
    address = served(model=scribe)
    assert ask(address, "PUT", "target_language", language="fr") == (204, None)
    status, found = ask(address, "POST", "process_chunk", waveform=chunk(np.zeros(160)))
    assert (status, found["error"]) == (400, "There is no text into fr here; toy does xx transcribed.")
    assert ask(address, "PUT", "target_language", language="xx") == (204, None)
    assert ask(address, "POST", "process_chunk", waveform=chunk(np.zeros(32_000)))[0] == 200
    status, found = ask(address, "PUT", "target_language", language="fr")
    assert status == 400 and found["error"].startswith("The language of a stream cannot change after audio came;")
    assert ask(address, "GET", "secrets")[0] == 404
    status, _ = ask(address, "POST", "process_chunk", bytes(33 << 20))
    assert status == 413
    with pytest.raises(HTTPError) as refused:
        urlopen(Request(f"{address}/clear", b"{}", {"Host": "evil.example"}, method="POST"))
    assert refused.value.code == 421


def test_what_is_taken_back_is_told_in_whole_tokens() -> None:
    tokens = Tokens()

    def write(text: str, retract: int = 0) -> dict[str, Any]:
        return tokens.take([WriteEvent(text=text, retract=retract, audio_s=1.0, wall_s=1.0)])

    assert write("Ein Hund bellt")["new_tokens"] == ["Ein", " Hund", " bellt"]
    found = write("er.", retract=1)
    assert (found["deleted_tokens"], found["new_tokens"]) == ([" bellt"], [" bell", "er."])
    found = write("Kind", retract=len("Hund beller."))
    assert (found["deleted_string"], found["new_string"]) == (" Hund beller.", " Kind")
