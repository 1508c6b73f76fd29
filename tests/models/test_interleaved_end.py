"""The end of a stream that reads and writes by itself: it hears a little silence, whatever the pieces were."""

import numpy as np
import pytest

from simulst.core.session import Session
from simulst.core.translator import Translator
from simulst.models import load_model
from simulst.models.speech_llm.session import CLOSING_S, SpeechLLMSession
from simulst.policies import load_policy
from simulst.testing.speech_llm import make_tiny_speech_llm


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Translator:
    return load_model(str(make_tiny_speech_llm(tmp_path_factory.mktemp("model"))))


def vectors_at_end(model: Translator, samples: int, cut: int, policy: str) -> tuple[int, Session]:
    audio = np.random.default_rng(5).normal(0, 0.1, samples).astype(np.float32)
    session = Session(model, load_policy(policy), chunk_ms=640)
    for start in range(0, samples, cut):
        session.feed(audio[start : start + cut])
    session.finish()
    held = session._translator
    assert isinstance(held, SpeechLLMSession)
    return len(held._hearing.vectors), session


@pytest.mark.parametrize("samples", [1_000, 20_000, 48_123])
def test_a_model_that_writes_by_itself_hears_silence_after_the_end(model: Translator, samples: int) -> None:
    plain, _ = vectors_at_end(model, samples, 10_240, "hold_n")
    closed, session = vectors_at_end(model, samples, 10_240, "read_write-low")
    assert abs(closed - plain - CLOSING_S / 0.096) <= 1.5
    assert session.audio_s == pytest.approx(samples / 16_000)


def test_the_pieces_do_not_matter(model: Translator) -> None:
    one, whole = vectors_at_end(model, 48_123, 48_123, "infinite")
    many, parts = vectors_at_end(model, 48_123, 777, "infinite")
    assert one == many
    assert whole.text == parts.text
