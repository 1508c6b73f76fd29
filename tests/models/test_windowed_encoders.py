"""Encoders without a causal form in windows: chunks equal the whole, windows equal the library, nothing grows."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from simulst.audio import open_audio
from simulst.errors import ModelError
from simulst.models.speech_llm.encoder_batch import Push, step_many
from simulst.models.speech_llm.windowed import Window, WindowedConfig, WindowedEncoder, load_windowed
from simulst.testing.checkpoints import tiny_whisper
from simulst.testing.encoder_checkpoints import tiny_w2v_bert, tiny_wav2vec2

MAKERS: dict[str, Callable[[Path], Path]] = {
    "whisper": tiny_whisper,
    "wav2vec2": tiny_wav2vec2,
    "hubert": lambda folder: tiny_wav2vec2(folder, kind="hubert"),
    "wav2vec2-bert": tiny_w2v_bert,
}
SMALL = Window(block_s=0.3, lookahead_s=0.1, left_s=0.5)


@pytest.fixture(scope="module", params=list(MAKERS))
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    kind = str(request.param)
    return MAKERS[kind](tmp_path_factory.mktemp("ears") / kind)


@pytest.fixture(scope="module")
def encoder(folder: Path) -> WindowedEncoder:
    return load_windowed(folder, WindowedConfig.of(folder, SMALL))


def sound(samples: int, seed: int = 0) -> torch.Tensor:
    return 0.3 * torch.randn(samples, generator=torch.Generator().manual_seed(seed))


@torch.inference_mode()
def streamed(model: WindowedEncoder, audio: torch.Tensor, sizes: list[int]) -> torch.Tensor:
    state, out, at, turn = model.open(), [], 0, 0
    while at < len(audio):
        size = sizes[turn % len(sizes)]
        out.append(model.step(audio[at : at + size], state))
        at, turn = at + size, turn + 1
    out.append(model.step(audio[:0], state, is_final=True))
    return torch.cat(out)


@pytest.mark.slow
@pytest.mark.parametrize("samples", [0, 1, 1_599, 1_600, 6_480, 20_000, 40_123])
@pytest.mark.parametrize("sizes", [[50_000], [1_600, 333], [6_480, 1]])
def test_chunks_equal_the_whole(encoder: WindowedEncoder, samples: int, sizes: list[int]) -> None:
    audio = sound(samples, samples)
    with torch.inference_mode():
        want = encoder.full(torch.stack((audio, audio.flip(0))))[0]
    got = streamed(encoder, audio, sizes)
    assert got.shape == want.shape == (-(-samples // 1_600) * 5, 32)
    if samples:
        assert (got - want).abs().max() < 1e-4 and want.abs().max() > 0.1


def library(folder: Path, audio: torch.Tensor) -> torch.Tensor:
    """Frames [frames, D] of a whole clip by the library's own processing."""
    from transformers import AutoModel, SeamlessM4TFeatureExtractor, Wav2Vec2FeatureExtractor, WhisperFeatureExtractor

    model: Any = AutoModel.from_pretrained(folder).eval()
    kinds: dict[str, Any] = {"whisper": WhisperFeatureExtractor, "wav2vec2-bert": SeamlessM4TFeatureExtractor}
    extractor = kinds.get(folder.name, Wav2Vec2FeatureExtractor)()
    given = extractor(audio.numpy(), sampling_rate=16_000, return_tensors="pt")
    heard = model.get_encoder() if folder.name == "whisper" else model
    with torch.no_grad():
        found: torch.Tensor = heard(**{key: one for key, one in given.items() if key.startswith("input")})[0]
    return found[0]


def test_one_window_is_what_the_library_makes_of_it(folder: Path) -> None:
    """30 s, all that Whisper takes, are one block; of others 2 s with the samples that the last frame needs."""
    whisper = folder.name == "whisper"
    model = load_windowed(folder, WindowedConfig.of(folder, SMALL))
    model.hear_whole_clips()
    tail = model.config.shape.tail_samples
    audio = sound(480_000 if whisper else 32_000 + tail)
    with torch.inference_mode():
        found = model.full(audio[None, : len(audio) - tail])[0]
    if tail:  # zeros, where the library is given the same
        audio[-tail:] = 0
    want = library(folder, audio)
    assert found.shape == want.shape == (1_500 if whisper else 100, 32)
    torch.testing.assert_close(found, want, atol=1e-4, rtol=0)


