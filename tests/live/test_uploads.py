"""Posted recordings: every answer format, streams of events, manners towards forms that are none."""

import http.client
import json
import socket
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest

from simulst.core.session import Session
from simulst.live.access import Access
from simulst.live.http import Refusal
from simulst.live.openai.form import read_form
from simulst.policies import load_policy
from simulst.testing import ToyTranslator, toy_audio, toy_text
from simulst.testing.noting import Noting

WORDS = [3, 14, 15, 0, 9, 26, 30, 0, 0, 5, 35, 8, 9, 10, 7, 9, 0, 21, 22, 23, 24, 20, 1, 2]
TRANSLATIONS, TRANSCRIPTIONS = "/v1/audio/translations", "/v1/audio/transcriptions"
Serve = Callable[..., Any]
Wav = Callable[..., bytes]


def form_of(audio: bytes | None, **fields: str | list[str]) -> tuple[bytes, str]:
    boundary = "x" * 30
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{one}\r\n'.encode()
        for name, value in fields.items()
        for one in (value if isinstance(value, list) else [value])
    ]
    if audio is not None:
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="talk.wav"\r\n'
        parts.append(head.encode() + b"Content-Type: audio/wav\r\n\r\n" + audio + b"\r\n")
    return b"".join([*parts, f"--{boundary}--\r\n".encode()]), f"multipart/form-data; boundary={boundary}"


def post(server: Any, path: str, body: bytes, kind: str, **headers: str) -> tuple[int, str, http.client.HTTPResponse]:
    connection = http.client.HTTPConnection(urlsplit(server.address).netloc, timeout=20)
    connection.request("POST", path, body, {"Content-Type": kind, **headers})
    answer = connection.getresponse()
    return answer.status, answer.read().decode(), answer


def send(server: Any, path: str, audio: bytes | None, **fields: str | list[str]) -> tuple[int, Any]:
    status, body, _ = post(server, path, *form_of(audio, **fields))
    return status, json.loads(body) if body.startswith("{") else body


def session_of(words: list[int]) -> str:
    session = Session(ToyTranslator(), load_policy("stream_att"))
    session.feed(toy_audio(words))
    session.finish()
    return session.text


def test_json_is_the_text_of_a_session(shared: Any, wav: Wav) -> None:
    status, found = send(shared, TRANSLATIONS, wav(WORDS), model="toy")
    assert status == 200
    assert found["text"] == session_of(WORDS) == toy_text(WORDS)
    assert found["usage"]["seconds"] == pytest.approx(0.32 * len(WORDS))


def test_a_form_brings_a_glossary_as_a_field_or_as_a_file(serve: Serve, wav: Wav) -> None:
    model = Noting()
    server, audio = serve({"toy": model}), wav([3, 14, 15, 9])
    assert send(server, TRANSLATIONS, audio, glossary="s14\tvierzehn\r\ns60\tsechzig") == send(
        server, TRANSLATIONS, audio
    )
    assert model.noted == {"vierzehn"}
    model.noted.clear()
    body, kind = form_of(audio)
    part = b'Content-Disposition: form-data; name="glossary"; filename="terms.tsv"\r\n\r\ns15\tf\xc3\xbcnfzehn\n\r\n'
    assert post(server, TRANSLATIONS, b"--" + b"x" * 30 + b"\r\n" + part + body, kind)[0] == 200
    assert model.noted == {"f\u00fcnfzehn"}
    status, found = send(server, TRANSLATIONS, audio, glossary="dog Hund")
    assert (status, found["error"]["message"]) == (400, "glossary, line 1: write the source, one tab and the target.")


@pytest.mark.parametrize("form", ["WAV", "FLAC", "OGG"])
def test_formats_of_files_are_told_by_their_content(shared: Any, form: str, wav: Wav) -> None:
    status, found = send(shared, TRANSLATIONS, wav([5] * 8, form), policy="offline")
    assert (status, bool(found["text"])) == (200, True)


