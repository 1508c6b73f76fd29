"""Several streams in one forward say what each says alone."""

import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from simulst.core.translator import FloatArray, Translator
from simulst.errors import ModelError
from simulst.models import load_model
from simulst.models.speech_llm.batching import Batcher
from simulst.models.speech_llm.encoder_batch import Push, step_many
from simulst.models.speech_llm.translator import SpeechLLMTranslator
from simulst.testing import ToyTranslator
from simulst.testing.noise import noise, speak
from simulst.testing.speech_llm import make_tiny_speech_llm

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_speech_llm(tmp_path_factory.mktemp("models") / "tiny")


def load(folder: Path, **options: Any) -> SpeechLLMTranslator:
    model = load_model(folder, **options)
    assert isinstance(model, SpeechLLMTranslator)
    return model


RECORDINGS = [noise(seconds, seed) for seed, seconds in enumerate((3.1, 0.7, 5.0, 2.2, 4.4))]


@pytest.mark.parametrize(
    ("policy", "options"),
    [
        ("wait_k-3", {}),
        ("stream_att-f4", {"cache": "evict"}),
        ("gpe_wait_k-3", {"positions": "grouped"}),
        ("infinite-1", {"cache": "evict"}),
    ],
)
def test_streams_of_different_length_say_what_they_say_alone(
    folder: Path, policy: str, options: dict[str, str]
) -> None:
    model = load(folder, **options)
    alone = [speak(model, policy, audio) for audio in RECORDINGS]
    batcher = Batcher(model, streams=3)
    together = batcher.map(lambda one, audio: speak(one, policy, audio), RECORDINGS)
    assert together == alone
    assert any(alone)
    assert batcher.stats.forwards < batcher.stats.requests


def test_half_precision_streams_run_together(folder: Path) -> None:
    model = load_model(folder, dtype="bfloat16")
    batcher = Batcher(model, streams=3)
    texts = batcher.map(lambda one, audio: speak(one, "stream_att-f4", audio), RECORDINGS[:3])
    assert all(texts)


def test_rows_are_used_again(folder: Path) -> None:
    batcher = Batcher(load(folder), streams=2)
    batcher.map(lambda one, audio: speak(one, "wait_k-3", audio), RECORDINGS * 2)
    assert batcher._slab.rows <= 4


@pytest.mark.parametrize("samples", [(16_000, 40_000, 0, 23_500), (30_000, 30_000)])
def test_the_encoder_gives_every_stream_its_own_frames(folder: Path, samples: tuple[int, ...]) -> None:
    encoder = load(folder).weights.model.encoder
    alone, together = ([encoder.open() for _ in samples] for _ in range(2))
    with torch.inference_mode():
        for round_number in range(4):
            pieces = [torch.from_numpy(noise(n / 16_000, 10 * round_number + i)) for i, n in enumerate(samples)]
            final = round_number == 3
            expected = [encoder.step(x, state, is_final=final) for x, state in zip(pieces, alone, strict=True)]
            found = step_many(
                encoder,
                [Push(samples=x, state=state, is_final=final) for x, state in zip(pieces, together, strict=True)],
            )
            for a, b in zip(expected, found, strict=True):
                assert a.shape == b.shape
                assert not len(a) or a.sub(b).abs().max() < 1e-4
    for one, other in zip(alone, together, strict=True):
        assert one.frames == other.frames
        assert [held.shape for held in (one.samples, *one.keys)] == [
            held.shape for held in (other.samples, *other.keys)
        ]


def test_an_error_in_one_job_ends_the_run_and_is_raised(folder: Path) -> None:
    def job(model: Translator, audio: FloatArray) -> str:
        if len(audio) == len(RECORDINGS[1]):
            raise ValueError("this one")
        return speak(model, "wait_k-3", audio)

    batcher = Batcher(load(folder), streams=3)
    with pytest.raises(ValueError, match="this one"):
        batcher.map(job, RECORDINGS)


def test_servers_wait_only_so_long_for_others(folder: Path) -> None:
    """Two threads are inside, but one of them never asks: the other goes ahead."""
    model = load(folder)
    alone = speak(model, "wait_k-3", RECORDINGS[0])
    texts, ready, over = list[str](), threading.Event(), threading.Event()
    batcher = Batcher(model, streams=2, wait_s=0.001)

    def idle() -> None:
        with batcher.stream():
            ready.set()
            over.wait(60)

    other = threading.Thread(target=idle)
    other.start()
    ready.wait(60)
    with batcher.stream() as translator:
        texts.append(speak(translator, "wait_k-3", RECORDINGS[0]))
    over.set()
    other.join()
    texts.append(speak(batcher.translator, "wait_k-3", RECORDINGS[0]))  # outside a stream: at once
    assert texts == [alone, alone]


def test_models_that_cannot_are_refused(folder: Path) -> None:
    with pytest.raises(ModelError, match="Model toy cannot decode several streams together; only speech LLMs can"):
        Batcher(ToyTranslator(), streams=2)
    with pytest.raises(ModelError, match="A batch has at least one stream, not 0"):
        Batcher(load(folder), streams=0)
