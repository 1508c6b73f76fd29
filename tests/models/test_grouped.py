"""Group positions: READ and WRITE one after the other give what one forward with the training mask gives."""

import random
from typing import Any

import pytest
import torch
from torch import Tensor

from simulst.errors import ModelError
from simulst.models.speech_llm.cache import DirectForward, StreamCache
from simulst.models.speech_llm.grouped import GroupedCache
from simulst.models.speech_llm.rotary import Rotary
from simulst.models.speech_llm.self_attention import SelfAttention
from simulst.training.grouped import positions, visibility, wait_k_words

SIZES = {
    "vocab_size": 60,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 512,
    "tie_word_embeddings": True,
}


def make(model_type: str, **changes: Any) -> Any:
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    config = AutoConfig.for_model(model_type, **(SIZES | changes))
    decoder = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa").eval().requires_grad_(False)
    for parameter in decoder.parameters():
        parameter.mul_(3.0)  # attention that is far from uniform
    return decoder


@pytest.fixture(scope="module", params=["llama", "qwen2", "qwen3"])
def decoder(request: pytest.FixtureRequest) -> Any:
    return make(request.param)


def new_cache(decoder: Any) -> StreamCache:
    attention = SelfAttention(decoder, [(0, 0)])
    forward = DirectForward(decoder, attention.recording)
    return StreamCache(forward, decoder.config.num_hidden_layers, rotary=Rotary.of(decoder))


def source_of(grouped: GroupedCache) -> list[int]:
    """Positions of the source entries."""
    return grouped.cache.positions[: grouped.source]


def target_of(grouped: GroupedCache) -> list[int]:
    return grouped.cache.positions[grouped.source :]


def embeds(count: int, seed: int) -> Tensor:
    return torch.randn(count, 32, generator=torch.Generator().manual_seed(seed))


def once(decoder: Any, source: Tensor, target: Tensor, visible: list[int], phi: int = 0) -> Tensor:
    """One forward over the whole sequence as in training; hidden states of the target rows."""
    allowed = visibility(len(source), visible)
    with torch.no_grad():
        hidden: Tensor = decoder.model(
            inputs_embeds=torch.cat((source, target))[None],
            attention_mask=allowed[None, None],
            position_ids=positions(len(source), len(target), phi=phi)[None],
            use_cache=False,
        ).last_hidden_state[0]
    return hidden[len(source) :]


@pytest.mark.parametrize("seed", range(4))
def test_random_schedules_equal_one_forward_with_the_training_mask(decoder: Any, seed: int) -> None:
    rng = random.Random(seed)
    source, target = embeds(23, seed), embeds(14, 100 + seed)
    grouped, visible, hidden = GroupedCache(new_cache(decoder)), list[int](), list[Tensor]()
    grouped.read(source[:3])
    while len(visible) < len(target):
        if grouped.source < len(source) and rng.random() < 0.5:
            grouped.read(source[grouped.source : grouped.source + rng.randint(1, 4)])
            if visible and rng.random() < 0.7:  # the last kept token is fed again and sees what came
                grouped.pop(1)
                hidden[-1] = grouped.write(target[grouped.target : grouped.target + 1]).hidden
                visible[-1] = grouped.source
        else:
            count = min(rng.randint(1, 3), len(target) - len(visible))
            dropped = rng.randint(0, 1)  # tokens of a word that was begun and given up leave no trace
            grouped.write(embeds(dropped, 7))
            grouped.pop(dropped)
            hidden += grouped.write(target[grouped.target : grouped.target + count]).hidden.unbind(0)
            visible += [grouped.source] * count
    grouped.read(source[grouped.source :])
    expected = once(decoder, source, target, visible)
    found = torch.stack([one.view(-1) for one in hidden])
    assert found.sub(expected).abs().max() < 1e-4
    assert decoder.lm_head(found).sub(decoder.lm_head(expected)).abs().max() < 1e-4
    assert source_of(grouped) == list(range(23))
    assert target_of(grouped) == list(range(14))


def test_a12_words_in_sight_of_every_row() -> None:
    words = 5 + 1  # five words and the end mark
    assert [wait_k_words(2, word, words) for word in (0, 1, 2, 3, 4, 5)] == [1, 2, 3, 4, 5, 6]


