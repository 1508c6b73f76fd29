"""Spoken sentences on disk and the changes that make them sound like rooms, microphones and talks."""

import random
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from simulst.audio.samples import SAMPLE_RATE
from simulst.training.synthesis import Clip, read_index

Samples = npt.NDArray[np.float32]


class SpeechStore:
    """Random access to the clips of a synthesis folder, memory-mapped; safe to build while synthesis goes on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clips: list[Clip] = read_index(folder)
        self._maps: dict[Path, npt.NDArray[np.int16]] = {}

    def __len__(self) -> int:
        return len(self.clips)

    @cached_property
    def by_voice(self) -> dict[str, list[int]]:
        """Clip numbers of every voice."""
        voices: dict[str, list[int]] = {}
        for number, clip in enumerate(self.clips):
            voices.setdefault(clip.voice, []).append(number)
        return voices

    def audio(self, number: int) -> Samples:
        """Float32 samples of one clip, silence at both ends cut to 60 ms."""
        clip = self.clips[number]
        if clip.shard not in self._maps:
            self._maps[clip.shard] = np.memmap(clip.shard, np.int16, "r")
        samples = self._maps[clip.shard][clip.start : clip.start + clip.samples].astype(np.float32) / np.float32(32768)
        return trim_silence(samples)


def trim_silence(samples: Samples, margin_s: float = 0.06) -> Samples:
    """Cut leading and trailing samples under 1 % of the peak, but for a margin."""
    loud = np.flatnonzero(np.abs(samples) > 0.01 * (np.abs(samples).max() + 1e-9))
    if not len(loud):
        return samples
    margin = int(margin_s * SAMPLE_RATE)
    return samples[max(0, loud[0] - margin) : loud[-1] + margin]


def joined(parts: Sequence[Samples], rng: random.Random, pause_s: tuple[float, float] = (0.15, 0.9)) -> Samples:
    """Clips one after the other with random pauses between them."""
    pieces: list[Samples] = []
    for part in parts:
        if pieces:
            pieces.append(np.zeros(int(rng.uniform(*pause_s) * SAMPLE_RATE), np.float32))
        pieces.append(part)
    return np.concatenate(pieces)


def by_length(clips: Sequence[Samples], most_s: float) -> Iterator[list[int]]:
    """Places of clips in batches of like length, the longest first; filled up a batch is shorter than `most_s`, unless
    it is a single clip."""
    order = sorted(range(len(clips)), key=lambda place: len(clips[place]))
    while order:
        batch = [order.pop()]
        longest = len(clips[batch[0]])
        while order and (len(batch) + 1) * longest < most_s * SAMPLE_RATE:
            batch.append(order.pop())
        yield batch


def filled_up(clips: Sequence[Samples]) -> Samples:
    """[clips, longest]: clips with silence behind them."""
    longest = max(map(len, clips))
    return np.stack([np.pad(one, (0, longest - len(one))) for one in clips])


def _reverb(samples: Samples, rng: random.Random, noise: np.random.Generator) -> Samples:
    seconds = rng.uniform(0.12, 0.5)
    length = int(seconds * SAMPLE_RATE)
    decay = np.exp(-6.9 * np.arange(length) / length)
    tail = noise.standard_normal(length).astype(np.float32) * decay.astype(np.float32)
    tail *= rng.uniform(0.1, 0.5) / (np.sqrt(np.square(tail).sum()) + 1e-9)
    size = 1 << (len(samples) + length).bit_length()
    wet = np.fft.irfft(np.fft.rfft(samples, size) * np.fft.rfft(tail, size), size)[: len(samples)]
    return (samples + wet).astype(np.float32)


def _noise(length: int, rng: random.Random, noise: np.random.Generator) -> Samples:
    white = noise.standard_normal(length).astype(np.float32)
    if rng.random() < 0.5:
        return white
    spectrum = np.fft.rfft(white)
    spectrum /= np.maximum(1, np.arange(len(spectrum))) ** rng.uniform(0.3, 0.6)
    coloured = np.fft.irfft(spectrum, length).astype(np.float32)
    scaled: Samples = (coloured / (coloured.std() + 1e-9)).astype(np.float32)
    return scaled


def augment(samples: Samples, rng: random.Random) -> Samples:
    """Level (peak .05 to .95), room (a quarter of the time) and noise at 6 to 35 dB (two thirds of the time)."""
    noise = np.random.default_rng(rng.getrandbits(32))
    if rng.random() < 0.25:
        samples = _reverb(samples, rng, noise)
    samples = samples * np.float32(np.exp(rng.uniform(np.log(0.05), np.log(0.95))) / (np.abs(samples).max() + 1e-6))
    if rng.random() < 0.67:
        level = np.sqrt(np.square(samples).mean()) * 10 ** (-rng.uniform(6, 35) / 20)
        samples = samples + np.float32(level) * _noise(len(samples), rng, noise)
    return np.clip(samples, -1, 1)
