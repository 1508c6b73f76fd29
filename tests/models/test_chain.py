"""Transcript, then translation, of a tiny random speech LLM: the same as one forward without a cache."""

from pathlib import Path

import numpy as np
import pytest
import torch

from simulst.core.translator import Evidence, Query
from simulst.models import load_model
from simulst.models.speech_llm.session import SpeechLLMSession
from simulst.models.speech_llm.translator import SpeechLLMTranslator
from simulst.testing.speech_llm import make_tiny_speech_llm


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_speech_llm(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def model(folder: Path) -> SpeechLLMTranslator:
    found = load_model(folder, no_repeat_ngram=0)
    assert isinstance(found, SpeechLLMTranslator)
    return found


def session_of(model: SpeechLLMTranslator, seconds: float) -> SpeechLLMSession:
    session = model.open()
    noise = 0.1 * np.random.default_rng(0).standard_normal(round(16_000 * seconds))
    session.extend_source(noise.astype(np.float32))
    return session


def likeliest(session: SpeechLLMSession, text: list[int], allowed: torch.Tensor) -> int:
    """The likeliest allowed token after speech and text, by one forward."""
    weights = session.weights
    marks = torch.tensor([weights.speech_mark])
    embeds = torch.cat(
        (weights.model.embeddings[marks], session._hearing.vectors, weights.model.embeddings[torch.tensor(text)])
    )
    with torch.no_grad():
        logits = weights.model.decoder(inputs_embeds=embeds[None]).logits[0, -1]
    return int(logits.masked_fill(~allowed, -torch.inf).argmax())


def test_transcript_follows_the_source_mark_and_ends_where_the_translation_would_begin(
    model: SpeechLLMTranslator,
) -> None:
    session, weights = session_of(model, 3.0), model.weights
    written = session.write_source(max_new=12)
    allowed = ~weights.suppress
    allowed[weights.text_target_mark] = True
    for i, token in enumerate(written.ids):
        assert token == likeliest(session, [weights.source_mark, *written.ids[:i]], allowed)
    if written.stop == "eos":
        after = likeliest(session, [weights.source_mark, *written.ids], allowed)
        assert after in (weights.text_target_mark, weights.vocabulary.eos)
    assert written.ids and written.alignment is not None
    assert written.alignment.weights.shape == (len(written.ids), len(session._hearing.vectors))


def test_translation_follows_the_transcript_and_the_prefix(model: SpeechLLMTranslator) -> None:
    session, weights = session_of(model, 3.0), model.weights
    source, prefix = [20, 21, 22], [30, 31]
    found = session.translate_after(source, prefix, max_new=4, want=frozenset({Evidence.ALIGNMENT}))
    text = [weights.source_mark, *source, weights.text_target_mark, *prefix]
    for i, token in enumerate(found.ids):
        assert token == likeliest(session, [*text, *found.ids[:i]], ~weights.suppress)
    assert found.alignment is not None and found.alignment.history == 2
    assert found.alignment.weights.shape == (2 + len(found.ids), len(session._hearing.vectors))


def test_audio_after_a_cut_is_not_seen_and_seen_again_afterwards(model: SpeechLLMTranslator) -> None:
    long, short = session_of(model, 4.2), session_of(model, 2.6)
    until_s = short.heard_s
    whole = long.hypothesise((), Query(max_new=6))[0].ids
    cut = long.translate_after([20], (), until_s=until_s, max_new=6, want=frozenset({Evidence.ALIGNMENT}))
    expected = short.translate_after([20], (), max_new=6, want=frozenset({Evidence.ALIGNMENT}))
    assert cut.ids == expected.ids
    assert cut.alignment is not None and expected.alignment is not None
    assert cut.alignment.n_valid == len(short._hearing.vectors) < len(long._hearing.vectors)
    np.testing.assert_allclose(cut.alignment.weights, expected.alignment.weights, atol=1e-5)
    assert long.hypothesise((), Query(max_new=6))[0].ids == whole


def test_no_audio_before_the_cut_is_nothing_to_translate(model: SpeechLLMTranslator) -> None:
    session = session_of(model, 2.0)
    found = session.translate_after([20], [30], until_s=0.0, want=frozenset({Evidence.ALIGNMENT}))
    assert (found.ids, found.stop) == ((), "eos")
    assert found.alignment is not None and found.alignment.weights.shape == (1, 0)


def test_grouped_positions_change_nothing_here(folder: Path, model: SpeechLLMTranslator) -> None:
    grouped = load_model(folder, positions="grouped", no_repeat_ngram=0)
    assert isinstance(grouped, SpeechLLMTranslator)
    assert Evidence.CHAIN in model.provides and Evidence.CHAIN in grouped.provides
    found = []
    for one in (model, grouped):
        session = session_of(one, 3.0)
        session.hypothesise((), Query(max_new=3))
        session.drop_source(1.0)
        written = session.write_source(max_new=6).ids
        found.append((written, session.translate_after(written, [30], max_new=6).ids))
    assert found[0] == found[1]
