"""The official `openai` client pointed at a live server."""

import base64
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from simulst.live.access import Access
from simulst.testing import ToyTranslator, toy_text

openai: Any = pytest.importorskip("openai")
WORDS = [3, 14, 15, 0, 9, 26, 30, 0, 0, 5, 35, 8, 9, 10, 7, 9, 0, 21, 22, 23, 24, 20, 1, 2]
FRAME = 4_800
"""Samples of 200 ms at 24 kHz."""
Pcm = Callable[[list[int]], bytes]
Wav = Callable[..., bytes]


@pytest.fixture
def client(serve: Callable[..., Any], scribe: ToyTranslator) -> Iterator[Any]:
    server = serve({"toy": ToyTranslator(), "scribe": scribe}, Access(token="geheim"))
    with openai.OpenAI(base_url=f"{server.address}/v1", api_key="geheim", max_retries=0) as one:
        yield one


def test_a_realtime_session(client: Any, pcm: Pcm) -> None:
    deltas: list[Any] = []
    with client.realtime.translations.connect(model="toy") as connection:
        connection.session.update(session={"audio": {"input": {"transcription": {"model": "toy"}}}})
        audio = pcm(WORDS)
        for start in range(0, len(audio), 2 * FRAME):
            piece = base64.b64encode(audio[start : start + 2 * FRAME]).decode()
            connection.session.input_audio_buffer.append(audio=piece)
        connection.session.close()
        for event in connection:
            assert event.type != "error", event
            deltas.append(event)
            if event.type == "session.closed":
                break
    kinds = [event.type for event in deltas]
    assert kinds[:2] == ["session.created", "session.updated"]
    assert deltas[1].session.model == "toy" and deltas[1].session.audio.input.transcription.model == "toy"
    output = [event for event in deltas if event.type == "session.output_transcript.delta"]
    assert "".join(event.delta for event in output) == toy_text(WORDS)
    assert all(isinstance(event.elapsed_ms, int) for event in output)
    heard = "".join(event.delta for event in deltas if event.type == "session.input_transcript.delta")
    assert heard.split() == [f"s{word}" for word in WORDS if word]


def test_a_recording_in_every_format(client: Any, wav: Wav) -> None:
    recording = ("talk.wav", wav(WORDS))
    create = client.audio.translations.create
    assert create(model="toy", file=recording).text == toy_text(WORDS)
    assert create(model="toy", file=recording, response_format="text").strip() == toy_text(WORDS)
    assert create(model="toy", file=recording, response_format="srt").startswith("1\n00:00:")
    assert create(model="toy", file=recording, response_format="vtt").startswith("WEBVTT")
    verbose = create(model="toy", file=recording, response_format="verbose_json")
    assert verbose.duration == pytest.approx(0.32 * len(WORDS)) and verbose.segments[0].text


def test_a_transcription_as_a_stream(client: Any, wav: Wav) -> None:
    events = list(client.audio.transcriptions.create(model="scribe", file=("a.wav", wav(WORDS)), stream=True))
    assert "".join(event.delta for event in events[:-1]) == events[-1].text == toy_text(WORDS)
    words = client.audio.transcriptions.create(
        model="scribe", file=("a.wav", wav(WORDS)), response_format="verbose_json", timestamp_granularities=["word"]
    ).words
    assert " ".join(word.word for word in words) == toy_text(WORDS)


def test_models(client: Any) -> None:
    assert [model.id for model in client.models.list()] == ["toy", "scribe"]
    assert client.models.retrieve("scribe").object == "model"


def test_errors_are_those_of_the_client(client: Any, wav: Wav) -> None:
    with pytest.raises(openai.NotFoundError, match="This server has no model 'gpt'; it has toy, scribe"):
        client.audio.translations.create(model="gpt", file=("a.wav", wav([3])))
    with pytest.raises(openai.BadRequestError, match="There is no transcripts here; toy does"):
        client.audio.transcriptions.create(model="toy", file=("a.wav", wav([3])))
    with pytest.raises(openai.AuthenticationError):
        client.with_options(api_key="wrong").models.list()
    with client.realtime.translations.connect(model="gpt") as connection:
        error = connection.recv()
    assert (error.type, error.error.code) == ("error", "model_not_found")