def test_a13_positions_of_prompt_words_header_and_word(decoder: Any) -> None:
    grouped = GroupedCache(new_cache(decoder))
    grouped.read(embeds(10, 0))
    grouped.read(embeds(4, 1))
    assert source_of(grouped)[10:] == [10, 11, 12, 13]
    grouped.write(embeds(3, 2))
    assert target_of(grouped) == [0, 1, 2]
    grouped.write(embeds(2, 3))
    assert target_of(grouped)[3:] == [3, 4]
    before = [layer.keys[:, :, 14:].clone() for layer in grouped.cache.layers]
    grouped.read(embeds(2, 4))
    assert source_of(grouped)[14:] == [14, 15]
    assert target_of(grouped) == [0, 1, 2, 3, 4]
    for layer, old in zip(grouped.cache.layers, before, strict=True):
        assert torch.equal(layer.keys[:, :, 16:], old)


def test_seven_words_of_two_tokens_and_three_tokens_written(decoder: Any) -> None:
    grouped = GroupedCache(new_cache(decoder))
    grouped.read(embeds(1, 0))
    for word in range(7):
        grouped.read(embeds(2, word))
    grouped.write(embeds(3, 9))
    assert source_of(grouped) == list(range(15))
    assert target_of(grouped) == [0, 1, 2]


def test_drop_and_refeed_leaves_the_target_length_as_it_was(decoder: Any) -> None:
    grouped = GroupedCache(new_cache(decoder))
    grouped.read(embeds(4, 0))
    word = embeds(3, 1)
    grouped.write(word)
    grouped.write(embeds(1, 2))  # opens the next word: dropped
    grouped.pop(2)
    grouped.read(embeds(2, 3))
    last = grouped.write(word[-1:]).hidden
    assert grouped.target == 3
    fresh = once(decoder, torch.cat((embeds(4, 0), embeds(2, 3))), word, [4, 4, 6])
    assert last[0].sub(fresh[-1]).abs().max() < 1e-4


def test_phi_of_the_source_length_is_the_stock_model(decoder: Any) -> None:
    source, target = embeds(6, 0), embeds(4, 1)
    grouped = GroupedCache(new_cache(decoder), phi=6)
    grouped.read(source)
    with torch.no_grad():
        stock = decoder.model(inputs_embeds=torch.cat((source, target))[None]).last_hidden_state[0, 6:]
    assert grouped.write(target).hidden.sub(stock).abs().max() < 1e-4


def test_jumping_positions_without_a_mask_are_the_trap_that_the_mask_avoids(decoder: Any) -> None:
    """Without mask and cache transformers takes a jump of the positions for the border of a packed sequence."""
    source, target = embeds(6, 0), embeds(4, 1)
    ids = positions(6, 4)[None]
    with torch.no_grad():
        packed = decoder.model(inputs_embeds=torch.cat((source, target))[None], position_ids=ids, use_cache=False)
    expected = once(decoder, source, target, [6, 6, 6, 6])
    assert packed.last_hidden_state[0, 6:].sub(expected).abs().max() > 0.05


def test_evicted_source_closes_up_and_the_target_stays(decoder: Any) -> None:
    source, target = embeds(9, 0), embeds(3, 1)
    grouped = GroupedCache(new_cache(decoder))
    grouped.read(source)
    grouped.write(target)
    before = [layer.keys[:, :, 9:].clone() for layer in grouped.cache.layers]
    grouped.evict_source(1, 5)
    assert (source_of(grouped), target_of(grouped)) == ([0, 1, 2, 3, 4], [0, 1, 2])
    for layer, old in zip(grouped.cache.layers, before, strict=True):
        assert torch.equal(layer.keys[:, :, 5:], old)
    grouped.evict_target(0, 1)
    assert (source_of(grouped), target_of(grouped)) == ([0, 1, 2, 3, 4], [0, 1])


def test_models_without_explicit_rotary_positions_are_refused() -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    gpt2 = GPT2LMHeadModel(GPT2Config(vocab_size=60, n_embd=32, n_layer=1, n_head=2))
    with pytest.raises(ModelError, match="The decoder gpt2 has no rotary positions; positions=grouped, cache=evict"):
        Rotary.of(gpt2)
    with pytest.raises(ModelError, match="depend on the length of the text"):
        Rotary.of(make("llama", rope_scaling={"rope_type": "dynamic", "factor": 2.0}))
    with pytest.raises(ModelError, match="attends within a sliding window of 16 entries"):
        Rotary.of(make("mistral", sliding_window=16))
    with pytest.raises(ModelError, match="turns its keys in a way of its own"):
        Rotary.of(make("cohere", head_dim=8))
