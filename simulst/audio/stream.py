"""One source of audio as an iterator of 16 kHz mono blocks; nothing but the current block is held in memory."""

from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

import numpy as np

from simulst.audio.resample import FloatArray, Resampler
from simulst.errors import AudioError
from simulst.samples import PEAK_LIMIT as PEAK_LIMIT


class NoSamples(AudioError):
    """A source that ends before its first sample."""


def cut_short(name: str, done_s: float, promised_s: float) -> AudioError:
    """What to raise after the last sample of a recording that should be longer."""
    return AudioError(f"{name} is cut short or damaged: {done_s:.2f} s of {promised_s:.2f} s can be read.")


class AudioStream:
    """Iterate once for float32 blocks at 16 kHz, mono, nominally in [-1, 1].

    `blocks` yields [frames, channels] at `sample_rate`. Raises AudioError from the iteration where the audio turns
    out to be damaged, empty or not finite; everything before that point has been yielded by then.
    """

    def __init__(
        self,
        *,
        name: str,
        sample_rate: int,
        channels: int,
        blocks: Iterator[FloatArray],
        duration_s: float | None = None,
        live: bool = False,
        close: Callable[[], object] | None = None,
        stop: Callable[[], object] | None = None,
    ) -> None:
        self.name = name
        self.sample_rate = sample_rate
        self.channels = channels
        self.duration_s = duration_s
        self.live = live
        """The source runs in real time and ends only when it is stopped (a microphone)."""
        self._blocks = blocks
        self._close = close
        self._stop = stop
        self._resampler = Resampler(sample_rate)
        self._frames = 0

    def __iter__(self) -> Iterator[FloatArray]:
        try:
            for block in self._blocks:
                if len(out := self._resampler.feed(self._mono(block))):
                    yield out
        except AudioError:
            if len(tail := self._resampler.finish()):
                yield tail
            raise
        if not self._frames:
            raise NoSamples(f"{self.name} holds no samples: the recording is empty.")
        if len(tail := self._resampler.finish()):
            yield tail

    def _mono(self, block: FloatArray) -> FloatArray:
        """[frames, channels] -> [frames], checked."""
        mono = block[:, 0] if block.shape[1] == 1 else np.ascontiguousarray(block).mean(axis=1, dtype=np.float32)
        peak = float(np.abs(mono).max(initial=0.0))
        if not np.isfinite(peak):
            at_s = (self._frames + int(np.argmin(np.isfinite(mono)))) / self.sample_rate
            raise AudioError(f"{self.name} holds NaN or infinite samples (the first at {at_s:.3f} s): export it again.")
        if peak > PEAK_LIMIT:
            raise AudioError(
                f"{self.name} holds float samples up to {peak:.0f}, but full scale is 1: divide them before saving."
            )
        self._frames += len(mono)
        return mono

    def skip(self, seconds: float) -> None:
        """Leave out the beginning; to be called before the iteration."""
        self._blocks = _after(self._blocks, round(seconds * self.sample_rate))

    def stop(self) -> None:
        """Let a live source end after the audio already recorded; the iteration then finishes by itself."""
        if self._stop is not None:
            self._stop()

    def close(self) -> None:
        if self._close is not None:
            self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _after(blocks: Iterator[FloatArray], frames: int) -> Iterator[FloatArray]:
    for block in blocks:
        if frames < len(block):
            yield block[frames:]
        frames = max(0, frames - len(block))
