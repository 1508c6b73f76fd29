"""Voxtral Realtime on random weights: every frame and token is the library's, however the audio was cut."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from simulst import load_model
from simulst.core.languages import Pair
from simulst.core.source import FloatArray
from simulst.errors import ModelError
from simulst.models.synchronous.session import SynchronousSession
from simulst.models.synchronous.voxtral_realtime import VoxtralRealtime, VoxtralStream
from simulst.testing.streaming_checkpoints import heard, tiny_voxtral_realtime

SILENCE = 3
"""Frames before the audio."""


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_voxtral_realtime(tmp_path_factory.mktemp("models") / "voxtral")


@pytest.fixture(scope="module")
def model(directory: Path) -> VoxtralRealtime:
    loaded = load_model(directory)
    assert isinstance(loaded, VoxtralRealtime)
    return loaded


@pytest.fixture(scope="module")
def library(directory: Path) -> Any:
    from transformers import VoxtralRealtimeForConditionalGeneration

    return VoxtralRealtimeForConditionalGeneration.from_pretrained(directory).eval()


def opened(model: VoxtralRealtime) -> tuple[SynchronousSession, VoxtralStream]:
    session = model.open()
    assert isinstance(session._stream, VoxtralStream)
    return session, session._stream


def features(audio: FloatArray, delay: int) -> torch.Tensor:
    """Those of the whole recording with the silence around it that the published processor asks for."""
    from transformers import VoxtralRealtimeFeatureExtractor

    after = -len(audio) % 1280 + (delay + 11) * 1280
    padded = np.pad(audio, (SILENCE * 1280, after))
    found = VoxtralRealtimeFeatureExtractor(feature_size=16)(padded, sampling_rate=16_000, return_tensors="pt")
    mel: torch.Tensor = found.input_features
    return mel


@pytest.mark.filterwarnings("ignore:Using the model-agnostic default")
@pytest.mark.parametrize("delay", [pytest.param(1, marks=pytest.mark.slow), 2, 6])
def test_it_writes_what_generate_writes(directory: Path, library: Any, noise: FloatArray, delay: int) -> None:
    model, audio = load_model(directory, delay_ms=80 * delay), noise[:24_001]
    assert isinstance(model, VoxtralRealtime) and len(model.prompt) == 1 + SILENCE + delay
    found = heard(model, audio, [10_240])
    with torch.inference_mode():
        told = {"input_ids": torch.tensor([model.prompt]), "num_delay_tokens": delay}
        written = library.generate(input_features=features(audio, delay), do_sample=False, **told)[0]
        scores = library(input_ids=written[None], input_features=features(audio, delay)[..., : 8 * len(written)], **{
            "num_delay_tokens": delay
        }).logits[0].log_softmax(-1)  # fmt: skip
    said = [(at, int(token)) for at, token in enumerate(written) if at >= len(model.prompt)]
    words = [(at, token) for at, token in said if token > 4]
    assert [(one.frame, one.id) for one in found] == [(at - len(model.prompt), token) for at, token in words]
    expected = [float(scores[at - 1, token]) for at, token in words]
    assert [one.logprob for one in found] == pytest.approx(expected, abs=1e-4)
    assert len(said) == 19 + 10 and 15 < len(words) < 29 and len({token for _, token in words}) > 4


def test_frames_are_those_of_the_whole_recording(model: VoxtralRealtime, library: Any, noise: FloatArray) -> None:
    found = list[torch.Tensor]()
    hook = model.model.model.multi_modal_projector.register_forward_hook(lambda _m, _g, out: found.append(out[0]))
    heard(model, noise[:30_000], [7_777, 333])
    hook.remove()
    with torch.inference_mode():
        whole = library.get_audio_features(input_features=features(noise[:30_000], 2)).pooler_output[0]
    assert [len(one) for one in found] == [6] + [1] * (len(whole) - 7)
    torch.testing.assert_close(torch.cat(found), whole[:-1], atol=1e-4, rtol=0)


@settings(max_examples=5, deadline=None)
@given(sizes=st.lists(st.integers(1, 9_001), min_size=1, max_size=4), length=st.integers(0, 9_001))
def test_pieces_of_any_size_make_no_difference(model: VoxtralRealtime, sizes: list[int], length: int) -> None:
    audio = np.random.default_rng(length).normal(0, 0.1, length).astype(np.float32)
    assert heard(model, audio, [max(one, 97) for one in sizes]) == heard(model, audio, [max(1, length)])


def test_a_stream_keeps_as_much_after_four_seconds_as_after_two(model: VoxtralRealtime, noise: FloatArray) -> None:
    session, stream = opened(model)
    sizes = []
    for at in (0, 1, 2):
        session.extend_source(noise[:24_000])
        kept = [part for keys in (stream._keys, stream._heard) for layer in keys.layers for part in (layer.keys,)]
        kept += [one.cache for one in stream._convolved.layers.values()]
        sizes.append([part.shape for part in kept])
        assert session.heard_s == pytest.approx(1.5 * (at + 1), abs=0.13) and len(stream._mel._held) < 3_000
        session.drop_target(len(session._emitted))
        session.drop_source(session.heard_s)
        assert not [one for one in session._emitted if one.frame < session._start]
    assert sizes[0] == sizes[1] == sizes[2]


def test_an_end_in_the_middle_is_silence(model: VoxtralRealtime, noise: FloatArray) -> None:
    _, stream = opened(model)
    weight = model.model.lm_head.weight
    kept = weight.clone()
    weight[2] = 100 * weight[3]
    try:
        found = stream.hear(noise[:30_000], is_final=False)
        assert stream._tokens in ((3,), *((one.id,) for one in found)) and stream.frames == 23
    finally:
        weight.copy_(kept)


def test_delays_and_languages(directory: Path, model: VoxtralRealtime) -> None:
    sentence = (
        r"^voxtral cannot write {} ms behind the speech; delay_ms is a multiple of 80 up to 2400: 160 as published, "
        r"240 for less delay, 960 for fewer errors\.$"
    )
    for wrong in (0, 100, 2480):
        with pytest.raises(ModelError, match=sentence.format(wrong)):
            load_model(directory, delay_ms=wrong)
    japanese = load_model(directory, source="ja")
    assert isinstance(japanese, VoxtralRealtime) and not japanese.vocabulary.spaced and model.vocabulary.spaced
    assert model.pairs[0] == Pair(source="", target="") and Pair(source="de", target="de") in model.pairs
    assert japanese.pairs[0] == Pair(source="ja", target="ja") and len(japanese.pairs) == 14
    assert japanese.for_pair(Pair(source="de", target="de")).vocabulary.spaced


def _without_streams(tekken: dict[str, Any]) -> None:
    del tekken["audio"]


def _without_silence(tekken: dict[str, Any]) -> None:
    tekken["special_tokens"][3]["token_str"] = "[AUDIO]"


def _with_wild_rank(tekken: dict[str, Any]) -> None:
    tekken["special_tokens"][3]["rank"] = 10**9


def _with_bad_words(tekken: dict[str, Any]) -> None:
    tekken["vocab"] = {"a": 1}


def _with_endless_silence(tekken: dict[str, Any]) -> None:
    tekken["audio"]["streaming_n_left_pad_tokens"] = 10**9


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (_without_streams, r"tekken.json says nothing of streams; it is the tokenizer of another Voxtral\.$"),
        (_without_silence, r"^The tokenizer of .* does not know \[STREAMING_PAD\], or it is not the model's\.$"),
        (_with_wild_rank, r"tekken.json has marks outside the first 5 tokens\.$"),
        (_with_bad_words, r"tekken.json cannot be read: "),
        (_with_endless_silence, r"streaming_n_left_pad_tokens is 1000000000; it must be between 0 and 1000\.$"),
    ],
)
def test_a_tokenizer_that_does_not_fit_is_refused(
    directory: Path, spoil: Callable[[dict[str, Any]], None], sentence: str
) -> None:
    path = directory / "tekken.json"
    whole = path.read_text()
    tekken = json.loads(whole)
    spoil(tekken)
    path.write_text(json.dumps(tekken))
    try:
        with pytest.raises(ModelError, match=sentence):
            load_model(directory)
    finally:
        path.write_text(whole)


@pytest.mark.parametrize("name", ["tekken.json", "processor_config.json"])
def test_a_folder_without_a_file_is_refused(directory: Path, name: str) -> None:
    whole = (directory / name).read_text()
    (directory / name).unlink()
    try:
        with pytest.raises(ModelError, match=name):
            load_model(directory)
    finally:
        (directory / name).write_text(whole)