def test_a_frame_sees_its_window_and_nothing_else(encoder: WindowedEncoder) -> None:
    """Blocks of 15 frames see 25 before and 5 after them: the fourth, frames 20 to 64."""
    audio, other, around = sound(40_000), sound(40_000, 1), torch.ones(40_000, dtype=torch.bool)
    around[20 * 320 : 66 * 320] = False
    with torch.inference_mode():
        before = encoder.full(audio[None])[0]
        outside = encoder.full(torch.where(around, other, audio)[None])[0]
        inside = encoder.full(torch.where(around, audio, other)[None])[0]
    block = slice(45, 60)
    torch.testing.assert_close(outside[block], before[block], atol=1e-5, rtol=0)
    assert (inside[block] - before[block]).abs().max() > 1e-3
    assert (outside[:15] - before[:15]).abs().max() > 1e-3


def test_a_stream_keeps_its_window_only(encoder: WindowedEncoder) -> None:
    state, sizes = encoder.open(), []
    with torch.inference_mode():
        for number in range(30):
            assert len(encoder.step(sound(4_800, number), state)) in (0, 15)
            sizes.append(len(state.samples))
    assert len(set(sizes[5:])) == 1 and sizes[-1] <= 45 * 320 + 4_800
    with torch.inference_mode():
        encoder.step(sound(100), state, is_final=True)
    with pytest.raises(RuntimeError, match="this stream has ended"):
        encoder.step(sound(100), state)


def test_streams_together_are_as_each_alone(encoder: WindowedEncoder) -> None:
    clips = [sound(size, size) for size in (9_000, 30_000, 30_001, 17_000)]
    states = [encoder.open() for _ in clips]
    out: list[list[torch.Tensor]] = [[] for _ in clips]
    with torch.inference_mode():
        for at in range(0, 32_000, 4_000):
            pieces = [clip[at : at + 4_000] for clip in clips]
            going = [i for i, state in enumerate(states) if not state.finished]
            pushes = [Push(samples=pieces[i], state=states[i], is_final=at + 4_000 >= len(clips[i])) for i in going]
            for i, frames in zip(going, step_many(encoder, pushes), strict=True):
                out[i].append(frames)
    for clip, found in zip(clips, out, strict=True):
        torch.testing.assert_close(torch.cat(found), streamed(encoder, clip, [4_000]), atol=1e-4, rtol=0)


def test_what_cannot_be_taken_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "clap"}')
    with pytest.raises(ModelError, match=r"is of type clap; a speech LLM hears with an encoder of moonshine, "):
        WindowedConfig.of(tmp_path, SMALL)
    whisper = tiny_whisper(tmp_path / "whisper")
    with pytest.raises(ValueError, match=r"^a window of 1550 frames is longer than the encoder's 1500$"):
        WindowedConfig.of(whisper, Window(block_s=1, lookahead_s=0, left_s=30))
    (whisper / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"whisper holds no weights \(model\.safetensors\)\.$"):
        load_windowed(whisper, WindowedConfig.of(whisper, SMALL))


@pytest.mark.real
def test_whisper_base_hears_a_talk_in_chunks() -> None:
    folder = Path(os.environ.get("SIMULST_WEIGHTS", "~/.cache/simulst/weights")).expanduser() / "whisper-base"
    if not (folder / "config.json").is_file():
        pytest.skip(f"{folder} is absent")
    model = load_windowed(folder, WindowedConfig.of(folder, Window()))
    blocks = open_audio(str(Path(__file__).parents[2] / "examples" / "talk.flac"))
    audio = torch.from_numpy(np.concatenate(list(blocks))[: 12 * 16_000])
    with torch.inference_mode():
        want = model.full(audio[None])[0]
    assert want.shape == (600, 512)
    torch.testing.assert_close(streamed(model, audio, [10_240]), want, atol=1e-3, rtol=0)
