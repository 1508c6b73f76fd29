from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from simulst import load_model
from simulst.core.source import FloatArray
from simulst.models.seq2seq.translator import Seq2SeqTranslator
from simulst.models.speech_llm.translator import SpeechLLMTranslator
from simulst.testing.checkpoints import (
    tiny_canary,
    tiny_moonshine,
    tiny_moonshine_streaming,
    tiny_seamless,
    tiny_speech2text,
    tiny_whisper,
)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def whisper_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_whisper(tmp_path_factory.mktemp("models") / "tiny-whisper")


@pytest.fixture(scope="session")
def moonshine_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_moonshine(tmp_path_factory.mktemp("models") / "tiny-moonshine")


@pytest.fixture(scope="session")
def moonshine_streaming_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_moonshine_streaming(tmp_path_factory.mktemp("models") / "tiny-moonshine-streaming")


@pytest.fixture(scope="session")
def seamless_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_seamless(tmp_path_factory.mktemp("models") / "tiny-seamless")


@pytest.fixture(scope="session")
def speech2text_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_speech2text(tmp_path_factory.mktemp("models") / "tiny-speech2text")


@pytest.fixture(scope="session")
def turbo_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_whisper(tmp_path_factory.mktemp("models") / "tiny-turbo", turbo=True)


@pytest.fixture(scope="session")
def canary_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_canary(tmp_path_factory.mktemp("models") / "tiny-canary")


OPTIONS: dict[str, dict[str, Any]] = {
    "whisper": {"source": "de", "no_speech": 1, "min_source_s": 0},
    "turbo": {"source": "de", "no_speech": 1, "min_source_s": 0},
    "canary": {"target": "de"},
    "moonshine": {},
    "seamless": {"target": "de"},
    "speech2text": {},
}
STREAMING: dict[str, dict[str, Any]] = {"moonshine_streaming": {}}
"""Whose encoder does not begin again."""


@pytest.fixture(scope="session", params=[*OPTIONS, *STREAMING])
def tiny(request: pytest.FixtureRequest) -> Seq2SeqTranslator:
    """A tiny model of every architecture, attention unfiltered, no minimum of audio."""
    return _loaded(request)


@pytest.fixture(scope="session", params=list(OPTIONS))
def reencoding(request: pytest.FixtureRequest) -> Seq2SeqTranslator:
    """Those that encode a window of audio again."""
    return _loaded(request)


def _loaded(request: pytest.FixtureRequest) -> Seq2SeqTranslator:
    directory = request.getfixturevalue(f"{request.param}_dir")
    model = load_model(directory, median_s=0, no_repeat_ngram=0, **(OPTIONS | STREAMING)[request.param])
    assert isinstance(model, Seq2SeqTranslator)
    return model


@pytest.fixture(scope="session")
def noise() -> FloatArray:
    """Four seconds of noise whose level changes, so that frames differ."""
    generator = np.random.default_rng(7)
    level = np.repeat(generator.uniform(0.01, 0.5, 40), 1600)
    return (generator.normal(0, 0.3, 64_000) * level).astype(np.float32)


@pytest.fixture(scope="module")
def model() -> SpeechLLMTranslator:
    """The embedded weights."""
    loaded = load_model("tiny-en-de")
    assert isinstance(loaded, SpeechLLMTranslator)
    return loaded
