"""Log-mel frames of a stream in the chunks that an encoder takes, the same as those of the whole recording."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TypeVar

import numpy as np
from torch import Tensor

from simulst.core.settings import read, setting
from simulst.core.source import SAMPLE_RATE, FloatArray
from simulst.errors import ModelError
from simulst.models.checkpoint import read_json

PROCESSOR_FILE = "processor_config.json"
EXTRACTOR_FILE = "preprocessor_config.json"


@dataclass(frozen=True, kw_only=True)
class MelSettings:
    """Of the spectrogram: what a checkpoint's feature extractor is made with."""

    feature_size: int = setting(80, "mel bins", at_least=1, at_most=512)
    sampling_rate: int = setting(SAMPLE_RATE, "samples per second", at_least=SAMPLE_RATE, at_most=SAMPLE_RATE)
    hop_length: int = setting(160, "samples from one frame to the next", at_least=1, at_most=4096)
    n_fft: int = setting(512, "samples of a frame", at_least=16, at_most=8192)
    win_length: int = setting(400, "samples of a frame that are heard", at_least=1, at_most=8192)


SettingsT = TypeVar("SettingsT", bound=MelSettings)


def read_processor(directory: Path) -> tuple[dict[str, object], dict[str, object]]:
    """What a checkpoint says of its processor, and of the feature extractor in it; ModelError where it says nothing."""
    processor = read_json(directory / PROCESSOR_FILE) if (directory / PROCESSOR_FILE).is_file() else {}
    extractor = processor.get("feature_extractor")
    if isinstance(extractor, dict):
        return processor, extractor
    if not (directory / EXTRACTOR_FILE).is_file():
        raise ModelError(
            f"{directory} has neither {EXTRACTOR_FILE} nor a feature_extractor in {PROCESSOR_FILE}, which say how the "
            "model hears; fetch them with the weights."
        )
    return processor, read_json(directory / EXTRACTOR_FILE)


def mel_settings(kind: type[SettingsT], told: Mapping[str, object], directory: Path, *, bins: int) -> SettingsT:
    """The settings that a feature extractor's file tells, for an encoder of so many mel bins; ModelError."""
    where = f"The feature extractor in {directory}"
    found = read(kind, {one.name: told[one.name] for one in fields(kind) if one.name in told}, where, ModelError)
    if found.feature_size != bins:
        raise ModelError(f"{where} makes {found.feature_size} mel bins, but the encoder takes {bins}.")
    if found.win_length > found.n_fft:
        raise ModelError(f"{where} has a window of {found.win_length} samples in frames of {found.n_fft}.")
    return found


class MelChunks:
    """The frames of one stream: `first` of them together, then `then` at a time, as soon as their samples are there.

    `extract` makes of n frames' samples, [(n - 1) hop + width], these frames, [1, n, bins] or [1, bins, n]. Frames are
    centred, so the first begins half a frame before the audio, in silence; `silence` samples of more may go before it.
    """

    def __init__(
        self,
        extract: Callable[[FloatArray], Tensor],
        *,
        hop: int,
        width: int,
        first: int,
        then: int,
        silence: int = 0,
    ) -> None:
        self._extract, self._hop, self._width, self._then = extract, hop, width, then
        self._held = np.zeros(width // 2 + silence, dtype=np.float32)
        self._next = first
        self.frames = 0
        """Given out so far."""

    def push(self, samples: FloatArray) -> Iterator[Tensor]:
        """Append samples; the chunks that are complete now, in order."""
        held = np.concatenate((self._held, samples))
        at = 0
        while at + self._needed <= len(held):
            chunk, count = held[at : at + self._needed], self._next
            at += count * self._hop
            self._held, self._next = held[at:], self._then
            self.frames += count
            yield self._extract(chunk)
        self._held = held[at:].copy()

    def pad(self, frames: int) -> Iterator[Tensor]:
        """The chunks that complete so many frames of the stream, with silence where audio is missing."""
        while self.frames < frames:
            yield from self.push(np.zeros(max(0, self._needed - len(self._held)), dtype=np.float32))

    @property
    def _needed(self) -> int:
        return (self._next - 1) * self._hop + self._width
