"""Layers with int8 weights, and a speech LLM whose layers they are."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from simulst.core.query import Query
from simulst.core.translator import Evidence, FloatArray
from simulst.errors import ModelError
from simulst.models import int8, load_model
from simulst.models.int8 import Int8Conv1d, Int8Linear
from simulst.models.speech_llm.batching import Batcher
from simulst.models.speech_llm.translator import SpeechLLMTranslator
from simulst.testing.audio_checkpoints import (
    tiny_granite_speech,
    tiny_phi4_multimodal,
    tiny_qwen2_audio,
    tiny_voxtral,
)
from simulst.testing.speech_llm import make_tiny_speech_llm
from simulst.testing.text_checkpoints import tiny_causal

pytestmark = pytest.mark.skipif(not int8.available(), reason="this torch has no int8 kernels for this processor")


def cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(nn.functional.cosine_similarity(a.flatten(), b.flatten(), dim=0))


@pytest.mark.parametrize("shape", [(1, 64), (7, 64), (2, 5, 64), (0, 64)])
@pytest.mark.parametrize("bias", [True, False])
def test_it_is_nearly_the_linear_layer(shape: tuple[int, ...], bias: bool) -> None:
    torch.manual_seed(0)
    layer, x = nn.Linear(64, 48, bias=bias), torch.randn(shape)
    expected = layer(x).detach()
    with torch.inference_mode():
        found = Int8Linear(layer.weight, layer.bias)(x)
    assert found.shape == expected.shape
    assert not found.numel() or cosine(found, expected) > 0.9998


def test_a_row_is_the_same_to_the_bit_whatever_is_computed_with_it() -> None:
    """Streams that are decoded together must not meet in the scale that their inputs are rounded by."""
    torch.manual_seed(0)
    layer, quiet, loud = Int8Linear(torch.randn(48, 64)), torch.randn(4, 64), 1000 * torch.randn(9, 64)
    with torch.inference_mode():
        alone, together = layer(quiet), layer(torch.cat((loud, quiet)))[9:]
    assert torch.equal(alone, together)


def test_rows_of_nothing_stay_nothing() -> None:
    layer = Int8Linear(torch.randn(8, 16), torch.ones(8))
    with torch.inference_mode():
        assert torch.equal(layer(torch.zeros(3, 16)), torch.ones(3, 8))
        assert torch.equal(layer(torch.zeros(1, 16)), torch.ones(1, 8))


def test_the_convolution() -> None:
    torch.manual_seed(0)
    conv, x = nn.Conv1d(12, 20, 7, stride=3), torch.randn(2, 12, 61)
    expected = conv(x).detach()
    with torch.inference_mode():
        found = Int8Conv1d(conv)(x)
    assert found.shape == expected.shape
    assert cosine(found, expected) > 0.9998


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_speech_llm(tmp_path_factory.mktemp("int8") / "model")


def load(folder: Path, **options: str) -> SpeechLLMTranslator:
    model = load_model(folder, dtype="int8", **options)
    assert isinstance(model, SpeechLLMTranslator)
    return model


def test_a_model_computes_with_it_and_keeps_no_other_copy(folder: Path) -> None:
    short, usual = load(folder).weights.model, load_model(folder)
    assert isinstance(usual, SpeechLLMTranslator)
    layers = {name for name, module in short.named_modules() if isinstance(module, Int8Linear)}
    assert {"decoder.lm_head", "decoder.model.layers.0.self_attn.q_proj", "projector.inner"} <= layers
    assert "encoder.conv2.linear" in layers
    left = sum(parameter.numel() for parameter in short.decoder.parameters())
    whole = sum(parameter.numel() for parameter in usual.weights.model.decoder.parameters())
    assert left < 0.6 * whole  # embeddings and norms


def test_it_hears_in_pieces_what_it_hears_at_once(folder: Path) -> None:
    audio = np.random.default_rng(0).normal(0, 0.1, 50_000).astype(np.float32)
    model = load(folder)
    whole, pieces = model.open(), model.open()
    whole.extend_source(audio, is_final=True)
    for at in range(0, len(audio), 7_000):
        pieces.extend_source(audio[at : at + 7_000], is_final=at + 7_000 >= len(audio))
    want = frozenset({Evidence.LOGPROBS})
    (one,), (other,) = (s.hypothesise([], Query(max_new=8, want=want)) for s in (whole, pieces))
    assert torch.equal(whole._hearing.vectors, pieces._hearing.vectors)
    assert one.ids == other.ids and one.logprobs == other.logprobs


def test_streams_together_say_what_they_say_alone(folder: Path) -> None:
    rng = np.random.default_rng(0)
    recordings = [(loud * rng.normal(0, 0.1, 40_000)).astype(np.float32) for loud in (1.0, 0.01, 5.0)]

    def translate(translator: object, audio: FloatArray) -> tuple[int, ...]:
        assert isinstance(translator, SpeechLLMTranslator)
        session = translator.open()
        session.extend_source(audio, is_final=True)
        return session.hypothesise([], Query(max_new=6))[0].ids

    model = load(folder)
    alone = [translate(model, audio) for audio in recordings]
    assert Batcher(model, streams=3).map(translate, recordings) == alone
    assert len(set(alone)) > 1


def test_beams_rows_and_marks_too(folder: Path) -> None:
    session = load(folder, beams="3").open()
    session.extend_source(np.random.default_rng(1).normal(0, 0.1, 40_000).astype(np.float32), is_final=True)
    (best,) = session.hypothesise([5], Query(max_new=5, want=frozenset({Evidence.ALIGNMENT})))
    assert best.alignment is not None and np.isfinite(best.alignment.weights).all()


def test_only_where_there_are_kernels(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(int8, "available", lambda: False)
    with pytest.raises(ModelError, match=r"^This torch has no int8 kernels for this processor; use dtype=float32\.$"):
        load_model(folder, dtype="int8")


@pytest.mark.slow
@pytest.mark.parametrize("make", [tiny_qwen2_audio, tiny_voxtral, tiny_granite_speech, tiny_phi4_multimodal])
def test_a_speech_llm_of_the_hub_says_nearly_the_same(make: Callable[[Path], Path], tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    audio, scores = (0.1 * rng.standard_normal(32_000)).astype(np.float32), []
    for dtype in (None, "int8"):
        model: Any = load_model(make(tmp_path / "model"), dtype=dtype)
        assert isinstance(model.scorer, Int8Linear) == (dtype == "int8")
        assert isinstance(model.decoder.layers[0].mlp.down_proj, Int8Linear) == (dtype == "int8")
        session = model.open()
        session.extend_source(audio)
        window = session._encoded()
        step, _ = session._run(window, rows=True, every_head=False).start(session._prompt(window), (40, 50))
        scores.append(step.logits[0])
    assert cosine(*scores) > 0.99 and not torch.equal(*scores)


def test_causal_models_take_it(tmp_path: Path) -> None:
    scores = []
    causal = tiny_causal(tmp_path / "causal")
    for dtype in ("float32", "int8"):
        model: Any = load_model(causal, dtype=dtype)
        run, prompt = model.run("the cat sat", rows=False, every_head=False)
        scores.append(run.start(prompt, ())[0].logits[0])
    assert cosine(*scores) > 0.99 and not torch.equal(*scores)


def test_weights_that_another_package_unpacks_are_a_sentence(tmp_path: Path) -> None:
    directory = tiny_causal(tmp_path / "packed")
    config = json.loads((directory / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "gptq", "bits": 4}
    (directory / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=r"packed need a package that is not installed: .*optimum"):
        load_model(directory)
