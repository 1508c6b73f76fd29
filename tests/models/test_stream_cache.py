"""Caches of one stream: eviction without computing anything again, in the cache itself and in a session."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from simulst.core.translator import Evidence, FloatArray, Query
from simulst.models import load_model
from simulst.models.speech_llm.cache import DirectForward, StreamCache
from simulst.models.speech_llm.contexts import BatchContext, StoredRow
from simulst.models.speech_llm.grouped import GroupedContext
from simulst.models.speech_llm.rotary import Rotary
from simulst.models.speech_llm.self_attention import SelfAttention
from simulst.models.speech_llm.translator import SpeechLLMTranslator
from simulst.testing.speech_llm import make_tiny_speech_llm

WANT = frozenset({Evidence.ALIGNMENT, Evidence.LOGPROBS})
SIZES = {
    "vocab_size": 60,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
}


@pytest.fixture(scope="module", params=["llama", "qwen2", "qwen3"])
def decoder(request: pytest.FixtureRequest) -> Any:
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    config = AutoConfig.for_model(request.param, **SIZES)
    return AutoModelForCausalLM.from_config(config, attn_implementation="sdpa").eval().requires_grad_(False)


def new_cache(decoder: Any) -> StreamCache:
    attention = SelfAttention(decoder, [(0, 0)])
    return StreamCache(DirectForward(decoder, attention.recording), 2, rotary=Rotary.of(decoder))


def embeds(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 32, generator=torch.Generator().manual_seed(seed))


def test_survivors_have_the_first_layer_of_a_fresh_forward(decoder: Any) -> None:
    cache, fresh, x = new_cache(decoder), new_cache(decoder), embeds(40)
    cache.extend(x)
    survivors = [0, *range(13, 40)]
    cache.keep(survivors)
    fresh.extend(x[survivors])
    assert cache.positions == fresh.positions == list(range(28))
    assert cache.layers[0].keys.sub(fresh.layers[0].keys).abs().max() < 1e-5
    assert torch.equal(cache.layers[0].values, fresh.layers[0].values)
    new = embeds(3, 1)
    cache.extend(new)
    fresh.extend(new)
    assert cache.layers[0].keys.sub(fresh.layers[0].keys).abs().max() < 1e-5


def test_a_hundred_evictions_do_not_blur_the_keys(decoder: Any) -> None:
    cache, fresh, x = new_cache(decoder), new_cache(decoder), embeds(230)
    cache.extend(x[:30])
    for at in range(30, 230, 2):
        cache.keep([0, *range(3, 30)])
        cache.extend(x[at : at + 2])
    fresh.extend(torch.cat((x[:1], x[-29:])))
    assert cache.positions == list(range(30))
    assert cache.layers[0].keys.sub(fresh.layers[0].keys).abs().max() < 1e-5


def test_evictions_in_bfloat16_stay_within_its_rounding() -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    config = AutoConfig.for_model("llama", **SIZES)
    decoder = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa").eval().to(torch.bfloat16)
    cache, fresh, x = new_cache(decoder), new_cache(decoder), embeds(60).bfloat16()
    cache.extend(x[:20])
    for at in range(20, 60, 4):
        cache.keep([0, *range(5, 20)])
        cache.extend(x[at : at + 4])
    fresh.extend(torch.cat((x[:1], x[-19:])))
    scale = fresh.layers[0].keys.abs().max()
    assert cache.layers[0].keys.sub(fresh.layers[0].keys).abs().max() < 0.02 * scale


def test_taking_and_putting_are_exact(decoder: Any) -> None:
    cache, x = new_cache(decoder), embeds(12)
    cache.extend(x)
    whole = [layer.keys.clone() for layer in cache.layers]
    held = cache.take(7)
    assert len(cache) == 7
    cache.put(held)
    cache.extend(embeds(5, 3))
    cache.crop(12)
    assert cache.positions == list(range(12))
    for before, layer in zip(whole, cache.layers, strict=True):
        assert torch.equal(before, layer.keys)


def test_rows_follow_the_source_and_are_empty_once_their_peak_is_gone() -> None:
    row = StoredRow(first=10, weights=np.array([[0.1, 0.6, 0.2]], dtype=np.float32))
    assert row.over(10, 5).tolist() == pytest.approx(np.array([[0.1, 0.6, 0.2, 0, 0]], dtype=np.float32))
    assert row.over(11, 2).tolist() == pytest.approx(np.array([[0.6, 0.2]], dtype=np.float32))
    assert row.over(12, 3).any() == np.False_
    assert row.over(50, 3).any() == np.False_


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_speech_llm(tmp_path_factory.mktemp("models") / "tiny")


def load(folder: Path, **options: Any) -> SpeechLLMTranslator:
    model = load_model(folder, **options)
    assert isinstance(model, SpeechLLMTranslator)
    return model


def noise(seconds: float, seed: int = 0) -> FloatArray:
    rng = np.random.default_rng(seed)
    return (0.1 * rng.standard_normal(int(16_000 * seconds))).astype(np.float32)


def test_a_trim_evicts_without_feeding_speech_again(folder: Path) -> None:
    model = load(folder, cache="evict")
    session, rebuilt = model.open(), load(folder).open()
    for one in (session, rebuilt):
        one.extend_source(noise(6.0), is_final=True)
        one.hypothesise([20, 21], Query(max_new=3))
        one.drop_source(3.0)
    before = session.tally.positions
    found = session.hypothesise([20, 21], Query(max_new=3, want=WANT))[0]
    expected = rebuilt.hypothesise([20, 21], Query(max_new=3, want=WANT))[0]
    assert session.tally.positions - before <= 1 + 2 + 2  # mark, prefix and new tokens, no vector
    kept = len(session._hearing.vectors)
    assert found.alignment is not None and expected.alignment is not None
    assert found.alignment.weights.shape[1] == expected.alignment.weights.shape[1] == kept
    assert found.alignment.start_s == expected.alignment.start_s
    caches = [one._context.cache for one in (session, rebuilt) if isinstance(one._context, BatchContext)]
    a, b = (cache.layers[0].keys for cache in caches)
    assert a.shape[2] == 1 + kept
    assert a.sub(b).abs().max() < 1e-5


def test_grouped_sessions_feed_every_vector_and_token_once(folder: Path) -> None:
    session = load(folder, positions="grouped", no_repeat_ngram=0).open()
    prefix: tuple[int, ...] = ()
    vectors = 0
    for step in range(6):
        session.extend_source(noise(0.9, step), is_final=step == 5)
        before = session.tally.positions
        found = session.hypothesise(prefix, Query(max_new=4, want=WANT))[0]
        new_vectors, vectors = len(session._hearing.vectors) - vectors, len(session._hearing.vectors)
        begin = 1 if vectors == new_vectors else 0  # <sp>
        assert session.tally.positions - before <= begin + new_vectors + 1 + max(0, len(found.ids) - 1)
        assert found.alignment is not None
        assert found.alignment.weights.shape == (len(prefix) + len(found.ids), vectors)
        prefix += found.ids[:2]
    assert session.tally.positions < 1 + vectors + 6 * 5


@pytest.mark.parametrize("cache", ["rebuild", "evict"])
def test_grouped_sessions_equal_one_forward_with_the_training_mask(folder: Path, cache: str) -> None:
    from simulst.training.grouped import positions, visibility

    model = load(folder, positions="grouped", cache=cache, no_repeat_ngram=0)
    session, prefix, seen = model.open(), list[int](), [0]
    for step in range(4):
        session.extend_source(noise(1.1, step), is_final=step == 3)
        found = session.hypothesise(prefix, Query(max_new=5, want=WANT))[0]
        seen[-1] = 1 + len(session._hearing.vectors)
        new = list(found.ids[:3])
        seen += [seen[-1]] * len(new)
        prefix += new
    last = session.hypothesise(prefix, Query(max_new=4, want=WANT))[0]
    seen += [seen[-1]] * (len(last.ids) - 1)
    llm, count = model.weights.model, 1 + len(session._hearing.vectors)
    source = torch.cat((llm.embeddings[[model.weights.speech_mark]], session._hearing.vectors))
    target = llm.embeddings[[model.weights.target_mark, *prefix, *last.ids[:-1]]]
    with torch.no_grad():
        logits = llm.decoder(
            inputs_embeds=torch.cat((source, target))[None],
            attention_mask=visibility(count, seen)[None, None],
            position_ids=positions(count, len(target))[None],
        ).logits[0, count + len(prefix) :]
    logprobs = logits.masked_fill(model.weights.suppress, -torch.inf).log_softmax(-1)
    assert last.ids == tuple(logprobs.argmax(-1).tolist())
    np.testing.assert_allclose(np.array(last.logprobs), logprobs.max(-1).values.numpy(), atol=1e-4)


@pytest.mark.parametrize("cache", ["rebuild", "evict"])
def test_grouped_sessions_go_on_after_trims(folder: Path, cache: str) -> None:
    session = load(folder, positions="grouped", cache=cache).open()
    session.extend_source(noise(4.0))
    prefix = list(session.hypothesise([], Query(max_new=6, want=WANT))[0].ids[:4])
    session.drop_target(2)
    session.drop_source(1.5)
    for seed in (5, 6):
        found = session.hypothesise(prefix[2:], Query(max_new=4, want=WANT))[0]
        assert found.alignment is not None
        assert found.alignment.history == 2
        assert found.alignment.start_s == session.start_s == pytest.approx(15 * 0.096)
        assert len(found.ids) == 4
        session.extend_source(noise(1.0, seed))
        session.hypothesise([*prefix[2:], 30], Query(max_new=2))
    context = session._context
    assert isinstance(context, GroupedContext)
    grouped = context.grouped
    assert grouped.cache.positions[: grouped.source] == list(range(grouped.source))


def test_grouped_beams_and_samples(folder: Path) -> None:
    session = load(folder, positions="grouped").open()
    session.extend_source(noise(3.0), is_final=True)
    beams = session.hypothesise([], Query(max_new=5, n_best=3, want=WANT))
    assert len(beams) == 3
    assert beams[0].score >= beams[1].score >= beams[2].score
    again = session.hypothesise([], Query(max_new=5, n_best=3, want=WANT))
    assert [one.ids for one in again] == [one.ids for one in beams]
    drawn = [
        [one.ids for one in session.hypothesise([], Query(max_new=5, n_best=3, sample=True, seed=s))] for s in (1, 1, 2)
    ]
    assert drawn[0] == drawn[1] != drawn[2]
