"""A pack of streams at different places gives each what it gets alone: hidden states, scores, queries and cache."""

import random
from typing import Any

import pytest
import torch
from torch import Tensor

from simulst.models.speech_llm.batch_group import Pack, Request, prepare
from simulst.models.speech_llm.cache import DirectForward, Fed, StreamCache
from simulst.models.speech_llm.rotary import Rotary
from simulst.models.speech_llm.self_attention import SelfAttention
from simulst.models.speech_llm.slab import Slab

LAYERS = 2
SIZES = {
    "vocab_size": 60,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "tie_word_embeddings": True,
}


@pytest.fixture(scope="module", params=["llama", "qwen2", "qwen3"])
def decoder(request: pytest.FixtureRequest) -> Any:
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    config = AutoConfig.for_model(request.param, **SIZES)
    decoder = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa").eval().requires_grad_(False)
    for parameter in decoder.parameters():
        parameter.mul_(3.0)  # attention that is far from uniform
    return decoder


def embeds(count: int, seed: int) -> Tensor:
    return torch.randn(count, 32, generator=torch.Generator().manual_seed(seed))


def feed(decoder: Any, attention: SelfAttention, requests: list[Request], slab: Slab) -> list[Fed]:
    """One forward for all, in the order of the requests."""
    pack = Pack(requests, slab)
    with torch.inference_mode(), pack, attention.recording() as queries:
        hidden = decoder.model(**pack.inputs(LAYERS)).last_hidden_state[0]
    found = {}
    for index, request in enumerate(pack.order):
        assert request.cache is not None
        request.cache.appended(request.positions)
        part = slice(pack.start(index), pack.ends[index])
        found[id(request)] = Fed(hidden=hidden[part], queries={i: q[:, part] for i, q in queries.items()})
    return [found[id(request)] for request in requests]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_random_rounds_equal_every_stream_alone(decoder: Any, seed: int) -> None:
    """Streams join rounds at random, feed one or several entries at jumping positions, are cut, and evict."""
    prepare(decoder)
    attention, rotary, rng = SelfAttention(decoder, [(0, 0)]), Rotary.of(decoder), random.Random(seed)
    direct, slab = DirectForward(decoder, attention.recording), Slab(6)
    rows = rng.sample(range(6), 4)
    together = [StreamCache(direct, LAYERS, rotary=rotary, slab=slab, row=row) for row in rows]
    together.append(StreamCache(direct, LAYERS, rotary=rotary))  # a fork: in a slab of its own
    alone = [StreamCache(direct, LAYERS, rotary=rotary) for _ in together]
    singles = 0
    for number in range(14):
        chosen = rng.sample(range(5), rng.randint(2, 5))
        requests, expected = list[Request](), list[Fed]()
        for stream in chosen:
            count = rng.choice((1, 1, 1, 2, 5, 9))
            first = rng.randint(0, 40)
            x = embeds(count, 100 * number + stream)
            requests.append(Request(cache=together[stream], embeds=x, positions=range(first, first + count)))
            expected.append(direct(alone[stream], x, range(first, first + count), record=True, score=False))
        found = feed(decoder, attention, requests, slab)
        singles += len(Pack(requests, slab).ones)
        for one, other in zip(found, expected, strict=True):
            assert one.hidden.sub(other.hidden).abs().max() < 1e-4
            for layer in range(LAYERS):
                assert one.queries[layer].sub(other.queries[layer]).abs().max() < 1e-4
        if number % 4 == 3:
            changed = rng.randrange(5)
            for cache in (together[changed], alone[changed]):
                kept = range(len(cache) // 2)
                cache.keep([0, *kept[1:]] if kept else [])
    assert singles > 4
    for one_cache, other_cache in zip(together, alone, strict=True):
        assert one_cache.positions == other_cache.positions
        for a, b in zip(one_cache.layers, other_cache.layers, strict=True):
            assert a.length == b.length
            assert not a.length or a.keys.sub(b.keys).abs().max() < 1e-4


def test_a_decoder_outside_of_a_pack_is_as_before(decoder: Any) -> None:
    x = embeds(7, 1)[None]
    with torch.inference_mode():
        decoder.set_attn_implementation("sdpa")
        before = decoder.model(inputs_embeds=x).last_hidden_state
        prepare(decoder)
        assert torch.equal(decoder.model(inputs_embeds=x).last_hidden_state, before)
