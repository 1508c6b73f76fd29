"""The embedded model: real weights, real (if synthetic) speech, streaming."""

from pathlib import Path

import numpy as np
import pytest
import torch

from simulst import Session
from simulst.audio import open_file
from simulst.core.events import WriteEvent
from simulst.core.translator import FloatArray
from simulst.models.speech_llm.translator import SpeechLLMTranslator
from simulst.policies import load_policy

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def talk() -> FloatArray:
    """The first 21 sentences, of two voices; more than twice what the model hears at once."""
    with open_file(EXAMPLES / "talk.flac") as stream:
        return np.concatenate(list(stream))[: 16_000 * 62]


@pytest.mark.slow
def test_encoder_streams_exactly(model: SpeechLLMTranslator, talk: FloatArray) -> None:
    audio, encoder = torch.from_numpy(talk[: 16_000 * 12]), model.weights.model.encoder
    with torch.inference_mode():
        want = encoder.full(audio[None])[0]
        state = encoder.open()
        got = [encoder.step(piece, state) for piece in torch.split(audio, 5_003)]
        got.append(encoder.step(audio[:0], state, is_final=True))
    assert (torch.cat(got) - want).abs().max() <= 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["stream_att", "wait_k"])
def test_talk_is_translated_while_it_is_heard(model: SpeechLLMTranslator, talk: FloatArray, policy: str) -> None:
    import sacrebleu

    session, shown, times = Session(model, load_policy(policy)), "", []
    events = session.feed(talk) + session.finish()
    for event in events:
        if isinstance(event, WriteEvent):
            assert event.retract == 0
            shown += event.text
            times.append(event.audio_s)
    assert shown == session.text
    assert times == sorted(times) and times[0] < 8.0
    assert len(times) > 30
    reference = " ".join((EXAMPLES / "talk.de.txt").read_text(encoding="utf-8").splitlines()[:21])
    assert sacrebleu.corpus_chrf([shown], [[reference]]).score > 30


@pytest.mark.slow
def test_pieces_of_any_size_give_the_same_text(model: SpeechLLMTranslator, talk: FloatArray) -> None:
    texts = []
    for size in (1_024, 100_003):
        session = Session(model, load_policy("stream_att"))
        for at in range(0, 16_000 * 12, size):
            session.feed(talk[at : min(at + size, 16_000 * 12)])
        session.finish()
        texts.append(session.text)
    assert texts[0] == texts[1] != ""
