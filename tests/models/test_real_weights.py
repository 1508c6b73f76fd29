"""Whisper base and Moonshine tiny as published, on spoken sentences: streaming text must make sense."""

import os
from pathlib import Path

import numpy as np
import pytest

from simulst import Session, load_model, load_policy
from simulst.audio.files import read_audio
from simulst.core.events import WriteEvent
from simulst.core.source import FloatArray
from simulst.core.translator import Evidence, Query, Translator

pytestmark = pytest.mark.real
DATA = Path(__file__).parents[1] / "data"
WEIGHTS = Path(os.environ.get("SIMULST_WEIGHTS", "~/.cache/simulst/weights")).expanduser()


def real(name: str, **options: str) -> Translator:
    if not (WEIGHTS / name / "config.json").is_file():
        pytest.skip(f"{WEIGHTS / name} is absent")
    return load_model(WEIGHTS / name, **options)


@pytest.fixture(scope="module")
def whisper() -> Translator:
    return real("whisper-base", source="de")


@pytest.fixture(scope="module")
def moonshine() -> Translator:
    return real("moonshine-tiny")


def streamed(model: Translator, samples: FloatArray) -> tuple[str, list[WriteEvent]]:
    session = Session(model, load_policy("stream_att"), chunk_ms=1000)
    events = [event for at in range(0, len(samples), 4_000) for event in session.feed(samples[at : at + 4_000])]
    events += session.finish()
    return session.text, [event for event in events if isinstance(event, WriteEvent)]


def words(text: str) -> list[str]:
    return "".join(character if character.isalnum() else " " for character in text.lower()).split()


def test_whisper_translates_german_speech_while_it_is_spoken(whisper: Translator) -> None:
    samples = read_audio(DATA / "two_sentences_de.ogg")
    text, writes = streamed(whisper, samples)
    assert {"weather", "children", "park", "many", "people", "work"} <= set(words(text))
    assert len(words(text)) <= 40
    early = [event for event in writes if event.audio_s <= 6]
    assert "weather" in "".join(event.text for event in early)
    times = [event.start_s for event in writes if event.start_s is not None]
    assert len(times) == len(writes) and all(0 <= time <= len(samples) / 16_000 for time in times)


def test_whisper_hears_the_language_itself_and_transcribes() -> None:
    session = real("whisper-base").open()
    session.extend_source(read_audio(DATA / "two_sentences_de.ogg"), is_final=True)
    translated = session.hypothesise(())[0].ids
    assert session.transcript().startswith("Wenn das Wetter morgen schön ist, gehen wir mit den Kindern in den Park.")
    assert translated


def test_whisper_follows_the_audio_with_its_own_heads(whisper: Translator) -> None:
    session = whisper.open()
    session.extend_source(read_audio(DATA / "two_sentences_de.ogg"), is_final=True)
    found = session.hypothesise((), Query(want=frozenset({Evidence.ALIGNMENT})))[0]
    assert found.alignment is not None
    times = {
        whisper.vocabulary.decode([token]).strip(): frame * whisper.frame_s
        for token, frame in zip(found.ids, found.alignment.weights.argmax(axis=1), strict=True)
    }
    assert times["weather"] < 1.5 < times["children"] < 4.7 < times["people"] < times["work"] < 8.0


def test_whisper_says_nothing_about_silence(whisper: Translator) -> None:
    text, _ = streamed(whisper, np.zeros(10 * 16_000, dtype=np.float32))
    assert len(words(text)) <= 2


def test_moonshine_transcribes_while_it_listens(moonshine: Translator) -> None:
    text, writes = streamed(moonshine, read_audio(DATA / "two_sentences_en.ogg"))
    expected = words(
        "She opened the door and looked into the empty room. Many people in this city are looking for work."
    )
    same = [word for word in words(text) if word in expected]
    assert len(same) >= 17 and len(words(text)) <= 22  # of 19 words
    assert writes[0].audio_s <= 3
    assert text.startswith("She opened the door")
