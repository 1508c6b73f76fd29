"""Nemotron ASR on random weights: every frame and token is the library's, however the audio was cut."""

import json
from collections.abc import Iterator
from functools import cache
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
from simulst.models.synchronous.nemotron import Nemotron, NemotronStream
from simulst.models.synchronous.session import SynchronousSession
from simulst.testing.streaming_checkpoints import heard, tiny_nemotron

DELAYS = {80: 0, 160: 1, 560: 6}


SLOW = pytest.mark.slow


@pytest.fixture(scope="module", params=["nemotron_asr_streaming", pytest.param("nemotron3_5_asr", marks=SLOW)])
def directory(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    many = request.param == "nemotron3_5_asr"
    return tiny_nemotron(tmp_path_factory.mktemp("models") / request.param, many=many, silent=0.95 if many else 0.85)


@pytest.fixture(scope="module")
def model(directory: Path) -> Nemotron:
    loaded = load_model(directory)
    assert isinstance(loaded, Nemotron)
    return loaded


def opened(model: Nemotron) -> tuple[SynchronousSession, NemotronStream]:
    session = model.open()
    assert isinstance(session._stream, NemotronStream)
    return session, session._stream


def library_chunks(audio: FloatArray, look_ahead: int) -> Iterator[torch.Tensor]:
    """Chunks as the library's documentation makes them, the end filled up with silence."""
    from transformers import NemotronAsrStreamingFeatureExtractor

    extractor, frames, then = NemotronAsrStreamingFeatureExtractor(), 1 + 8 * look_ahead, 8 * (look_ahead + 1)
    told = {"sampling_rate": 16_000, "return_tensors": "pt"}
    padded = np.concatenate((audio, np.zeros(40_000, dtype=np.float32)))
    yield extractor(padded[: (frames - 1) * 160 + 200], **told).input_features[:, :frames]
    padded = np.concatenate((np.zeros(256, dtype=np.float32), padded))
    while frames < len(audio) // 160:
        start = frames * 160
        yield extractor(padded[start : start + then * 160 + 400], center=False, **told).input_features
        frames += then


@cache
def library(directory: Path) -> Any:
    from transformers import Nemotron3_5AsrForRNNT, NemotronAsrStreamingForRNNT

    kind = Nemotron3_5AsrForRNNT if directory.name == "nemotron3_5_asr" else NemotronAsrStreamingForRNNT
    return kind.from_pretrained(directory).eval()  # its eager attention takes the mask the wrong way round


@pytest.mark.filterwarnings("ignore:Using the model-agnostic default")
@pytest.mark.parametrize("delay_ms", [pytest.param(80, marks=SLOW), 160, 560])
def test_it_writes_what_generate_writes(directory: Path, noise: FloatArray, delay_ms: int) -> None:
    model, look_ahead = load_model(directory, delay_ms=delay_ms), DELAYS[delay_ms]
    assert isinstance(model, Nemotron)
    audio = noise[:24_000]
    found = heard(model, audio, [10_240])
    with torch.inference_mode():
        said = library(directory).generate(library_chunks(audio, look_ahead), num_lookahead_tokens=look_ahead)
    ids, moves = said.sequences[0, 1:], said.durations[0, 1:]
    frames = (moves.cumsum(0) - moves).tolist()
    expected = [(int(one), frame) for one, frame in zip(ids, frames, strict=True) if one != model.blank]
    assert [(one.id, one.frame) for one in found] == expected
    assert len({one.id for one in found}) > 3 and 5 < len({one.frame for one in found}) < 19


@pytest.mark.parametrize("delay_ms", [pytest.param(80, marks=SLOW), 560])
def test_frames_are_those_of_the_whole_recording(directory: Path, noise: FloatArray, delay_ms: int) -> None:
    from transformers import NemotronAsrStreamingFeatureExtractor

    model = load_model(directory, delay_ms=delay_ms)
    assert isinstance(model, Nemotron)
    _, stream = opened(model)
    given = NemotronAsrStreamingFeatureExtractor()(noise, sampling_rate=16_000, return_tensors="pt")
    with torch.inference_mode():
        whole = library(directory).get_audio_features(**given, num_lookahead_tokens=DELAYS[delay_ms]).pooler_output[0]
        found = torch.cat([stream._encoded(mel) for mel in stream._mel.push(noise)])
    assert len(whole) - len(found) <= 8 and len(found) > 40
    torch.testing.assert_close(found, whole[: len(found)], atol=1e-4, rtol=0)


def test_log_probabilities_are_those_of_the_joint_network(model: Nemotron, directory: Path, noise: FloatArray) -> None:
    audio = noise[:16_000]
    found = heard(model, audio, [5_000])
    whole = library(directory)
    with torch.inference_mode():
        mel = torch.cat(list(library_chunks(audio, 1)), dim=1)
        frames = whole.get_audio_features(mel, num_lookahead_tokens=1).pooler_output[0]
        said = whole.decoder(torch.tensor([[model.blank, *(one.id for one in found)]]))[0]
        scores = torch.stack([whole.joint(said[i], frames[one.frame]) for i, one in enumerate(found)]).log_softmax(-1)
    expected = [float(scores[i, one.id]) for i, one in enumerate(found)]
    assert [one.logprob for one in found] == pytest.approx(expected, abs=1e-4) and len(found) > 5


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Nemotron:
    loaded = load_model(tiny_nemotron(tmp_path_factory.mktemp("models") / "quick"), delay_ms=560)
    assert isinstance(loaded, Nemotron)
    return loaded


@settings(max_examples=5, deadline=None)
@given(sizes=st.lists(st.integers(1, 12_001), min_size=1, max_size=4), length=st.integers(0, 16_001))
def test_pieces_of_any_size_make_no_difference(quick: Nemotron, sizes: list[int], length: int) -> None:
    audio = np.random.default_rng(length).normal(0, 0.1, length).astype(np.float32)
    found = heard(quick, audio, [max(one, 97) for one in sizes])
    alone = heard(quick, audio, [max(1, length)])
    assert [(one.id, one.frame) for one in found] == [(one.id, one.frame) for one in alone]
    assert [one.logprob for one in found] == pytest.approx([one.logprob for one in alone], abs=1e-5)


def test_a_stream_keeps_as_much_after_six_seconds_as_after_three(quick: Nemotron, noise: FloatArray) -> None:
    session, stream = opened(quick)
    sizes, passed = list[int](), [0]
    layer = quick.model.encoder.layers[0].feed_forward1
    hook = layer.register_forward_hook(lambda _m, given, _o: passed.__setitem__(0, passed[0] + given[0].shape[1]))
    for _ in range(4):
        session.extend_source(noise[:24_000])
        kept = [one.cache for one in stream._convolved.layers.values()] + [stream._mel._held]
        kept += [part for layer in stream._keys.layers for part in (layer.keys, layer.values)]
        sizes.append(sum(part.shape[-1] * part.shape[-2] if part.ndim > 1 else 0 for part in kept))
        session.drop_target(len(session._emitted))
        session.drop_source(session.heard_s)
        assert not session._emitted and session.heard_s - session.start_s == 0
    hook.remove()
    assert len(set(sizes[1:])) == 1 and len(stream._mel._held) < 10_000
    assert passed == [stream.frames] == [70]


def test_delays_languages_and_what_else_is_refused(tmp_path: Path) -> None:
    english, many = tiny_nemotron(tmp_path / "en"), tiny_nemotron(tmp_path / "many", many=True)
    with pytest.raises(ModelError, match=r"^en was not trained for delay_ms=480; it can wait for 80, 160, 560 ms\.$"):
        load_model(english, delay_ms=480)
    with pytest.raises(ModelError, match=r"^en knows English only; option 'source' must be en, not 'de'\.$"):
        load_model(english, source="de")
    with pytest.raises(
        ModelError, match=r"^many does not know the language 'xx'; it knows: auto, de, en, en-US, ja\.$"
    ):
        load_model(many, source="xx")
    one, other = load_model(english), load_model(many, source="ja")
    assert isinstance(one, Nemotron) and isinstance(other, Nemotron)
    assert one.pairs == (Pair(source="en", target="en"),) and one.look_ahead == 1
    assert other.pairs[0] == Pair(source="ja", target="ja") and not other.vocabulary.spaced
    assert set(other.pairs) == {Pair(source=code, target=code) for code in ("", "en", "de", "ja")}
    german = other.for_pair(Pair(source="de", target="de"))
    assert german.told()["prompt_ids"].tolist() == [3] and german.vocabulary.spaced and not other.vocabulary.spaced
    assert load_model(many).told()["prompt_ids"].tolist() == [9]  # type: ignore[attr-defined]
    tag = 1 + 26 + 26 + 1
    assert one.vocabulary.decode([tag - 1, tag]) == "."


def test_a_language_changes_what_is_written(tmp_path: Path, noise: FloatArray) -> None:
    directory = tiny_nemotron(tmp_path / "many", many=True, silent=0.6)
    model = load_model(directory, source="ja", delay_ms=560)
    assert isinstance(model, Nemotron)
    german = model.for_pair(Pair(source="de", target="de"))
    said = [[one.id for one in heard(one, noise[:20_000], [20_000])] for one in (model, german)]
    assert said[0] != said[1]


def test_folders_that_lack_something_are_refused(tmp_path: Path) -> None:
    directory = tiny_nemotron(tmp_path / "asr")
    processor = json.loads((directory / "processor_config.json").read_text())
    processor["feature_extractor"]["feature_size"] = 128
    (directory / "processor_config.json").write_text(json.dumps(processor))
    with pytest.raises(
        ModelError, match=r"^The feature extractor in .* makes 128 mel bins, but the encoder takes 80\.$"
    ):
        load_model(directory)
    processor["feature_extractor"] = {"n_fft": 10**9}
    (directory / "processor_config.json").write_text(json.dumps(processor))
    with pytest.raises(ModelError, match=r"n_fft is 1000000000; it must be between 16 and 8192\.$"):
        load_model(directory)
    (directory / "processor_config.json").unlink()
    with pytest.raises(
        ModelError, match=r"has neither preprocessor_config.json nor a feature_extractor in .*weights\.$"
    ):
        load_model(directory)
    (directory / "preprocessor_config.json").write_text('{"feature_size": 80}')
    loaded = load_model(directory, delay_ms=1120)
    assert isinstance(loaded, Nemotron) and loaded.look_ahead == 13
    spec = json.loads((directory / "tokenizer.json").read_text())
    spec["model"]["vocab"], spec["added_tokens"] = {"a": 0}, []
    (directory / "tokenizer.json").write_text(json.dumps(spec))
    with pytest.raises(ModelError, match=r"^The tokenizer of asr has 1 tokens, but it writes 56 .* another model's\.$"):
        load_model(directory)
    (directory / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match=r"^The tokenizer .*tokenizer.json cannot be read"):
        load_model(directory)
