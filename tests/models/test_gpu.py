"""On a real GPU; skipped where there is none."""

from pathlib import Path

import numpy as np
import pytest
import torch

from simulst.core.session import Session
from simulst.models import load_model
from simulst.models.speech_llm.batching import Batcher
from simulst.models.speech_llm.cache import Tally
from simulst.models.speech_llm.static_step import StaticForward
from simulst.models.speech_llm.translator import SpeechLLMTranslator
from simulst.policies import load_policy
from simulst.testing.noise import speak
from simulst.testing.speech_llm import make_tiny_speech_llm

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")]


def load(folder: Path, device: str, dtype: str) -> SpeechLLMTranslator:
    model = load_model(folder, device=device, dtype=dtype)
    assert isinstance(model, SpeechLLMTranslator)
    return model


@pytest.mark.parametrize(("dtype", "close"), [("float32", 1e-3), ("bfloat16", 5e-2)])
def test_what_is_heard_is_that_of_the_cpu(tmp_path: Path, dtype: str, close: float) -> None:
    folder = make_tiny_speech_llm(tmp_path / "model")
    audio = np.random.default_rng(0).normal(0, 0.1, 80_000).astype(np.float32)
    vectors = []
    for device, numbers in (("cpu", "float32"), ("cuda", dtype)):
        session = load(folder, device, numbers).open()
        session.extend_source(audio, is_final=True)
        vectors.append(session._hearing.vectors.float().cpu())
    assert (vectors[0] - vectors[1]).abs().max() < close * vectors[0].abs().max()


@pytest.mark.parametrize("policy", ["stream_att", "wait_k", "read_write"])
def test_policies_run_there(tmp_path: Path, policy: str) -> None:
    session = Session(load(make_tiny_speech_llm(tmp_path / "model"), "cuda", "auto"), load_policy(policy))
    session.feed(np.random.default_rng(0).normal(0, 0.1, 80_000).astype(np.float32))
    session.finish()
    assert session.stats.tokens > 0


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_recorded_tokens_are_those_of_the_kernels(tmp_path: Path, dtype: str) -> None:
    """A CUDA graph for one stream and for four, over two buckets."""
    folder = make_tiny_speech_llm(tmp_path / "model")
    close = 1e-4 if dtype == "float32" else 5e-2
    found = []
    for graph in ("auto", "off"):
        model = load_model(folder, device="cuda", dtype=dtype, graph=graph)
        assert isinstance(model, SpeechLLMTranslator)
        cache, weights = model.compute.new_cache(Tally()), model.weights
        assert isinstance(cache.forward, StaticForward) == (graph == "auto")
        cache.extend(weights.embed(range(10, 130)))
        steps = [cache.extend(weights.embed([token]), score=True) for token in range(20, 60)]
        found.append(torch.cat([one.logits for one in steps if one.logits is not None]).float().cpu())
        if isinstance(cache.forward, StaticForward):
            assert cache.forward.steps.recorded == 2
    assert (found[0] - found[1]).abs().max() < close * found[1].abs().max()


def test_recorded_streams_say_what_each_says_alone(tmp_path: Path) -> None:
    model = load(make_tiny_speech_llm(tmp_path / "model"), "cuda", "float32")
    audio = [np.random.default_rng(seed).normal(0, 0.1, 64_000).astype(np.float32) for seed in range(4)]
    alone = [speak(model, "stream_att-f4", one) for one in audio]
    assert Batcher(model, streams=4).map(lambda one, heard: speak(one, "stream_att-f4", heard), audio) == alone
