"""The decoder written out gives what the model of transformers gives."""

import random
from pathlib import Path
from typing import Any

import pytest
import torch

from simulst.models import load_model
from simulst.models.speech_llm.cache import DirectForward, StreamCache
from simulst.models.speech_llm.output import OutputLayer
from simulst.models.speech_llm.rotary import KEPT_TURNS, Rotary
from simulst.models.speech_llm.self_attention import SelfAttention
from simulst.models.speech_llm.translator import SpeechLLMTranslator
from simulst.models.speech_llm.written import WrittenForward, written_out
from simulst.testing.speech_llm import make_tiny_speech_llm

SIZES = {
    "vocab_size": 60,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
}


def made(kind: str, dtype: torch.dtype = torch.float32, *, sizes: dict[str, Any] | None = None) -> Any:
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **(SIZES | (sizes or {})))
    model = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa")
    for parameter in model.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))  # norms and biases that are not those of the start
    return model.to(dtype).eval().requires_grad_(False)


@pytest.mark.parametrize("kind", ["llama", "qwen2", "mistral"])
@pytest.mark.parametrize(("dtype", "close"), [(torch.float32, 1e-5), (torch.bfloat16, 5e-2)])
def test_random_forwards(kind: str, dtype: torch.dtype, close: float) -> None:
    decoder = made(kind, dtype, sizes={"sliding_window": None} if kind == "mistral" else {})
    attention, rotary, rng = SelfAttention(decoder, [(0, 0)]), Rotary.of(decoder), random.Random(0)
    written = written_out(decoder)
    assert written is not None
    forwards = DirectForward(decoder, attention.recording), WrittenForward(written, OutputLayer.of(decoder))
    caches = [StreamCache(forward, 3, rotary=rotary) for forward in forwards]
    for number in range(12):
        count = rng.choice((1, 1, 4, 30))
        first = rng.choice((len(caches[0]), 7, 1_500))
        positions = [first + 2 * i for i in range(count)] if number % 3 else range(first, first + count)
        embeds = torch.randn(count, 32).to(dtype)
        theirs, ours = (cache.extend(embeds, positions, record=True, score=True) for cache in caches)
        assert theirs.logits is not None and ours.logits is not None
        assert (ours.hidden - theirs.hidden).abs().max() < close * theirs.hidden.abs().max()
        assert (ours.logits - theirs.logits).abs().max() < close * theirs.logits.abs().max()
        for layer in range(3):
            assert ours.queries[layer].shape == theirs.queries[layer].shape
            assert (ours.queries[layer] - theirs.queries[layer]).abs().max() < 2 * close
        for cache in caches:
            if number % 5 == 4:
                cache.keep([0, *range(3, len(cache))])


@pytest.mark.parametrize(("kind", "sizes"), [("qwen3", {}), ("mistral", {"sliding_window": 4096}), ("gpt2", {})])
def test_other_decoders_are_left_to_transformers(kind: str, sizes: dict[str, object]) -> None:
    assert written_out(made(kind, sizes=sizes)) is None


def test_weights_are_shared() -> None:
    decoder = made("llama")
    before = sum(parameter.numel() for parameter in decoder.parameters())
    written = written_out(decoder)
    assert written is not None
    both = [*decoder.parameters(), *written.parameters()]
    storages = {parameter.untyped_storage().data_ptr(): parameter.untyped_storage().nbytes() for parameter in both}
    assert sum(storages.values()) == 4 * before


def test_positions_beyond_the_table() -> None:
    written = written_out(made("llama"))
    assert written is not None
    like = torch.zeros(1, 32)
    far = written.turns([KEPT_TURNS + 5], like)
    near = written.turns([KEPT_TURNS - 1], like)
    assert far[0].shape == near[0].shape == (1, 1, 8)
    angle = torch.tensor(float(KEPT_TURNS + 5))
    assert torch.allclose(far[0][0, 0, 0], angle.cos(), atol=1e-3)


def test_the_model_uses_it(tmp_path: Path) -> None:
    model = load_model(make_tiny_speech_llm(tmp_path / "model"))
    assert isinstance(model, SpeechLLMTranslator)
    assert model.open()._new_context().cache.forward.__class__ is WrittenForward  # type: ignore[attr-defined]