def test_text_and_subtitles(shared: Any, wav: Wav) -> None:
    audio = wav(WORDS)
    assert send(shared, TRANSLATIONS, audio, response_format="text") == (200, toy_text(WORDS) + "\n")
    srt = send(shared, TRANSLATIONS, audio, response_format="srt")[1]
    assert srt.startswith("1\n00:00:") and toy_text(WORDS).split()[0] in srt
    assert send(shared, TRANSLATIONS, audio, response_format="vtt")[1].startswith("WEBVTT\n\n00:00:")


def test_verbose_json_has_segments_and_words_with_times(shared: Any, wav: Wav) -> None:
    status, found = send(
        shared, TRANSLATIONS, wav(WORDS), response_format="verbose_json", **{"timestamp_granularities[]": ["word"]}
    )
    assert (status, found["task"], found["duration"]) == (200, "translate", pytest.approx(0.32 * len(WORDS)))
    assert " ".join(segment["text"] for segment in found["segments"]) == found["text"]
    assert [word["word"] for word in found["words"]] == found["text"].split()
    assert all(0 <= word["start"] <= word["end"] <= found["duration"] + 0.01 for word in found["words"])
    assert "words" not in send(shared, TRANSLATIONS, wav(WORDS), response_format="verbose_json")[1]


def test_a_stream_of_events_appends_word_by_word(shared: Any, wav: Wav) -> None:
    status, body, answer = post(shared, TRANSLATIONS, *form_of(wav(WORDS), stream="true"))
    assert (status, answer.headers["Content-Type"]) == (200, "text/event-stream; charset=utf-8")
    events = [json.loads(block.removeprefix("data: ")) for block in body.strip().split("\n\n")]
    deltas = [event["delta"] for event in events if event["type"] == "transcript.text.delta"]
    assert len(deltas) > 5
    assert "".join(deltas) == events[-1]["text"] == toy_text(WORDS)
    assert events[-1]["type"] == "transcript.text.done"


def test_transcriptions_take_a_model_that_transcribes(serve: Serve, wav: Wav, scribe: ToyTranslator) -> None:
    server = serve({"toy": ToyTranslator(), "scribe": scribe})
    assert send(server, TRANSCRIPTIONS, wav(WORDS))[1]["text"] == toy_text(WORDS)
    status, found = send(server, TRANSCRIPTIONS, wav(WORDS), model="toy")
    assert (status, found["error"]["message"]) == (
        400,
        "There is no transcripts here; toy does not tell its languages.",
    )
    status, found = send(server, TRANSCRIPTIONS, wav(WORDS), language="fr")
    assert status == 400 and "scribe does xx transcribed" in found["error"]["message"]


@pytest.mark.parametrize(
    ("fields", "status", "code", "sentence"),
    [
        ({"model": "other"}, 404, "model_not_found", "This server has no model 'other'; it has toy."),
        ({"response_format": "docx"}, 400, "bad_value", "response_format must be one of json, text, srt, vtt, "),
        ({"target": "fr"}, 400, "unknown_language", "There is no text into fr here; toy does not tell its languages."),
        (
            {"policy": "fast"},
            400,
            "unknown_policy",
            "Unknown policy 'fast' of model toy; GET /config lists the known ones.",
        ),
        ({"policy": "retranslation", "stream": "true"}, 400, "unknown_policy", "Policy retranslation takes text back"),
    ],
)
def test_what_cannot_be_served_is_named(
    shared: Any, fields: dict[str, str], status: int, code: str, sentence: str, wav: Wav
) -> None:
    found_status, found = send(shared, TRANSLATIONS, wav([3, 5]), **fields)
    assert (found_status, found["error"]["code"], found["error"]["type"]) == (status, code, "invalid_request_error")
    assert found["error"]["message"].startswith(sentence)
    assert shared.health()["clients"] == 0


