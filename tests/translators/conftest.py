from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from simulst import load_model
from simulst.source import FloatArray
from simulst.testing.checkpoints import tiny_moonshine, tiny_whisper
from simulst.translators.seq2seq import Seq2SeqTranslator


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def whisper_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_whisper(tmp_path_factory.mktemp("models") / "tiny-whisper")


@pytest.fixture(scope="session")
def moonshine_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_moonshine(tmp_path_factory.mktemp("models") / "tiny-moonshine")


@pytest.fixture(scope="session", params=["whisper", "moonshine"])
def tiny(request: pytest.FixtureRequest, whisper_dir: Path, moonshine_dir: Path) -> Seq2SeqTranslator:
    """A tiny model of either architecture, attention unfiltered, no minimum of audio."""
    options: dict[str, Any] = {"source": "de", "no_speech": 1, "min_source_s": 0} if request.param == "whisper" else {}
    directory = whisper_dir if request.param == "whisper" else moonshine_dir
    model = load_model(directory, median_frames=1, no_repeat_ngram=0, **options)
    assert isinstance(model, Seq2SeqTranslator)
    return model


@pytest.fixture(scope="session")
def noise() -> FloatArray:
    """Four seconds of noise whose level changes, so that frames differ."""
    generator = np.random.default_rng(7)
    level = np.repeat(generator.uniform(0.01, 0.5, 40), 1600)
    return (generator.normal(0, 0.3, 64_000) * level).astype(np.float32)
