"""A streaming speech encoder: Moonshine's architecture on fairseq2 modules, made block-causal.

Audio is cut into blocks of `block_frames`; a block sees itself, `lookahead_frames` after it and `left_frames` before
it. Look-ahead frames are hard copies (Emformer, arXiv 2010.10759): computed for their block only, never cached, so the
look-ahead does not grow with depth. Group norm uses decayed statistics of the audio heard so far instead of the whole
clip's. `full` computes all blocks in parallel, `step` one after the other with cached keys and values; both give the
same frames, and a step costs the same at any time of the stream.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from simulst.models.seq2seq import fairseq2_python as _fairseq2
from simulst.models.speech_llm.streaming_encoder import EncoderState, StreamingEncoder

_fairseq2.prepare()

from fairseq2.gang import create_fake_gangs  # noqa: E402
from fairseq2.models.transformer import (  # noqa: E402
    StandardFeedForwardNetwork,
    StandardMultiheadAttention,
    StandardTransformerEncoderLayer,
    TransformerNormOrder,
    create_default_sdpa,
)
from fairseq2.models.transformer.attention_bias import IdentityBias  # noqa: E402
from fairseq2.nn import StandardLayerNorm  # noqa: E402

FRAME_SAMPLES = 384
"""Samples per frame (24 ms): the strides of the three convolutions, 64 * 3 * 2."""
TAIL_SAMPLES = 511
"""Samples after its own 384 that a frame needs: its receptive field is 895 samples."""
FULL_CONTEXT = 1 << 20
"""A block of seven hours: the whole clip."""
CONV1_PER_FRAME = 6
CONV1_TAIL = 7
"""`n` frames need `6 n + 7` outputs of the first convolution."""


@dataclass(frozen=True, kw_only=True)
class BlockCausalConfig:
    """Sizes in frames of 24 ms; the defaults are Moonshine tiny with 0.67 s blocks and 0.31 s look-ahead."""

    model_dim: int = 288
    inner_dim: int = 1152
    layers: int = 6
    heads: int = 8
    rotary_dim: int = 32
    block_frames: int = 28
    lookahead_frames: int = 13
    left_frames: int = 420
    frame_multiple: int = 4
    """`full` and the last `step` pad with zeros to a multiple of this many frames."""
    norm_half_life_s: float = 15.0
    """Group-norm statistics forget the past with this half-life."""

    def __post_init__(self) -> None:
        if self.block_frames % self.frame_multiple or self.left_frames % self.block_frames:
            raise ValueError(
                f"block_frames must be a multiple of frame_multiple and left_frames of block_frames, "
                f"but they are {self.block_frames}, {self.frame_multiple}, {self.left_frames}"
            )
        if self.model_dim % self.heads or self.rotary_dim % 2 or self.rotary_dim > self.model_dim // self.heads:
            raise ValueError(
                f"model_dim must be a multiple of heads, and rotary_dim even and at most the width of a head, but they "
                f"are {self.model_dim}, {self.heads} and {self.rotary_dim}"
            )

    @property
    def frame_samples(self) -> int:
        return FRAME_SAMPLES

    @property
    def frame_s(self) -> float:
        return FRAME_SAMPLES / 16_000

    @property
    def pass_frames(self) -> int:
        return self.block_frames + self.lookahead_frames

    @property
    def decay(self) -> float:
        """What one block leaves of the statistics before it."""
        return float(0.5 ** (self.block_frames * self.frame_s / self.norm_half_life_s))

    @classmethod
    def from_dict(cls, values: dict[str, object]) -> "BlockCausalConfig":
        known = {f.name for f in fields(cls)}
        if unknown := set(values) - known:
            raise ValueError(f"unknown key {min(unknown)!r} of the encoder; known: {', '.join(sorted(known))}")
        return cls(**values)  # type: ignore[arg-type]

    def to_dict(self) -> dict[str, object]:
        return asdict(self)


def padded_samples(samples: int, frame_multiple: int) -> int:
    """Length after zero padding so that every sample is the own part of a frame; 0 stays 0."""
    unit = FRAME_SAMPLES * frame_multiple
    return -(-samples // unit) * unit + TAIL_SAMPLES if samples else 0


def turns(positions: Tensor, rotary_dim: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Cosines and sines [..., S, 1, rotary_dim / 2] of positions [..., S], computed in float64: hours stay exact."""
    half = torch.arange(0, rotary_dim, 2, device=positions.device, dtype=torch.float64)
    angles = positions.to(torch.float64)[..., None, None] * (10_000.0 ** (-half / rotary_dim))
    return angles.cos().to(dtype), angles.sin().to(dtype)