@pytest.mark.parametrize(
    ("audio", "sentence"),
    [
        (None, "The form needs the audio as its part 'file'."),
        (b"", "The form needs the audio as its part 'file'."),
        (b"no audio at all, but a text", "The file "),
        (b"#EXTM3U\nhttp://127.0.0.1:1/x.ts\n", "The file "),
        (b"RIFF\xff\xff\xff\xffWAVEfmt ", "The file "),
    ],
)
@pytest.mark.parametrize("stream", ["", "true"])
def test_a_file_without_audio_is_named(shared: Any, audio: bytes | None, sentence: str, stream: str) -> None:
    status, body, _ = post(shared, TRANSLATIONS, *form_of(audio, stream=stream))
    error = json.loads(body.removeprefix("data: "))["error"]
    assert status == (200 if stream and audio else 400)
    assert error["message"].startswith(sentence) and "/" not in error["message"]


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"{}", "application/json"),
        (b"", "multipart/form-data; boundary=x"),
        (b"--x\r\n\r\nno name\r\n--x--", "multipart/form-data; boundary=x"),
        (b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\nunfinished', "multipart/form-data; boundary=x"),
        (b"--x--", "multipart/form-data"),
        (b"--x\r\n" * 99, "multipart/form-data; boundary=x"),
    ],
)
def test_what_is_no_form_is_named(shared: Any, body: bytes, kind: str) -> None:
    status, answer, _ = post(shared, TRANSLATIONS, body, kind)
    assert (status, json.loads(answer)["error"]["code"]) == (400, "bad_form")


def test_any_bytes_pass_through_a_form() -> None:
    audio = np.random.default_rng(7).integers(0, 256, 100_000, dtype=np.uint8).tobytes()
    for content in (audio, audio + b"\r", b"\n" + audio + b"\r\n", b"\r\n--" + audio, b"\x00"):
        body, kind = form_of(content, model="toy", language="ü")
        form = read_form(kind, body)
        assert (form.files["file"], form.text("model"), form.text("prompt")) == (content, "toy", None)
    with pytest.raises(Refusal):
        read_form("text/plain", b"")


def raw(server: Any, request: bytes, *, half: bool = False) -> bytes:
    """The answer to exactly these bytes, a timeout being an answer too."""
    host, port = urlsplit(server.address).netloc.split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(request)
        if half:
            connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65_536), b""))


def test_a_promise_of_a_gigabyte_is_refused_before_it_comes(shared: Any) -> None:
    head = f"POST {TRANSLATIONS} HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
    for promise in ("Content-Length: 1073741824", "Content-Length: " + "9" * 40):
        answer = raw(shared, f"{head}{promise}\r\n\r\n".encode())
        assert answer.startswith(b"HTTP/1.1 413 ") or answer.startswith(b"HTTP/1.1 400 ")
    assert b"at most 25 MiB." in raw(shared, f"{head}Content-Length: 1073741824\r\n\r\n".encode())
    block = b"100000\r\n" + bytes(1 << 20) + b"\r\n"
    with pytest.raises(OSError):  # it is refused in the middle, so that sending breaks off
        answer = raw(shared, f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + 60 * block)
        assert answer.startswith(b"HTTP/1.1 413 ")
        raise OSError


