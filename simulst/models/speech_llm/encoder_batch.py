"""Several streams through an encoder at once: the same frames as one after the other.

Blocks that became complete are computed together where they have the same size; in the block-causal encoder each stream
sees its own left context, which is not copied to stand beside that of others, and has its own norm statistics.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from simulst.models.speech_llm.encoder import CONV1_PER_FRAME, BlockCausalEncoder, turns
from simulst.models.speech_llm.streaming_encoder import EncoderState, StreamingEncoder


@dataclass(kw_only=True)
class Push:
    """Samples for one stream, as the arguments of `StreamingEncoder.step`; the frames that came out of them."""

    samples: Tensor
    state: EncoderState
    is_final: bool = False
    frames: list[Tensor] = field(default_factory=list)


def step_many(encoder: StreamingEncoder, pushes: Sequence[Push]) -> list[Tensor]:
    """`encoder.step` for streams that differ; frames [frames, D] of each."""
    ready = [(push, encoder.push(push.samples, push.state, push.is_final)) for push in pushes]
    while ready:
        blocks: dict[tuple[int, int], list[tuple[Push, Tensor]]] = {}
        going = []
        for push, windows in ready:
            found = next(windows, None)
            if found is not None:
                blocks.setdefault((len(found[0]), found[1]), []).append((push, found[0]))
                going.append((push, windows))
        for (_, main), group in blocks.items():
            together, states = [window for _, window in group], [push.state for push, _ in group]
            for (push, _), frames in zip(group, _together(encoder, together, main, states), strict=True):
                push.frames.append(frames)
        ready = going
    return [torch.cat(push.frames) if push.frames else encoder.nothing() for push in pushes]


def _together(encoder: StreamingEncoder, windows: list[Tensor], main: int, states: list[EncoderState]) -> list[Tensor]:
    """One block of equal size for every stream."""
    if len(windows) > 1 and isinstance(encoder, BlockCausalEncoder):
        return _blocks(encoder, windows, main, states)
    return encoder.blocks(windows, main, states)


def _blocks(encoder: BlockCausalEncoder, windows: list[Tensor], main: int, states: list[EncoderState]) -> list[Tensor]:
    c = encoder.config
    x = _front(encoder, torch.stack(windows), main, states)
    starts = torch.tensor([state.frames for state in states], device=x.device)
    turn = turns(starts[:, None] + torch.arange(x.shape[1], device=x.device), c.rotary_dim, x.dtype)
    for index, layer in enumerate(encoder.layers):
        q, k, v = encoder.project(layer, x, turn)
        if index + 1 == len(encoder.layers):  # of the look-ahead nobody needs the output
            x, q = x[:, :main], q[:, :main]
        rows = enumerate(states)
        seen = torch.stack([encoder.see(index, q[row], k[row], v[row], main, state) for row, state in rows])
        x = encoder.residual(layer, x, seen)
    for state in states:
        state.frames += main
    return list(encoder.layer_norm(x))


def _front(encoder: BlockCausalEncoder, windows: Tensor, main: int, states: list[EncoderState]) -> Tensor:
    """[N, samples] -> [N, width, D], each row normalised with its own statistics, which move on."""
    x = torch.tanh(encoder.conv1(windows[:, None])).float()
    cut = CONV1_PER_FRAME * main
    wide = x.double()
    parts = [
        (part.sum(dim=(1, 2)).tolist(), part.square().sum(dim=(1, 2)).tolist(), float(part[0].numel()))
        for part in (wide[..., :cut], wide[..., cut:])
    ]
    seen = []
    for row, state in enumerate(states):
        decay = encoder.config.decay if state.frames else 1.0
        (total, squares, count), (rest_total, rest_squares, rest_count) = parts
        state.count = decay * state.count + count
        state.total = decay * state.total + total[row]
        state.squares = decay * state.squares + squares[row]
        seen.append((state.count + rest_count, state.total + rest_total[row], state.squares + rest_squares[row]))
    count_, total_, squares_ = torch.tensor(seen, dtype=torch.float64, device=x.device).unbind(-1)
    return encoder.convolve(encoder.normalise(x, count_, total_, squares_))
