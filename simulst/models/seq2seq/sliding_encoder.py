"""The encoder of Moonshine Streaming, frame by frame: convolutions that look back, layers that see a few frames on.

A frame of a layer is computed once, when the frames that it sees after it are there; keys and values of those before it
are kept. Nothing knows its position, so that what is forgotten leaves the others as they are.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from simulst.core.source import SAMPLE_RATE, FloatArray
from simulst.models.seq2seq.windows import Features, JointWindow

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerState:
    """What a layer has been given of a stream."""

    waiting: Tensor
    """Frames [n, D] that still need others after them."""
    keys: Tensor
    """[seen + n, heads, E], of frames before them that they see, and of their own; so `values`."""
    values: Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class EncoderStream:
    """One stream; a step makes another and leaves this one as it was. Its size does not depend on time."""

    samples: Tensor
    """Less than a short frame."""
    convolved: tuple[Tensor, Tensor]
    """Inputs [channels, n] of both convolutions that the next frame needs."""
    layers: tuple[LayerState, ...]


class SlidingFrames:
    """Weights; what streams know is in an `EncoderStream`."""

    def __init__(self, encoder: "PreTrainedModel") -> None:
        self.encoder = encoder
        self.short_samples = int(encoder.embedder.frame_len)
        self.reach = [(int(left), max(0, int(right) - 1)) for left, right in encoder.config.sliding_windows]
        """Frames by layer: itself and those before it that a frame sees, and those after it."""

    @property
    def weight(self) -> Tensor:
        found: Tensor = self.encoder.embedder.conv1.weight
        return found

    def open(self) -> EncoderStream:
        """The state of a new stream."""
        embedder, none = self.encoder.embedder, self.weight.new_zeros
        layers = []
        for layer in self.encoder.layers:
            attention = layer.self_attn
            heads = none(0, int(attention.config.num_key_value_heads), int(attention.head_dim))
            layers.append(LayerState(waiting=none(0, layer.hidden_size), keys=heads, values=heads))
        first, second = (none(conv.in_channels, conv.left_pad) for conv in (embedder.conv1, embedder.conv2))
        return EncoderStream(samples=none(0), convolved=(first, second), layers=tuple(layers))

    def step(self, samples: Tensor, stream: EncoderStream, *, is_final: bool = False) -> tuple[Tensor, EncoderStream]:
        """Frames [n, D] that samples complete, and the state after them; with `is_final` all that are there, which see
        what there is."""
        with torch.inference_mode():
            audio = torch.cat((stream.samples, samples.to(self.weight)))
            whole = len(audio) // self.short_samples * self.short_samples
            frames, convolved = self._embedded(audio[:whole].view(-1, self.short_samples), stream.convolved)
            layers = []
            for layer, (left, right), state in zip(self.encoder.layers, self.reach, stream.layers, strict=True):
                frames, after = _through(layer, frames, state, left=left, right=0 if is_final else right, sees=right)
                layers.append(after)
            heard = EncoderStream(samples=audio[whole:].clone(), convolved=convolved, layers=tuple(layers))
            return self.encoder.final_norm(frames), heard

    def _embedded(self, short: Tensor, held: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Frames [n, D] of short frames [m, samples], and what of them the next ones need."""
        embedder = self.encoder.embedder
        hidden = F.silu(embedder.linear(embedder.comp(embedder.cmvn(short)))).T
        first, kept = _convolved(embedder.conv1, torch.cat((held[0], hidden), dim=1))
        second, kept_too = _convolved(embedder.conv2, torch.cat((held[1], F.silu(first)), dim=1))
        return second.T, (kept, kept_too)

    def whole(self, audio: Tensor) -> Tensor:
        """Frames [N, n, D] of whole clips [N, samples] of whole short frames, by the library."""
        heard = torch.ones(audio.shape, dtype=torch.long, device=audio.device)
        frames: Tensor = self.encoder(audio.to(self.weight), attention_mask=heard).last_hidden_state
        return frames


class SlidingEncoder(SlidingFrames, JointWindow):
    """The same for a decoder of Moonshine Streaming: `ready` makes of frames what it attends to."""

    min_samples = 1600

    def __init__(self, encoder: "PreTrainedModel", positions: Tensor, projection: nn.Module, *, max_s: float) -> None:
        super().__init__(encoder)
        self.positions, self.projection = positions, projection
        self.frame_samples = 4 * self.short_samples
        longest = min(int(max_s * SAMPLE_RATE), len(positions) * self.frame_samples)
        self.max_samples = longest // self.frame_samples * self.frame_samples

    def ready(self, frames: Tensor) -> Tensor:
        """Frames [n, D] with their places in the window, as wide as the decoder: [1, n, width]."""
        states: Tensor = self.projection(frames + self.positions[: len(frames)])
        return states[None]

    def features(self, samples: FloatArray) -> Features:
        """The samples themselves, [1, samples], without the last ones that fill no short frame."""
        samples = samples[-self.max_samples :]
        whole = samples[: len(samples) // self.short_samples * self.short_samples]
        return Features(values=torch.from_numpy(whole).to(self.weight)[None], samples=len(whole))

    def alone(self, one: Features) -> Tensor:
        return self.ready(self.whole(one.values)[0])

    def n_valid(self, one: Features, frames: int) -> int:
        return frames


def _convolved(layer: Any, held: Tensor) -> tuple[Tensor, Tensor]:
    """Outputs [channels, n] of a convolution that looks back, and the inputs from which the next one is made."""
    width, stride = layer.kernel_size[0], layer.stride[0]
    count = max(0, (held.shape[1] - width) // stride + 1)
    if not count:
        return held.new_zeros(layer.out_channels, 0), held
    used = held[:, : width + stride * (count - 1)]
    return F.conv1d(used[None], layer.weight, layer.bias, stride=stride)[0], held[:, stride * count :].clone()


def _through(
    layer: Any, new: Tensor, state: LayerState, *, left: int, right: int, sees: int
) -> tuple[Tensor, LayerState]:
    """Frames that `right` others follow, and the state after them. A frame sees `left` with those before it, and `sees`
    after it."""
    attention, normed = layer.self_attn, layer.input_layernorm(new)
    fresh = [p(normed).unflatten(-1, (-1, attention.head_dim)) for p in (attention.k_proj, attention.v_proj)]
    keys, values = (torch.cat(both) for both in zip((state.keys, state.values), fresh, strict=True))
    frames = torch.cat((state.waiting, new))
    seen, count = len(keys) - len(frames), max(0, len(frames) - right)
    out = frames[:count]
    if count:
        queries = attention.q_proj(layer.input_layernorm(out)).unflatten(-1, (-1, attention.head_dim))
        away = torch.arange(seen, seen + count, device=new.device)[:, None] - torch.arange(len(keys), device=new.device)
        groups = attention.num_key_value_groups
        every = (queries, keys.repeat_interleave(groups, dim=1), values.repeat_interleave(groups, dim=1))
        q, k, v = (one.transpose(0, 1)[None] for one in every)
        mask = (away < left) & (away >= -sees)
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=attention.scaling)
        out = out + attention.o_proj(attended[0].transpose(0, 1).flatten(1))
        out = out + layer.mlp(layer.post_attention_layernorm(out))
    first = max(0, seen + count - (left - 1))
    kept = LayerState(waiting=frames[count:].clone(), keys=keys[first:].clone(), values=values[first:].clone())
    return out, kept
