"""Streaming equals full, nothing leaks from the future, and the one-block form is Moonshine itself."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from simulst.models.speech_llm.encoder import (
    FRAME_SAMPLES,
    TAIL_SAMPLES,
    BlockCausalConfig,
    BlockCausalEncoder,
    padded_samples,
)
from simulst.models.speech_llm.encoder_batch import Push, step_many
from simulst.models.speech_llm.moonshine_weights import convert_encoder

TINY = BlockCausalConfig(
    model_dim=32, inner_dim=64, layers=3, heads=2, rotary_dim=8, block_frames=8, lookahead_frames=5, left_frames=16
)


def encoder(config: BlockCausalConfig = TINY) -> BlockCausalEncoder:
    torch.manual_seed(0)
    return BlockCausalEncoder(config).eval().requires_grad_(False)


def streamed(model: BlockCausalEncoder, audio: torch.Tensor, sizes: list[int]) -> torch.Tensor:
    state, out, at, turn = model.open(), [], 0, 0
    while at < len(audio):
        size = sizes[turn % len(sizes)]
        out.append(model.step(audio[at : at + size], state))
        at, turn = at + size, turn + 1
    out.append(model.step(audio[:0], state, is_final=True))
    return torch.cat(out)


@given(
    samples=st.integers(0, 60_000),
    sizes=st.lists(st.integers(1, 20_000), min_size=1, max_size=4).filter(lambda s: max(s) > 500),
    lookahead=st.sampled_from([0, 5, 8]),
)
@settings(max_examples=20, deadline=None)
def test_streaming_equals_full(samples: int, sizes: list[int], lookahead: int) -> None:
    model = encoder(
        BlockCausalConfig(**{**TINY.to_dict(), "lookahead_frames": lookahead})  # type: ignore[arg-type]
    )
    audio = 0.3 * torch.randn(samples, generator=torch.Generator().manual_seed(samples))
    want = model.full(audio[None])[0]
    got = streamed(model, audio, sizes)
    assert got.shape == want.shape
    if len(want):
        assert (got - want).abs().max() <= 1e-5


def test_streaming_equals_full_in_double_precision_over_many_left_contexts() -> None:
    model = encoder().double()
    audio = 0.3 * torch.randn(16_000 * 12, dtype=torch.float64)
    want = model.full(audio[None])[0]
    # statistics are gathered in float32 after the first convolution, which bounds the agreement
    assert (streamed(model, audio, [7_001, 333]) - want).abs().max() < 1e-5


@pytest.mark.parametrize("together", [False, True])
def test_half_precision_stays_near_float32(together: bool) -> None:
    audio = 0.3 * torch.randn(2, 30_000, generator=torch.Generator().manual_seed(1))
    want = [streamed(encoder(), one, [10_000]) for one in audio]
    model = encoder().bfloat16()
    if together:
        states = [model.open() for _ in audio]
        got = step_many(model, [Push(samples=a, state=s, is_final=True) for a, s in zip(audio, states, strict=True)])
    else:
        got = [streamed(model, one, [10_000]) for one in audio]
    for mine, exact in zip(got, want, strict=True):
        assert mine.dtype == torch.bfloat16
        assert (mine.float() - exact).abs().mean() < 0.02 * exact.abs().mean()


def test_the_future_changes_nothing_before_its_block() -> None:
    model = encoder()
    audio = 0.3 * torch.randn(1, 40_000)
    seen = 3 * TINY.block_frames  # three blocks and the look-ahead of the third
    cut = padded_samples(1, 1) + (seen + TINY.lookahead_frames - 1) * 384
    changed = audio.clone()
    changed[:, cut:] = 0.9 * torch.randn(1, audio.shape[1] - cut)
    before, after = model.full(audio)[0], model.full(changed)[0]
    assert torch.equal(before[:seen], after[:seen])
    assert not torch.allclose(before[seen : seen + TINY.block_frames], after[seen : seen + TINY.block_frames])


def test_two_streams_on_one_model_do_not_touch() -> None:
    model = encoder()
    a, b = 0.3 * torch.randn(20_000), 0.1 * torch.randn(20_000)
    alone = [streamed(model, x, [3_000]) for x in (a, b)]
    states = [model.open(), model.open()]
    outs: list[list[torch.Tensor]] = [[], []]
    for at in range(0, 20_000, 3_000):
        for i, x in enumerate((a, b)):
            outs[i].append(model.step(x[at : at + 3_000], states[i], is_final=at + 3_000 >= 20_000))
    assert torch.equal(torch.cat(outs[0]), alone[0]) or (torch.cat(outs[0]) - alone[0]).abs().max() < 1e-6
    assert (torch.cat(outs[1]) - alone[1]).abs().max() < 1e-6


def test_state_size_does_not_grow_with_the_stream() -> None:
    model = encoder()
    state, sizes = model.open(), []
    for _ in range(40):
        model.step(0.1 * torch.randn(TINY.block_frames * 384), state)
        sizes.append(sum(held.nbytes for held in (state.samples, *state.keys, *state.values)))
    assert len(set(sizes[5:])) == 1


def test_padding_covers_every_sample_and_wastes_less_than_a_unit() -> None:
    assert padded_samples(0, 4) == 0
    assert padded_samples(1, 4) == 1536 + 511
    assert padded_samples(1536, 4) == 1536 + 511
    assert padded_samples(1537, 4) == 3072 + 511


def test_one_block_is_the_encoder_of_transformers() -> None:
    from transformers import MoonshineConfig, MoonshineForConditionalGeneration

    torch.manual_seed(1)
    config = MoonshineConfig(
        vocab_size=40,
        hidden_size=32,
        intermediate_size=64,
        encoder_num_hidden_layers=2,
        decoder_num_hidden_layers=1,
        encoder_num_attention_heads=2,
        decoder_num_attention_heads=2,
        partial_rotary_factor=0.5,
        pad_head_dim_to_multiple_of=8,
    )
    theirs = MoonshineForConditionalGeneration(config).eval()
    ours = BlockCausalEncoder(
        BlockCausalConfig(
            model_dim=32,
            inner_dim=64,
            layers=2,
            heads=2,
            rotary_dim=8,
            block_frames=400,
            lookahead_frames=0,
            left_frames=0,
        )
    ).eval()
    ours.load_state_dict(convert_encoder(theirs.state_dict()))
    audio = 0.3 * torch.randn(1, 1536 * 5)
    with torch.no_grad():
        want = theirs.model.encoder(torch.nn.functional.pad(audio, (0, 511))).last_hidden_state
        assert (ours.full(audio) - want).abs().max() < 1e-5


@pytest.mark.parametrize("frames", [1, 2, 48, 96])
def test_a16_samples_for_exactly_so_many_frames(frames: int) -> None:
    """399 + 320 B samples are B frames of wav2vec 2.0; of this encoder it takes its tail and 384 for each frame."""
    from transformers import Wav2Vec2Config

    config = Wav2Vec2Config()

    def lengths(samples: int) -> int:
        for kernel, stride in zip(config.conv_kernel, config.conv_stride, strict=True):
            samples = (samples - kernel) // stride + 1
        return samples

    assert (lengths(399 + 320 * frames), lengths(400 + 320 * frames)) == (frames, frames + 1)
    encoder = BlockCausalEncoder(BlockCausalConfig(model_dim=16, inner_dim=16, layers=1, heads=2, rotary_dim=4))
    samples = TAIL_SAMPLES + FRAME_SAMPLES * frames
    x = torch.zeros(1, 1, samples)
    with torch.no_grad():
        found = encoder.convolve(encoder.conv1(x))
        one_less = encoder.convolve(encoder.conv1(x[..., 1:])) if frames > 1 else found[:, 1:]
    assert (found.shape[1], one_less.shape[1]) == (frames, frames - 1)
