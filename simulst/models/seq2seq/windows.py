"""Full-context encoders re-run over a bounded window of audio: Whisper, Moonshine and others as they were trained.

They have no causal form, so every new chunk re-encodes what is kept; trimming by attention is what bounds the cost.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import Tensor

from simulst.core.source import SAMPLE_RATE, FloatArray

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


class WhisperWindow:
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

    def features(self, samples: FloatArray) -> tuple[Tensor, int]:
        """Log-mel features [1, bands, 2 * frames] of a window, and how many frames are audio."""
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
        return features.to(weight.device, weight.dtype), min(len(samples) // self.frame_samples, frames)

    def encode(self, samples: FloatArray) -> EncodedWindow:
        features, n_valid = self.features(samples)
        with torch.inference_mode():
            states = self.encoder.layer_norm(whisper_states(self.encoder, features))
        return EncodedWindow(states=states, n_valid=n_valid)


def whisper_states(encoder: "PreTrainedModel", features: Tensor, frames: int | None = None) -> Tensor:
    """States [batch, frames, width] of an encoder with Whisper's layers before its last norm, of mel features
    [batch, bins, 2 * frames] of any length; with `frames`, only so many are seen."""
    # Required by some releases of transformers, unknown to others.
    parameters = encoder.layers[0].forward.__code__.co_varnames
    extra = {"layer_head_mask": None} if "layer_head_mask" in parameters else {}
    weight = encoder.conv1.weight
    hidden: Tensor = torch.nn.functional.gelu(encoder.conv1(features.to(weight.device, weight.dtype)))
    hidden = torch.nn.functional.gelu(encoder.conv2(hidden)).transpose(1, 2)[:, :frames]
    hidden = (hidden + encoder.embed_positions.weight[: hidden.shape[1]]).to(weight.dtype)
    for layer in encoder.layers:
        output = layer(hidden, attention_mask=None, **extra)
        hidden = output[0] if isinstance(output, tuple) else output
    return hidden


class MoonshineWindow:
    """Moonshine's encoder: raw samples in, 41.7 frames a second, no padding.

    Jeffries et al. 2024, "Moonshine: Speech Recognition for Live Transcription and Voice Commands".
    """

    frame_samples = 384
    min_samples = 1600
    """The convolutions need 895; speech shorter than 0.1 s only makes the decoder invent words."""

    def __init__(self, encoder: "PreTrainedModel", *, max_s: float) -> None:
        self.encoder = encoder
        self.max_samples = int(max_s * SAMPLE_RATE)

    def encode(self, samples: FloatArray) -> EncodedWindow:
        weight = self.encoder.conv1.weight
        audio = torch.from_numpy(samples[-self.max_samples :]).to(weight.device, weight.dtype)[None]
        with torch.inference_mode():
            states = self.encoder(audio).last_hidden_state
        return EncodedWindow(states=states, n_valid=int(states.shape[1]))


class FilterbankWindow:
    """An encoder of transformers on Kaldi filterbank features that are normalised over the window (Seamless, S2T)."""

    min_samples = 3200

    def __init__(
        self, encoder: "PreTrainedModel", extractor: "FeatureExtractionMixin", *, frame_samples: int, max_s: float
    ) -> None:
        self.encoder = encoder
        self.extractor = extractor
        self.frame_samples = frame_samples
        self.max_samples = int(max_s * SAMPLE_RATE)

    def encode(self, samples: FloatArray) -> EncodedWindow:
        samples = samples[-self.max_samples :]
        with np.errstate(divide="ignore", invalid="ignore"):  # digital silence has no deviation to divide by
            features = self.extractor(samples, sampling_rate=SAMPLE_RATE, return_tensors="pt")
        weight = next(self.encoder.parameters())
        values = features.input_features.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0).to(weight.device, weight.dtype)
        with torch.inference_mode():
            states = self.encoder(values).last_hidden_state
        # The last column may cover less than a whole frame of audio, none lies wholly behind the end.
        n_valid = min(int(states.shape[1]), -(-len(samples) // self.frame_samples))
        return EncodedWindow(states=states, n_valid=n_valid)
