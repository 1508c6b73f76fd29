"""Moonshine Streaming: frames of a stream are the library's of all audio so far, and each is computed once."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from simulst import load_model
from simulst.core.session import Session
from simulst.core.source import FloatArray
from simulst.core.translator import Evidence, Query
from simulst.errors import SimulstError
from simulst.models.seq2seq.moonshine_streaming import MoonshineStreaming, MoonshineStreamingSession
from simulst.policies import POLICIES, load_policy

EACH = frozenset({Evidence.ALIGNMENT, Evidence.ALIGNMENT_HEADS, Evidence.LOGPROBS})


@pytest.fixture(scope="module")
def model(moonshine_streaming_dir: Path) -> MoonshineStreaming:
    loaded = load_model(moonshine_streaming_dir, no_repeat_ngram=0)
    assert isinstance(loaded, MoonshineStreaming)
    return loaded


def window(session: MoonshineStreamingSession) -> torch.Tensor:
    found = session._encoded()
    assert found is not None and found.n_valid == found.states.shape[1]
    return found.states[0]


@pytest.mark.parametrize("sizes", [[10_240], [333, 9_000, 79], [40_000]])
def test_frames_so_far_are_those_of_the_library(model: MoonshineStreaming, noise: FloatArray, sizes: list[int]) -> None:
    session, at, turn = model.open(), 0, 0
    while at < len(noise):
        size = sizes[turn % len(sizes)]
        session.extend_source(noise[at : at + size], is_final=at + size >= len(noise))
        at, turn = at + size, turn + 1
        if at >= 1_600:
            heard = noise[:at]
            expected = model.encoder.encode(heard).states[0]
            assert len(expected) == -(-(len(heard) // 80) // 4)
            torch.testing.assert_close(window(session), expected, atol=1e-4, rtol=0)


def test_every_frame_goes_through_a_layer_once(model: MoonshineStreaming, noise: FloatArray) -> None:
    """But for the newest three, which are shown before they have seen all and then computed again."""
    counts, session = [0, 0], model.open()
    layers = model.encoder.encoder.layers
    hooks = [
        layer.mlp.fc1.register_forward_hook(lambda _m, given, _o, i=i: counts.__setitem__(i, counts[i] + len(given[0])))
        for i, layer in enumerate(layers)
    ]
    sizes = []
    for piece in np.array_split(noise, 20):
        session.extend_source(piece)
        session.hypothesise((), Query(max_new=1))
        sizes.append(sum(one.numel() for layer in session._stream.layers for one in vars(layer).values()))
    for hook in hooks:
        hook.remove()
    final = 200 - 3
    assert counts == [final + 20 * 3, final + 20 * 3]
    assert len(set(sizes[2:])) == 1


def library(directory: Path) -> Any:
    from transformers import MoonshineStreamingForConditionalGeneration

    return MoonshineStreamingForConditionalGeneration.from_pretrained(directory, attn_implementation="eager").eval()


def test_it_says_what_generate_says(
    model: MoonshineStreaming, moonshine_streaming_dir: Path, noise: FloatArray
) -> None:
    eager, audio = library(moonshine_streaming_dir), torch.from_numpy(noise)[None]
    banned = [i for i, no in enumerate(model.suppress.tolist()) if no]
    with torch.no_grad():
        told = {"max_new_tokens": 9, "do_sample": False, "suppress_tokens": banned}
        expected = eager.generate(audio, attention_mask=torch.ones_like(audio, dtype=torch.long), **told)[
            0, 1:
        ].tolist()
    session = model.open()
    for piece in np.array_split(noise, 7):
        session.extend_source(piece)
        session.hypothesise((), Query(max_new=2))
    found = session.hypothesise((), Query(max_new=9, want=EACH))[0]
    assert list(found.ids) == expected and len(set(expected)) > 2
    with torch.no_grad():
        output = eager(
            audio,
            attention_mask=torch.ones_like(audio, dtype=torch.long),
            decoder_input_ids=torch.tensor([[1, *found.ids[:-1]]]),
            output_attentions=True,
        )
    log_probs = output.logits[0].masked_fill(model.suppress, -torch.inf).log_softmax(-1)
    assert found.logprobs == pytest.approx([float(log_probs[i, one]) for i, one in enumerate(found.ids)], abs=1e-4)
    rows = torch.stack([output.cross_attentions[layer][0, head] for layer, head in model.attention.heads])
    assert found.alignment is not None and found.alignment.heads is not None and model.frame_s == 0.02
    np.testing.assert_allclose(found.alignment.heads, rows.numpy(), atol=1e-4)


def test_frames_stay_as_they_are_when_audio_before_them_goes(model: MoonshineStreaming, noise: FloatArray) -> None:
    session = model.open()
    session.extend_source(noise[:40_000])
    before = session._frames.clone()
    session.drop_source(1.505)
    assert session.start_s == 1.5 and len(session._frames) == len(before) - 75
    torch.testing.assert_close(session._frames, before[75:])
    session.extend_source(noise[40_000:])
    kept = model.encoder.ready(torch.cat((before, session._frames[len(before) - 75 :]))[75:])[0]
    torch.testing.assert_close(window(session)[: len(kept)], kept)
    found = session.hypothesise((), Query(max_new=3, want=EACH))[0].alignment
    assert found is not None and found.start_s == 1.5 and found.n_valid == 125
    session.drop_source(4.0)
    assert session.hypothesise((), Query(max_new=3))[0].ids == ()


def test_a_long_stream_is_cut_at_the_longest_window(model: MoonshineStreaming, noise: FloatArray) -> None:
    session = model.open()
    for _ in range(3):
        session.extend_source(noise)
    longest = model.encoder.max_samples // 320
    assert longest == 200 == len(window(session)) and session.start_s == 8.0


@pytest.mark.slow
@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_every_policy_runs_or_refuses_in_a_sentence(model: MoonshineStreaming, noise: FloatArray, policy: str) -> None:
    chosen = load_policy(policy)
    lacks = chosen.policy.needs() - model.provides
    try:
        session = Session(model, chosen, chunk_ms=640)
        session.feed(noise[:30_000])
        session.finish()
    except SimulstError as refused:
        assert lacks and "does not provide" in str(refused)
    else:
        assert not lacks and session.text


def test_half_precision_stays_near(moonshine_streaming_dir: Path, model: MoonshineStreaming, noise: FloatArray) -> None:
    short: Any = load_model(moonshine_streaming_dir, dtype="bfloat16")
    found = []
    for one in (model, short):
        session = one.open()
        for piece in np.array_split(noise, 5):
            session.extend_source(piece)
        found.append(window(session).float())
    assert (found[0] - found[1]).abs().mean() < 0.1 * found[0].abs().mean()
