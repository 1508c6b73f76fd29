"""What every encoder of a speech LLM is to its streams: blocks of frames that are given out once, and a state each."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch
from torch import Tensor, nn


class EncoderSizes(Protocol):
    """What others need to know of an encoder's configuration; sizes are frames."""

    @property
    def model_dim(self) -> int: ...

    @property
    def block_frames(self) -> int:
        """Frames that are given out at once."""
        ...

    @property
    def pass_frames(self) -> int:
        """Frames that go through the layers for a block."""
        ...

    @property
    def frame_multiple(self) -> int:
        """Zeros fill the end of a stream up to a multiple of so many frames; so many make a speech vector."""
        ...

    @property
    def frame_samples(self) -> int:
        """Samples from one frame to the next."""
        ...

    @property
    def frame_s(self) -> float: ...


@dataclass
class EncoderState:
    """One stream: audio that is still needed, statistics, cached keys and values; its size does not depend on time."""

    samples: Tensor
    frames: int = 0
    """Frames given out so far."""
    count: float = 0.0
    total: float = 0.0
    squares: float = 0.0
    keys: list[Tensor] = field(default_factory=list)
    values: list[Tensor] = field(default_factory=list)
    finished: bool = False

    def clone(self) -> "EncoderState":
        """An independent copy; tensors are shared because steps replace and never modify them."""
        return replace(self, keys=list(self.keys), values=list(self.values))

    def same(self, other: "EncoderState") -> bool:
        """Whether both are copies of one state: what is cached is the same tensor then, as steps replace them."""
        one, two = ((s.frames, s.count, s.total, s.squares, s.finished, len(s.keys)) for s in (self, other))
        if one != two:
            return False
        cached = zip((*self.keys, *self.values), (*other.keys, *other.values), strict=True)
        return all(a is b for a, b in cached) and torch.equal(self.samples, other.samples)

    def become(self, other: "EncoderState") -> None:
        """Turn into a copy of another state."""
        vars(self).update(vars(other.clone()))


class StreamingEncoder(nn.Module, ABC):
    """Weights only; every stream's state comes from `open` and is passed to `step`.

    A window is the samples that the frames of one block are made of; `full` of all samples equals the concatenation of
    all steps, however the audio was cut.
    """

    config: EncoderSizes

    @abstractmethod
    def full(self, audio: Tensor) -> Tensor:
        """All frames of whole clips at once: [N, samples] of equal length -> [N, frames, D]."""

    @abstractmethod
    def open(self) -> EncoderState:
        """The state of a new stream."""

    @abstractmethod
    def push(self, samples: Tensor, state: EncoderState, is_final: bool) -> Iterator[tuple[Tensor, int]]:
        """Append samples; the windows that are ready, one after the other, and the frames of the block of each."""

    @abstractmethod
    def block(self, window: Tensor, main: int, state: EncoderState) -> Tensor:
        """The `main` frames [main, D] of the next block, out of its window."""

    def blocks(self, windows: Sequence[Tensor], main: int, states: Sequence[EncoderState]) -> list[Tensor]:
        """The same for windows of equal size of several streams."""
        return [self.block(window, main, state) for window, state in zip(windows, states, strict=True)]

    @abstractmethod
    def hear_whole_clips(self) -> None:
        """From now on a stream is one block where that can be, encoded at its end."""

    def step(self, samples: Tensor, state: EncoderState, *, is_final: bool = False) -> Tensor:
        """Append samples [n] and return the frames of every block that became complete: [frames, D], maybe none.

        After `is_final` the stream is over.
        """
        out = [self.block(window, main, state) for window, main in self.push(samples, state, is_final)]
        return torch.cat(out) if out else self.nothing()

    def nothing(self) -> Tensor:
        """No frames, [0, D]."""
        return next(self.parameters()).new_zeros(0, self.config.model_dim)
