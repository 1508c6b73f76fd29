"""Canary and the shape of Whisper large-v3-turbo from samples to ids as the library's own `generate` does it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import GenerationMixin, ParakeetFeatureExtractor, WhisperFeatureExtractor

from simulst import load_model
from simulst.core.source import FloatArray
from simulst.core.translator import Query
from simulst.errors import ModelError


def generated(kind: Any, directory: Path, features: Any, prompt: tuple[int, ...], banned: list[int]) -> list[int]:
    eager = kind.from_pretrained(directory, attn_implementation="eager").eval()
    given = torch.tensor([prompt])
    with torch.no_grad():
        found = GenerationMixin.generate(
            eager,
            **features,
            decoder_input_ids=given,
            max_new_tokens=8,
            do_sample=False,
            suppress_tokens=banned,
            decoder_start_token_id=prompt[0],
        )
    return [token for token in found[0, len(prompt) :].tolist() if token != eager.config.eos_token_id]


def heard(model: Any, noise: FloatArray) -> list[int]:
    session = model.open()
    session.extend_source(noise)
    return list(session.hypothesise((), Query(max_new=8))[0].ids)


def test_canary_is_told_both_languages_and_says_what_generate_says(canary_dir: Path, noise: FloatArray) -> None:
    from transformers import CanaryForConditionalGeneration

    model: Any = load_model(canary_dir, target="de", no_repeat_ngram=0)
    assert [model.vocabulary.decode([token]) for token in model.prompt()] == [""] * 9
    assert model.prompt()[3:5] == (11, 12) and load_model(canary_dir).prompt()[3:5] == (11, 11)  # type: ignore[attr-defined]
    features = ParakeetFeatureExtractor(feature_size=128)(noise, sampling_rate=16_000, return_tensors="pt")
    banned = [i for i, no in enumerate(model.suppress.tolist()) if no]
    expected = generated(CanaryForConditionalGeneration, canary_dir, features, model.prompt(), banned)
    assert expected and heard(model, noise) == expected
    assert model.frame_s == pytest.approx(0.08)
    window = model.encoder.encode(noise)
    assert window.n_valid == window.states.shape[1] == 50


def test_canary_names_the_languages_it_knows(canary_dir: Path) -> None:
    with pytest.raises(ModelError, match=r"does not know the target language 'fr'; it knows: de, en\.$"):
        load_model(canary_dir, target="fr")
    with pytest.raises(ModelError, match=r"does not know the source language 'xx'"):
        load_model(canary_dir, source="xx")


@pytest.mark.slow
def test_turbo_with_its_published_padding_says_what_generate_says(turbo_dir: Path, noise: FloatArray) -> None:
    from transformers import WhisperForConditionalGeneration

    model: Any = load_model(turbo_dir, source="de", padding_s=30, no_speech=1, min_source_s=0, no_repeat_ngram=0)
    found = WhisperFeatureExtractor(feature_size=128)(noise, sampling_rate=16_000, return_tensors="pt")
    banned = [i for i, no in enumerate(model.suppress.tolist()) if no]
    first = set(WhisperForConditionalGeneration.from_pretrained(turbo_dir).generation_config.begin_suppress_tokens)
    features = {"input_features": found.input_features, "begin_suppress_tokens": sorted(first)}
    expected = generated(WhisperForConditionalGeneration, turbo_dir, features, model.prompt(), banned)
    assert np.shape(found.input_features)[1] == 128 and len(expected) >= 3
    assert heard(model, noise) == expected