def rotate(x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    """Rotary embedding of the first channels, interleaved pairs: x [..., S, H, E] by the `turns` of its positions."""
    cos, sin = turn
    rotary_dim = 2 * cos.shape[-1]
    even, odd = x[..., 0:rotary_dim:2], x[..., 1:rotary_dim:2]
    turned = torch.stack((even * cos - odd * sin, odd * cos + even * sin), dim=-1).flatten(-2)
    return torch.cat((turned, x[..., rotary_dim:]), dim=-1)


class BlockCausalEncoder(StreamingEncoder):
    """Moonshine's layers; a window is the samples of a block and of the look-ahead after it."""

    config: BlockCausalConfig

    def __init__(self, config: BlockCausalConfig) -> None:
        super().__init__()
        self.config, d = config, config.model_dim
        self.conv1 = nn.Conv1d(1, d, 127, stride=64, bias=False)
        self.norm = nn.GroupNorm(1, d)
        self.conv2 = nn.Conv1d(d, 2 * d, 7, stride=3)
        self.conv3 = nn.Conv1d(2 * d, d, 3, stride=2)
        self.layers = nn.ModuleList(self._layer() for _ in range(config.layers))
        self.layer_norm = StandardLayerNorm(d, bias=False)

    def _layer(self) -> nn.Module:
        c, d = self.config, self.config.model_dim
        device = torch.get_default_device()  # given, as otherwise fairseq2 initialises its whole library to find one
        place = {"gangs": create_fake_gangs(device), "device": device}
        sdpa = create_default_sdpa(IdentityBias())
        return StandardTransformerEncoderLayer(  # type: ignore[no-any-return]
            StandardMultiheadAttention(d, c.heads, sdpa, bias=False, **place),
            StandardLayerNorm(d, bias=False),
            StandardFeedForwardNetwork(d, c.inner_dim, bias=True, inner_activation=nn.GELU(), **place),
            StandardLayerNorm(d, bias=False),
            norm_order=TransformerNormOrder.PRE,
        )

    # -- the parallel form ------------------------------------------------------------------------------------------

    def full(self, audio: Tensor) -> Tensor:
        c = self.config
        length = padded_samples(audio.shape[1], c.frame_multiple)
        if not length:
            return audio.new_zeros(audio.shape[0], 0, c.model_dim)
        total = (length - TAIL_SAMPLES) // FRAME_SAMPLES
        blocks = -(-total // c.block_frames)
        width = c.block_frames + c.lookahead_frames
        span = (blocks - 1) * c.block_frames + width
        audio = F.pad(audio, (0, span * FRAME_SAMPLES + TAIL_SAMPLES - audio.shape[1]))
        windows = audio.unfold(1, width * FRAME_SAMPLES + TAIL_SAMPLES, c.block_frames * FRAME_SAMPLES)
        frame = torch.arange(width, device=audio.device) + c.block_frames * torch.arange(
            blocks, device=audio.device
        ).unsqueeze(1)
        x = self._front_parallel(windows, total)
        x = self._layers_parallel(x, frame, total)
        return self.layer_norm(x[:, :, : c.block_frames].flatten(1, 2)[:, :total])  # type: ignore[no-any-return]

    def _front_parallel(self, windows: Tensor, total: int) -> Tensor:
        """[N, blocks, window samples] -> [N, blocks, width, D], each block normalised as its moment in time allows."""
        c, (n, blocks, _) = self.config, windows.shape
        x = torch.tanh(self.conv1(windows.reshape(n * blocks, 1, -1))).float()
        x = x.view(n, blocks, c.model_dim, -1)
        index = torch.arange(x.shape[-1], device=x.device)
        start = CONV1_PER_FRAME * c.block_frames * torch.arange(blocks, device=x.device)
        exists = (start.unsqueeze(1) + index < CONV1_PER_FRAME * total + CONV1_TAIL).to(x.dtype)
        main = exists * (index < CONV1_PER_FRAME * c.block_frames)
        sums = torch.stack((torch.ones_like(x[:, :, 0]), x.sum(2), x.square().sum(2)), dim=-1).double()
        of_main = (sums * main[None, :, :, None]).sum(2)
        of_rest = (sums * (exists - main)[None, :, :, None]).sum(2)
        past, seen = torch.zeros_like(of_main[:, 0]), []
        for block in range(blocks):
            past = c.decay * past + of_main[:, block]
            seen.append(past + of_rest[:, block])
        count, total_, squares = torch.stack(seen, dim=1).unbind(-1)
        x = self.normalise(x, count * c.model_dim, total_, squares)
        return self.convolve(x.flatten(0, 1)).view(n, blocks, -1, c.model_dim)

    def normalise(self, x: Tensor, count: Tensor, total: Tensor, squares: Tensor) -> Tensor:
        """Group norm with given sums: x [..., D, T]; sums [...]."""
        mean = total / count
        scale = (squares / count - mean.square()).clamp(min=0).add(self.norm.eps).rsqrt()
        weight, bias = self.norm.weight[:, None], self.norm.bias[:, None]
        return (x - mean.to(x.dtype)[..., None, None]) * scale.to(x.dtype)[..., None, None] * weight + bias

    def convolve(self, x: Tensor) -> Tensor:
        """[N, D, 6 n + 7] -> [N, n, D]; float32 into a model of half precision is rounded here."""
        return F.gelu(self.conv3(F.gelu(self.conv2(x.to(self.conv1.weight))))).transpose(1, 2)

    def _layers_parallel(self, x: Tensor, frame: Tensor, total: int) -> Tensor:
        c = self.config
        blocks = len(frame)
        left = min(c.left_frames, (blocks - 1) * c.block_frames)
        past = torch.arange(-left, 0, device=x.device) + c.block_frames * torch.arange(
            blocks, device=x.device
        ).unsqueeze(1)
        mask = torch.cat((past >= 0, frame < total), dim=1).repeat(len(x), 1)  # [N * blocks, left + width]
        turn = turns(frame, c.rotary_dim, x.dtype)
        for layer in self.layers:
            q, k, v = self.project(layer, x, turn)
            keys, values = (self._with_past(t, left).flatten(0, 1) for t in (k, v))
            attended = self.attend(q.flatten(0, 1), keys, values, mask)
            x = self.residual(layer, x, attended.view(x.shape))
        return x

    def _with_past(self, t: Tensor, left: int) -> Tensor:
        """[N, blocks, width, H, E] -> [N, blocks, left + width, H, E]: main frames of earlier blocks first."""
        if not left:
            return t
        n, blocks, _, h, e = t.shape
        main = t[:, :, : self.config.block_frames].reshape(n, -1, h, e)[:, : (blocks - 1) * self.config.block_frames]
        past = F.pad(main, (0, 0, 0, 0, left, 0)).unfold(1, left, self.config.block_frames)
        return torch.cat((past.permute(0, 1, 4, 2, 3), t), dim=2)

    # -- shared by both forms ---------------------------------------------------------------------------------------

    def project(self, layer: nn.Module, x: Tensor, turn: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """[..., S, D] -> three of [..., S, H, E]; queries and keys already rotated to their absolute frame."""
        attention = layer.self_attn
        h = layer.self_attn_layer_norm(x)  # type: ignore[operator]
        q, k, v = (
            p(h).unflatten(-1, (self.config.heads, -1))  # type: ignore[operator]
            for p in (attention.q_proj, attention.k_proj, attention.v_proj)  # type: ignore[union-attr]
        )
        return rotate(q, turn), rotate(k, turn), v

    @staticmethod
    def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        """[N, S, H, E] over [N, K, H, E] -> [N, S, H * E]; mask [N, K] is True where a key exists."""
        q, k, v = (t.transpose(1, 2) for t in (q, k, v))
        if mask is not None:
            mask = mask[:, None, None].expand(-1, 1, q.shape[2], -1)
        width = q.shape[-1]
        if q.device.type != "cpu" and width % 8:  # the fused kernels of a GPU take no such heads
            q, k, v = (F.pad(t, (0, -width % 8)) for t in (q, k, v))
        found = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=width**-0.5)
        return found[..., :width].transpose(1, 2).flatten(2)

    @staticmethod
    def residual(layer: nn.Module, x: Tensor, attended: Tensor) -> Tensor:
        """[..., S, D] after what was attended to and the feed-forward part of a layer."""
        x = x + layer.self_attn.output_proj(attended)  # type: ignore[operator,union-attr]
        return x + layer.ffn(layer.ffn_layer_norm(x))  # type: ignore[no-any-return,operator]

    # -- the streaming form -----------------------------------------------------------------------------------------

    def open(self) -> EncoderState:
        weight = self.conv1.weight
        return EncoderState(samples=torch.zeros(0, device=weight.device, dtype=weight.dtype))

    def hear_whole_clips(self) -> None:
        self.config = replace(self.config, block_frames=FULL_CONTEXT, lookahead_frames=0, left_frames=0)

    def push(self, samples: Tensor, state: EncoderState, is_final: bool) -> Iterator[tuple[Tensor, int]]:
        if state.finished:
            raise RuntimeError("this stream has ended: open a new encoder state")
        state.samples = torch.cat((state.samples, samples.to(state.samples)))
        if is_final:
            state.finished = True
            # frames given out so far are a multiple of frame_multiple, so padding the tail pads the whole
            missing = padded_samples(len(state.samples), self.config.frame_multiple) - len(state.samples)
            state.samples = F.pad(state.samples, (0, missing))
        return self._ready(state, is_final)

    def _ready(self, state: EncoderState, is_final: bool) -> Iterator[tuple[Tensor, int]]:
        """(samples of one block with its look-ahead, main frames in it) while there are whole ones."""
        c = self.config
        while True:
            frames = max(0, len(state.samples) - TAIL_SAMPLES) // FRAME_SAMPLES
            width = min(frames, c.block_frames + c.lookahead_frames)
            if width == 0 or (width < c.block_frames + c.lookahead_frames and not is_final):
                return
            main = min(width, c.block_frames)
            window = state.samples[: width * FRAME_SAMPLES + TAIL_SAMPLES]
            state.samples = state.samples[main * FRAME_SAMPLES :].clone()
            yield window, main

    def block(self, window: Tensor, main: int, state: EncoderState) -> Tensor:
        c = self.config
        x = self._front_step(window, main, state)
        turn = turns(state.frames + torch.arange(x.shape[0], device=x.device), c.rotary_dim, x.dtype)
        for index, layer in enumerate(self.layers):
            q, k, v = self.project(layer, x, turn)
            if index + 1 == len(self.layers):  # of the look-ahead nobody needs the output
                x, q = x[:main], q[:main]
            x = self.residual(layer, x, self.see(index, q, k, v, main, state))
        state.frames += main
        return self.layer_norm(x)  # type: ignore[no-any-return]

    def see(self, index: int, q: Tensor, k: Tensor, v: Tensor, main: int, state: EncoderState) -> Tensor:
        """What one stream's queries [S, H, E] of a layer see, [S, H * E]: what is cached and the new block, of which
        the look-ahead is not kept."""
        if index == len(state.keys):
            state.keys.append(k[:0])
            state.values.append(v[:0])
        keys, values = torch.cat((state.keys[index], k)), torch.cat((state.values[index], v))
        end = keys.shape[0] - (k.shape[0] - main)
        kept = slice(max(0, end - self.config.left_frames), end)
        state.keys[index], state.values[index] = keys[kept], values[kept]
        return self.attend(q[None], keys[None], values[None], None)[0]

    def _front_step(self, window: Tensor, main: int, state: EncoderState) -> Tensor:
        """Samples of one block -> its frames before the transformer, [width, D]; updates the statistics."""
        x = torch.tanh(self.conv1(window[None, None])).float()[0]
        decay = self.config.decay if state.frames else 1.0
        cut = CONV1_PER_FRAME * main  # what follows is heard again by the next block, so it is not carried on
        parts = x[:, :cut].double(), x[:, cut:].double()
        heard = torch.stack([number for part in parts for number in (part.sum(), part.square().sum())]).tolist()
        sums, rest = ([float(part.numel()), *heard[i : i + 2]] for part, i in zip(parts, (0, 2), strict=True))
        past = (state.count, state.total, state.squares)
        state.count, state.total, state.squares = (decay * p + s for p, s in zip(past, sums, strict=True))
        seen = (p + r for p, r in zip((state.count, state.total, state.squares), rest, strict=True))
        count, total, squares = torch.tensor(list(seen), dtype=torch.float64, device=x.device)
        return self.convolve(self.normalise(x, count, total, squares)[None])[0]
