"""Every preset translates a stream to its end, on a model that encodes anew and on one with a cache; or says why."""

import numpy as np
import pytest

from simulst.core.events import EndEvent
from simulst.core.session import Session
from simulst.core.translator import Translator
from simulst.errors import SimulstError
from simulst.models import load_model
from simulst.policies import load_policy
from simulst.policies.loading import preset_names
from simulst.testing.checkpoints import tiny_whisper
from simulst.testing.speech_llm import make_tiny_speech_llm

NOISE = np.random.default_rng(0).normal(0, 0.1, 16_000 * 2).astype(np.float32)


@pytest.fixture(scope="module", params=[tiny_whisper, make_tiny_speech_llm], ids=["whisper", "speech-llm"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Translator:
    return load_model(str(request.param(tmp_path_factory.mktemp("presets") / "model")))


@pytest.mark.slow
@pytest.mark.parametrize("preset", preset_names())
def test_a_stream_comes_to_its_end(model: Translator, preset: str) -> None:
    try:
        session = Session(model, load_policy(preset))
    except SimulstError as refused:
        assert "needs" in str(refused) or "has no" in str(refused), refused
        return
    for start in range(0, len(NOISE), 16_000):
        session.feed(NOISE[start : start + 16_000])
    assert isinstance(session.finish()[-1], EndEvent)
