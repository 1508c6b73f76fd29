"""Encoders without a causal form, streamed: each block of frames is taken out of a window with context on both sides.

The window begins `left_frames` before the block and ends `lookahead_frames` after it, wherever the audio was cut; what
lies in it is encoded again with every block, which costs the same at any time of the stream.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from simulst.audio.samples import SAMPLE_RATE
from simulst.core.settings import setting
from simulst.models.speech_llm.hub_encoders import (
    ENCODERS,
    HubEncoder,
    Shape,
    config_of,
    empty_encoder,
    load_encoder,
    network_of,
    normalises,
)
from simulst.models.speech_llm.streaming_encoder import EncoderState, StreamingEncoder

LONGEST_FRAMES = 3000
"""No window is longer: a minute of frames of 20 ms."""
VECTOR_S = 0.1
"""About what a speech vector stands for."""
PORTION_SAMPLES = 60 * SAMPLE_RATE
"""About what `full` encodes at once."""


@dataclass(frozen=True, kw_only=True)
class Window:
    """What an encoder without a causal form sees for each block of frames."""

    block_s: float = setting(0.6, "audio whose frames are given out at once", unit="s", at_least=0.1, at_most=10)
    lookahead_s: float = setting(0.3, "audio after it that is waited for", unit="s", at_least=0, at_most=10)
    left_s: float = setting(4.0, "audio before it that is encoded again", unit="s", at_least=0, at_most=40)


@dataclass(frozen=True, kw_only=True)
class WindowedConfig:
    """The encoder as `simulst.json` holds it; sizes in its frames."""

    network: Mapping[str, object]
    """Its configuration in transformers."""
    normalise: bool = True
    """Whether samples of a window get mean 0 and variance 1, where the encoder hears samples."""
    block_frames: int = 30
    lookahead_frames: int = 15
    left_frames: int = 200
    frame_multiple: int = 5

    def __post_init__(self) -> None:
        if self.block_frames % self.frame_multiple:
            raise ValueError(f"block_frames, {self.block_frames}, is no multiple of {self.frame_multiple}")
        if self.pass_frames > LONGEST_FRAMES:
            raise ValueError(f"a window of {self.pass_frames} frames is longer than {LONGEST_FRAMES}")

    @cached_property
    def shape(self) -> Shape:
        """Sizes of the network; raises anything where its configuration cannot be."""
        return ENCODERS[str(self.network["model_type"])].shape(config_of(self.network))

    @property
    def model_dim(self) -> int:
        return self.shape.model_dim

    @property
    def frame_samples(self) -> int:
        return self.shape.frame_samples

    @property
    def frame_s(self) -> float:
        return self.shape.frame_samples / SAMPLE_RATE

    @property
    def pass_frames(self) -> int:
        return self.left_frames + self.block_frames + self.lookahead_frames

    @classmethod
    def of(cls, directory: Path, window: Window) -> "WindowedConfig":
        """That of a checkpoint; ModelError for one that is not known here, ValueError for a window it cannot have."""
        network = network_of(directory)
        frame_s = cls(network=network).frame_s
        multiple = max(1, round(VECTOR_S / frame_s))
        vectors = max(1, round(window.block_s / frame_s / multiple))
        made = cls(
            network=network,
            normalise=normalises(directory),
            block_frames=vectors * multiple,
            lookahead_frames=round(window.lookahead_s / frame_s),
            left_frames=round(window.left_s / frame_s),
            frame_multiple=multiple,
        )
        made.check_longest()
        return made

    def check_longest(self) -> None:
        """ValueError where the encoder has no positions for such a window."""
        longest = self.shape.longest_frames
        if longest is not None and self.pass_frames > longest:
            raise ValueError(f"a window of {self.pass_frames} frames is longer than the encoder's {longest}")

    @classmethod
    def from_dict(cls, values: dict[str, object]) -> "WindowedConfig":
        known = {f.name for f in fields(cls)}
        if unknown := set(values) - known:
            raise ValueError(f"unknown key {min(unknown)!r} of the encoder; known: {', '.join(sorted(known))}")
        return cls(**values)  # type: ignore[arg-type]

    def to_dict(self) -> dict[str, object]:
        return asdict(self)


class WindowedEncoder(StreamingEncoder):
    """An encoder of the hub; a window is the samples of a block, of what it sees before it and after it."""

    config: WindowedConfig

    def __init__(self, config: WindowedConfig, network: HubEncoder | None = None) -> None:
        super().__init__()
        config.check_longest()
        self.config = config
        self.network = network or empty_encoder(config.network, normalise=config.normalise)

    def full(self, audio: Tensor) -> Tensor:
        c, shape = self.config, self.config.shape
        unit = shape.frame_samples * c.frame_multiple
        total = -(-audio.shape[1] // unit) * c.frame_multiple
        audio = F.pad(audio, (0, total * shape.frame_samples + shape.tail_samples - audio.shape[1]))
        found: dict[int, Tensor] = {}
        for (left, width), starts in self._alike(total).items():
            samples = (left + width) * shape.frame_samples + shape.tail_samples
            at_once = max(1, PORTION_SAMPLES // (samples * len(audio)))
            for portion in (starts[i : i + at_once] for i in range(0, len(starts), at_once)):
                cuts = [
                    audio[:, begin : begin + samples] for begin in ((s - left) * shape.frame_samples for s in portion)
                ]
                frames = self.network(torch.cat(cuts))[:, left : left + c.block_frames]
                found |= dict(zip(portion, frames.split(len(audio)), strict=True))
        blocks = [found[start][:, : total - start] for start in sorted(found)]
        return torch.cat(blocks, dim=1) if blocks else self.nothing().expand(len(audio), 0, -1)

    def _alike(self, total: int) -> dict[tuple[int, int], list[int]]:
        """First frames of blocks by what they see: frames before them, and with and after them."""
        c, found = self.config, dict[tuple[int, int], list[int]]()
        for start in range(0, total, c.block_frames):
            width = min(total - start, c.block_frames + c.lookahead_frames)
            found.setdefault((min(start, c.left_frames), width), []).append(start)
        return found

    def open(self) -> EncoderState:
        return EncoderState(samples=torch.zeros(0, device=next(self.parameters()).device))

    def hear_whole_clips(self) -> None:
        c = self.config
        longest = (c.shape.longest_frames or LONGEST_FRAMES) // c.frame_multiple * c.frame_multiple
        self.config = replace(c, block_frames=longest, lookahead_frames=0, left_frames=0)

    def push(self, samples: Tensor, state: EncoderState, is_final: bool) -> Iterator[tuple[Tensor, int]]:
        if state.finished:
            raise RuntimeError("this stream has ended: open a new encoder state")
        state.samples = torch.cat((state.samples, samples.to(state.samples)))
        if is_final:
            state.finished = True
            self._fill_up(state)
        return self._ready(state, is_final)

    def _left(self, state: EncoderState) -> int:
        """Frames before the next block whose samples are kept."""
        return min(state.frames, self.config.left_frames)

    def _fill_up(self, state: EncoderState) -> None:
        """Zeros up to a whole number of speech vectors."""
        c, shape = self.config, self.config.shape
        before = self._left(state) * shape.frame_samples
        unit = shape.frame_samples * c.frame_multiple
        vectors = -(-max(0, len(state.samples) - before) // unit)
        missing = before + vectors * unit + shape.tail_samples - len(state.samples)
        state.samples = F.pad(state.samples, (0, missing))

    def _ready(self, state: EncoderState, is_final: bool) -> Iterator[tuple[Tensor, int]]:
        c, shape = self.config, self.config.shape
        whole = c.block_frames + c.lookahead_frames
        while True:
            left = self._left(state)
            width = min(max(0, len(state.samples) - shape.tail_samples) // shape.frame_samples - left, whole)
            if width <= 0 or (width < whole and not is_final):
                return
            main = min(width, c.block_frames)
            window = state.samples[: (left + width) * shape.frame_samples + shape.tail_samples]
            past = left + main - min(state.frames + main, c.left_frames)
            state.samples = state.samples[past * shape.frame_samples :].clone()
            yield window, main

    def block(self, window: Tensor, main: int, state: EncoderState) -> Tensor:
        return self.blocks([window], main, [state])[0]

    def blocks(self, windows: Sequence[Tensor], main: int, states: Sequence[EncoderState]) -> list[Tensor]:
        frames, found = self.network(torch.stack(list(windows))), []
        for one, state in zip(frames, states, strict=True):
            left = self._left(state)
            found.append(one[left : left + main])
            state.frames += main
        return found


def load_windowed(directory: Path, config: WindowedConfig) -> WindowedEncoder:
    """The encoder of a local checkpoint of the hub, frozen. Raises ModelError."""
    return WindowedEncoder(config, load_encoder(directory, config.network, normalise=config.normalise))
