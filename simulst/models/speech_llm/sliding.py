"""The encoder of Moonshine Streaming under a speech LLM: as it was trained, with a cache, every second encoded once."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from simulst.audio.samples import SAMPLE_RATE
from simulst.errors import ModelError
from simulst.models.checkpoint import load_pretrained, read_json
from simulst.models.seq2seq.sliding_encoder import EncoderStream, SlidingFrames
from simulst.models.speech_llm.hub_encoders import Shape
from simulst.models.speech_llm.streaming_encoder import EncoderState, StreamingEncoder

if TYPE_CHECKING:
    from transformers import PreTrainedModel

CHECKPOINT, NETWORK = "moonshine_streaming", "moonshine_streaming_encoder"
"""`model_type` of a checkpoint, and of the encoder in it."""
LONGEST_REACH = 3000
WHOLE_CLIP_FRAMES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class SlidingConfig:
    """The encoder as `simulst.json` holds it; sizes in its frames of 20 ms."""

    network: Mapping[str, object]
    """Its configuration in transformers."""
    block_frames: int = 10
    frame_multiple: int = 5

    def __post_init__(self) -> None:
        if self.block_frames % self.frame_multiple:
            raise ValueError(f"block_frames, {self.block_frames}, is no multiple of {self.frame_multiple}")

    @cached_property
    def shape(self) -> Shape:
        """Sizes of the network; raises anything where its configuration cannot be."""
        from transformers import MoonshineStreamingEncoderConfig

        config = MoonshineStreamingEncoderConfig(**_given(self.network))
        if max(max(pair) for pair in config.sliding_windows) > LONGEST_REACH:
            raise ValueError(f"a layer sees more than {LONGEST_REACH} frames")
        short = round(SAMPLE_RATE * config.frame_ms / 1000)
        return Shape(model_dim=int(config.hidden_size), frame_samples=4 * short, tail_samples=0)

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
        return self.block_frames

    @classmethod
    def of(cls, directory: Path) -> "SlidingConfig":
        """That of a checkpoint. Raises ModelError."""
        network = read_json(directory / "config.json").get("encoder_config")
        if not isinstance(network, dict):
            raise ModelError(f"{directory}/config.json does not describe an encoder (encoder_config).")
        return cls(network={**network, "model_type": NETWORK})

    @classmethod
    def from_dict(cls, values: dict[str, object]) -> "SlidingConfig":
        known = {f.name for f in fields(cls)}
        if unknown := set(values) - known:
            raise ValueError(f"unknown key {min(unknown)!r} of the encoder; known: {', '.join(sorted(known))}")
        return cls(**values)  # type: ignore[arg-type]

    def to_dict(self) -> dict[str, object]:
        return asdict(self)


def _given(network: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in network.items() if name != "model_type"}


@dataclass
class SlidingState(EncoderState):
    """One stream; `heard` is replaced, never modified."""

    heard: EncoderStream | None = None
    ahead: list[Tensor] = field(default_factory=list)
    """Frames [n, D] that make no speech vector yet."""

    def same(self, other: EncoderState) -> bool:
        return isinstance(other, SlidingState) and self.heard is other.heard and super().same(other)


class SlidingStreamingEncoder(StreamingEncoder):
    """Moonshine Streaming's encoder; a window is the samples of a block alone, the rest is cached."""

    config: SlidingConfig

    def __init__(self, config: SlidingConfig, network: "PreTrainedModel | None" = None) -> None:
        super().__init__()
        self.config = config
        assert config.shape.frame_samples > 0
        self.network = network or _empty(config)
        self._frames = SlidingFrames(self.network)

    def full(self, audio: Tensor) -> Tensor:
        unit = self.config.frame_samples * self.config.frame_multiple
        missing = -audio.shape[1] % unit
        if not audio.shape[1]:
            return self.nothing().expand(len(audio), 0, -1)
        return self._frames.whole(F.pad(audio, (0, missing)))

    def open(self) -> SlidingState:
        weight = self._frames.weight
        return SlidingState(samples=torch.zeros(0, device=weight.device), heard=self._frames.open())

    def hear_whole_clips(self) -> None:
        self.config = replace(self.config, block_frames=WHOLE_CLIP_FRAMES * self.config.frame_multiple)

    def push(self, samples: Tensor, state: EncoderState, is_final: bool) -> Iterator[tuple[Tensor, int]]:
        if state.finished:
            raise RuntimeError("this stream has ended: open a new encoder state")
        state.samples = torch.cat((state.samples, samples.to(state.samples)))
        if is_final:
            state.finished = True
            unit = self.config.frame_samples * self.config.frame_multiple
            state.samples = F.pad(state.samples, (0, -len(state.samples) % unit))
        return self._ready(state)

    def _ready(self, state: EncoderState) -> Iterator[tuple[Tensor, int]]:
        unit = self.config.block_frames * self.config.frame_samples
        while len(state.samples) >= unit or state.finished:
            window, state.samples = state.samples[:unit], state.samples[unit:].clone()
            yield window, len(window) // self.config.frame_samples
            if state.finished and not len(state.samples):
                return

    def block(self, window: Tensor, main: int, state: EncoderState) -> Tensor:
        """Frames of whole speech vectors, not always `main` of them: the first wait for those that they see."""
        assert isinstance(state, SlidingState) and state.heard is not None
        last = state.finished and not len(state.samples)
        frames, state.heard = self._frames.step(window, state.heard, is_final=last)
        frames = torch.cat((*state.ahead, frames))
        whole = len(frames) // self.config.frame_multiple * self.config.frame_multiple
        state.ahead = [frames[whole:].clone()]
        state.frames += whole
        return frames[:whole]


def _empty(config: SlidingConfig) -> "PreTrainedModel":
    from transformers import MoonshineStreamingEncoderConfig
    from transformers.models.moonshine_streaming.modeling_moonshine_streaming import MoonshineStreamingEncoder

    inner = MoonshineStreamingEncoderConfig(**_given(config.network))
    model: PreTrainedModel = MoonshineStreamingEncoder._from_config(inner, attn_implementation="sdpa")
    return model


def load_sliding(directory: Path) -> SlidingStreamingEncoder:
    """The encoder of a local Moonshine Streaming, frozen. Raises ModelError."""
    from transformers import AutoModel

    config = SlidingConfig.of(directory)
    model = load_pretrained(AutoModel, directory, device="cpu", dtype="float32")
    return SlidingStreamingEncoder(config, model.get_encoder())