@pytest.mark.parametrize(
    "request_",
    [
        b"POST \x00 HTTP/1.1\r\n\r\n",
        b"POST /v1/audio/translations HTTP/1.1\r\n\r\n",
        b"POST /v1/audio/translations HTTP/1.1\r\nHost: localhost\r\nContent-Length: -3\r\n\r\n",
        b"POST /v1/audio/translations HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"POST " + b"x" * 70_000,
    ],
)
def test_a_broken_request_is_a_bad_request(shared: Any, request_: bytes) -> None:
    assert raw(shared, request_)[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 431", b"HTTP/1.1 421")


def test_a_body_that_ends_early_costs_nobody_anything(shared: Any, wav: Wav) -> None:
    head = f"POST {TRANSLATIONS} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nabc".encode()
    assert raw(shared, head, half=True)[:12] in (b"HTTP/1.1 400", b"")
    assert raw(shared, b"PO", half=True) == b""
    assert send(shared, TRANSLATIONS, wav([3, 5]))[1]["text"] == toy_text([3, 5])


def test_a_client_may_ask_before_it_sends(shared: Any, wav: Wav) -> None:
    body, kind = form_of(wav([3, 5]))
    host, port = urlsplit(shared.address).netloc.split(":")
    head = f"POST {TRANSLATIONS} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nExpect: 100-continue\r\n"
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 100 ")
        connection.sendall(body)
        assert toy_text([3, 5]).encode() in b"".join(iter(lambda: connection.recv(65_536), b""))


def test_other_posts_find_nothing(shared: Any) -> None:
    status, body, _ = post(shared, "/config", b"{}", "application/json")
    assert (status, json.loads(body)["code"]) == (405, "bad_method")


def test_the_key_and_the_site_are_asked_for(serve: Serve, wav: Wav) -> None:
    server = serve(access=Access(token="geheim", origins=("https://example.org",)))
    form = form_of(wav([3, 5]))
    status, body, _ = post(server, TRANSLATIONS, *form)
    assert (status, json.loads(body)["error"]["code"]) == (401, "invalid_api_key")
    key = "Bearer geheim"
    assert post(server, TRANSLATIONS, *form, Authorization=key, Origin="https://evil.example")[0] == 403
    status, body, answer = post(server, TRANSLATIONS, *form, Authorization=key, Origin="https://example.org")
    assert (status, json.loads(body)["text"]) == (200, toy_text([3, 5]))
    assert answer.headers["Access-Control-Allow-Origin"] == "https://example.org"
    asked = raw(
        server, b"OPTIONS /v1/audio/translations HTTP/1.1\r\nHost: localhost\r\nOrigin: https://example.org\r\n\r\n"
    )
    assert asked.startswith(b"HTTP/1.1 204 ") and b"Access-Control-Allow-Headers: Authorization" in asked


def test_models_are_listed(serve: Serve, scribe: ToyTranslator) -> None:
    server = serve({"toy": ToyTranslator(), "scribe": scribe})
    models = json.loads(server.get("/v1/models")[1])
    assert [model["id"] for model in models["data"]] == ["toy", "scribe"]
    assert models["data"][1]["pairs"] == [{"source": "xx", "target": "xx", "task": "transcribe"}]
    assert json.loads(server.get("/v1/models/scribe")[1])["object"] == "model"
    assert b"HTTP/1.1 404" in raw(server, b"GET /v1/models/no HTTP/1.1\r\nHost: localhost\r\n\r\n")


def test_a_client_that_goes_away_ends_its_stream(serve: Serve, wav: Wav) -> None:
    server = serve({"slow": ToyTranslator(before=lambda: time.sleep(0.2))})
    body, kind = form_of(wav(WORDS))
    connection = http.client.HTTPConnection(urlsplit(server.address).netloc, timeout=20)
    connection.request("POST", TRANSLATIONS, body, {"Content-Type": kind})
    until = time.monotonic() + 10
    while not server.health()["clients"]:
        assert time.monotonic() < until
    connection.close()
    while server.health()["clients"]:
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.mark.slow
def test_a_shutdown_answers_what_was_heard(serve: Serve, wav: Wav) -> None:
    import threading

    server = serve({"slow": ToyTranslator(before=lambda: time.sleep(0.2))})
    found: list[tuple[int, Any]] = []
    one = threading.Thread(target=lambda: found.append(send(server, TRANSLATIONS, wav(WORDS), policy="offline")))
    one.start()
    until = time.monotonic() + 10
    while not server.health()["clients"]:
        assert time.monotonic() < until
    server.stop()
    one.join(10)
    assert found[0][0] in (200, 503)
