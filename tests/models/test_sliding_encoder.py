"""Moonshine Streaming's encoder under a speech LLM: chunks equal the whole, which is the library's, with a cache."""

from pathlib import Path
from typing import Any

import pytest
import torch

from simulst.errors import ModelError
from simulst.models.speech_llm.encoder_batch import Push, step_many
from simulst.models.speech_llm.sliding import SlidingConfig, SlidingState, SlidingStreamingEncoder, load_sliding


@pytest.fixture(scope="module")
def encoder(moonshine_streaming_dir: Path) -> SlidingStreamingEncoder:
    return load_sliding(moonshine_streaming_dir)


def sound(samples: int) -> torch.Tensor:
    return 0.3 * torch.randn(samples, generator=torch.Generator().manual_seed(samples))


@torch.inference_mode()
def streamed(model: SlidingStreamingEncoder, audio: torch.Tensor, size: int) -> torch.Tensor:
    state, out = model.open(), []
    for at in range(0, len(audio), size):
        out.append(model.step(audio[at : at + size], state))
        assert len(out[-1]) % 5 == 0
    out.append(model.step(audio[:0], state, is_final=True))
    with pytest.raises(RuntimeError, match="this stream has ended"):
        model.step(audio[:1], state)
    return torch.cat(out)


@pytest.mark.slow
@pytest.mark.parametrize("samples", [0, 1, 1_600, 3_200, 6_401, 40_123])
@pytest.mark.parametrize("size", [50_000, 3_200, 1_111])
def test_chunks_equal_the_whole_and_the_library(
    encoder: SlidingStreamingEncoder, moonshine_streaming_dir: Path, samples: int, size: int
) -> None:
    from transformers import AutoModel

    audio = sound(samples)
    got = streamed(encoder, audio, size)
    with torch.inference_mode():
        want = encoder.full(audio[None])[0]
    assert got.shape == want.shape == (-(-samples // 1_600) * 5, 24)
    torch.testing.assert_close(got, want, atol=1e-4, rtol=0)
    if samples:
        model: Any = AutoModel.from_pretrained(moonshine_streaming_dir, attn_implementation="eager").eval()
        padded = torch.nn.functional.pad(audio, (0, -samples % 1_600))[None]
        with torch.no_grad():
            library = model.get_encoder()(padded, attention_mask=torch.ones_like(padded, dtype=torch.long))[0]
        torch.testing.assert_close(want, library[0], atol=1e-4, rtol=0)


def test_its_cache_does_not_grow_and_copies_are_told_apart(encoder: SlidingStreamingEncoder) -> None:
    state, sizes = encoder.open(), []
    for number in range(20):
        encoder.step(sound(3_200 + number), state)
        assert isinstance(state, SlidingState) and state.heard is not None
        held = [one for layer in state.heard.layers for one in vars(layer).values()]
        sizes.append(sum(one.numel() for one in held))
    assert len(set(sizes[3:])) == 1
    other = state.clone()
    assert state.same(other)
    encoder.step(sound(4_000), other)
    assert not state.same(other) and state.frames < other.frames
    state.become(other)
    assert state.same(other)


def test_streams_together_are_as_each_alone(encoder: SlidingStreamingEncoder) -> None:
    clips = [sound(size) for size in (9_000, 30_000, 17_001)]
    states = [encoder.open() for _ in clips]
    out: list[list[torch.Tensor]] = [[] for _ in clips]
    for at in range(0, 32_000, 4_000):
        going = [i for i, state in enumerate(states) if not state.finished]
        pushes = [
            Push(samples=clips[i][at : at + 4_000], state=states[i], is_final=at + 4_000 >= len(clips[i]))
            for i in going
        ]
        for i, frames in zip(going, step_many(encoder, pushes), strict=True):
            out[i].append(frames)
    for clip, found in zip(clips, out, strict=True):
        torch.testing.assert_close(torch.cat(found), streamed(encoder, clip, 4_000), atol=1e-4, rtol=0)


def test_a_checkpoint_that_describes_no_encoder_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "moonshine_streaming"}')
    with pytest.raises(ModelError, match=r"config\.json does not describe an encoder \(encoder_config\)\.$"):
        SlidingConfig.of(tmp_path)
