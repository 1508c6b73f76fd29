"""Full-context encoders re-run over a bounded window of audio: Whisper, Moonshine and others as they were trained.

They have no causal form, so every new chunk re-encodes what is kept; trimming by attention is what bounds the cost.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import Tensor

from simulst.core.source import SAMPLE_RATE, FloatArray
from simulst.models.packed import encoding

if TYPE_CHECKING:
    from transformers import DynamicCache, FeatureExtractionMixin, PreTrainedModel

ROUND_FRAMES = 50
"""Padding fills up whole seconds: kernels are compiled and cached per shape, every new one takes time and memory."""


@dataclass(kw_only=True, eq=False)
class EncodedWindow:
    """Encoder output of one window of audio, and what the decoder derives from it."""

    states: Tensor
    """[1, frames, width]; frames beyond `n_valid` saw padding only."""
    n_valid: int
    cross_cache: "DynamicCache | None" = None
    """Keys and values of the decoder's cross-attention, filled by the first decoding run over this window."""


class WindowedEncoder(Protocol):
    """Weights only: audio of a window in, frames out."""

    frame_samples: int
    """Samples from one frame to the next."""
    min_samples: int
    """Shorter windows give no frame."""
    max_samples: int

    def encode(self, samples: FloatArray) -> EncodedWindow:
        """Frames of 16 kHz samples, `min_samples` to `max_samples` of them."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Features:
    """What an encoder is given of a window."""

    values: Tensor
    """Of one window, with a leading dimension of 1."""
    samples: int
    """How many it was made of."""
    mask: Tensor | None = None
    """[1, rows] of features, for encoders that need to know which of them are padding."""


class JointWindow(ABC):
    """An encoder that takes several windows in one call."""

    frame_samples: int
    min_samples: int
    max_samples: int

    def encode(self, samples: FloatArray) -> EncodedWindow:
        return self.windows([self.features(samples)])[0]

    def windows(self, several: Sequence[Features]) -> list[EncodedWindow]:
        """The windows, each as it would be alone."""
        with torch.inference_mode():
            found = [self.alone(several[0])] if len(several) == 1 else self.together(several)
        pairs = zip(several, found, strict=True)
        return [EncodedWindow(states=states, n_valid=self.n_valid(one, states.shape[1])) for one, states in pairs]

    @abstractmethod
    def features(self, samples: FloatArray) -> Features:
        """What `windows` takes, of the newest samples that fit; the thread of a stream makes it."""

    @abstractmethod
    def alone(self, one: Features) -> Tensor:
        """States [1, frames, width] of a window."""

    def together(self, several: Sequence[Features]) -> list[Tensor]:
        """Those of several windows; one after the other where an encoder does not say how it takes them in one call."""
        return [self.alone(one) for one in several]

    def n_valid(self, one: Features, frames: int) -> int:
        """How many of the frames are audio: the last one may cover less than a frame, none lies behind the end."""
        return min(frames, -(-one.samples // self.frame_samples))


def apart(hidden: Sequence[Tensor], layers: Callable[[Tensor], Tensor]) -> list[Tensor]:
    """Sequences [1, frames, width] through layers that tell them apart by attention alone."""
    sizes = [one.shape[1] for one in hidden]
    with encoding(sizes):
        states = layers(torch.cat(list(hidden), dim=1))
    return [part.clone() for part in torch.split(states, sizes, 1)]


class WhisperWindow(JointWindow):
    """Whisper's encoder over the audio plus `padding_s` of silence instead of always 30 s.

    Cost is proportional to what is encoded, and some silence at the end is needed for the decoder to stop;
    `padding_s=30` is the published form. Radford et al. 2022, "Robust Speech Recognition via Large-Scale Weak
    Supervision"; the shortened context is known from whisper.cpp (`audio_ctx`).
    """

    frame_samples = 320
    min_samples = 1600

    def __init__(self, encoder: "PreTrainedModel", extractor: "FeatureExtractionMixin", *, padding_s: float) -> None:
        self.encoder = encoder
        self.extractor = extractor
        self.padding_frames = math.ceil(padding_s * SAMPLE_RATE / self.frame_samples)
        self.max_frames = int(encoder.config.max_source_positions)
        self.max_samples = self.max_frames * self.frame_samples

    def features(self, samples: FloatArray) -> Features:
        """Log-mel features [1, bands, 2 * frames] of a window."""
        samples = samples[-self.max_samples :]
        wanted = math.ceil(len(samples) / self.frame_samples) + self.padding_frames
        frames = min(self.max_frames, -(-wanted // ROUND_FRAMES) * ROUND_FRAMES)
        features = self.extractor(
            samples,
            sampling_rate=SAMPLE_RATE,
            padding="max_length",
            max_length=frames * self.frame_samples,
            return_tensors="pt",
        ).input_features
        weight = self.encoder.conv1.weight
        return Features(values=features.to(weight.device, weight.dtype), samples=len(samples))

    def alone(self, one: Features) -> Tensor:
        return self._layers(whisper_entries(self.encoder, one.values))

    def together(self, several: Sequence[Features]) -> list[Tensor]:
        return apart([whisper_entries(self.encoder, one.values) for one in several], self._layers)

    def _layers(self, hidden: Tensor) -> Tensor:
        states: Tensor = self.encoder.layer_norm(whisper_layers(self.encoder, hidden))
        return states

    def n_valid(self, one: Features, frames: int) -> int:
        return min(one.samples // self.frame_samples, frames)


def whisper_states(encoder: "PreTrainedModel", features: Tensor, frames: int | None = None) -> Tensor:
    """States [batch, frames, width] of an encoder with Whisper's layers before its last norm, of mel features
    [batch, bins, 2 * frames] of any length; with `frames`, only so many are seen."""
    return whisper_layers(encoder, whisper_entries(encoder, features, frames))


def whisper_entries(encoder: "PreTrainedModel", features: Tensor, frames: int | None = None) -> Tensor:
    """What the layers are given."""
    weight = encoder.conv1.weight
    hidden: Tensor = torch.nn.functional.gelu(encoder.conv1(features.to(weight.device, weight.dtype)))
    hidden = torch.nn.functional.gelu(encoder.conv2(hidden)).transpose(1, 2)[:, :frames]
    placed: Tensor = hidden + encoder.embed_positions.weight[: hidden.shape[1]]
    return placed.to(weight.dtype)


def whisper_layers(encoder: "PreTrainedModel", hidden: Tensor) -> Tensor:
    """States before the last norm."""
    # Required by some releases of transformers, unknown to others.
    parameters = encoder.layers[0].forward.__code__.co_varnames
    extra = {"layer_head_mask": None} if "layer_head_mask" in parameters else {}
    for layer in encoder.layers:
        output = layer(hidden, attention_mask=None, **extra)
        hidden = output[0] if isinstance(output, tuple) else output
    return hidden


class MoonshineWindow(JointWindow):
    """Moonshine's encoder: raw samples in, 41.7 frames a second, no padding.

    Jeffries et al. 2024, "Moonshine: Speech Recognition for Live Transcription and Voice Commands".
    """

    frame_samples = 384
    min_samples = 1600
    """The convolutions need 895; speech shorter than 0.1 s only makes the decoder invent words."""

    def __init__(self, encoder: "PreTrainedModel", *, max_s: float) -> None:
        self.encoder = encoder
        self.max_samples = int(max_s * SAMPLE_RATE)

    def features(self, samples: FloatArray) -> Features:
        """The samples themselves, [1, samples]."""
        weight = self.encoder.conv1.weight
        audio = torch.from_numpy(samples[-self.max_samples :]).to(weight.device, weight.dtype)[None]
        return Features(values=audio, samples=audio.shape[1])

    def alone(self, one: Features) -> Tensor:
        states: Tensor = self.encoder(one.values).last_hidden_state
        return states

    def together(self, several: Sequence[Features]) -> list[Tensor]:
        entries = [self._entries(one.values) for one in several]
        places = torch.cat([torch.arange(one.shape[1], device=one.device) for one in entries])[None]
        turned = self.encoder.rotary_emb(entries[0], position_ids=places)

        def layers(hidden: Tensor) -> Tensor:
            for layer in self.encoder.layers:
                hidden = layer(hidden, attention_mask=None, position_ids=places, position_embeddings=turned)
            states: Tensor = self.encoder.layer_norm(hidden)
            return states

        return apart(entries, layers)

    def _entries(self, audio: Tensor) -> Tensor:
        """What the layers are given; the norm sees the whole window."""
        hidden: Tensor = self.encoder.groupnorm(torch.tanh(self.encoder.conv1(audio[:, None])))
        hidden = torch.nn.functional.gelu(self.encoder.conv2(hidden))
        hidden = torch.nn.functional.gelu(self.encoder.conv3(hidden))
        return hidden.transpose(1, 2)

    def n_valid(self, one: Features, frames: int) -> int:
        return frames


class FilterbankWindow(JointWindow):
    """An encoder of transformers on Kaldi filterbank features that are normalised over the window (Seamless, S2T)."""

    min_samples = 3200

    def __init__(
        self, encoder: "PreTrainedModel", extractor: "FeatureExtractionMixin", *, frame_samples: int, max_s: float
    ) -> None:
        self.encoder = encoder
        self.extractor = extractor
        self.frame_samples = frame_samples
        self.max_samples = int(max_s * SAMPLE_RATE)

    def features(self, samples: FloatArray) -> Features:
        """[1, rows, bands]"""
        samples = samples[-self.max_samples :]
        with np.errstate(divide="ignore", invalid="ignore"):  # digital silence has no deviation to divide by
            features = self.extractor(samples, sampling_rate=SAMPLE_RATE, return_tensors="pt")
        weight = next(self.encoder.parameters())
        values = features.input_features.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0).to(weight.device, weight.dtype)
        return Features(values=values, samples=len(samples))

    def alone(self, one: Features) -> Tensor:
        states: Tensor = self.encoder(one.values).last_hidden_state
        return states
