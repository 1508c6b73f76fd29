"""On a real GPU; skipped where there is none."""

from pathlib import Path

import numpy as np
import pytest
import torch

from simulst.core.session import Session
from simulst.models import load_model
from simulst.models.speech_llm.translator import SpeechLLMTranslator
from simulst.policies import load_policy
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
