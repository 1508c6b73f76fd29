"""The audio of one stream on an absolute axis of samples, in memory that does not grow with the stream."""

import numpy as np
import numpy.typing as npt

from simulst.audio.samples import PEAK_LIMIT
from simulst.audio.samples import SAMPLE_RATE as SAMPLE_RATE
from simulst.audio.samples import FloatArray as FloatArray
from simulst.errors import AudioError


def checked_samples(samples: npt.ArrayLike) -> FloatArray:
    """One-dimensional finite float32 samples near [-1, 1], or AudioError."""
    array = np.asarray(samples)
    if array.ndim != 1 or array.dtype.kind not in "fiu":
        raise AudioError(
            f"A session takes 16 kHz samples in one dimension, not shape {array.shape} of {array.dtype}; mix to mono."
        )
    if array.dtype.kind != "f":
        raise AudioError(f"A session takes floating-point samples in [-1, 1], not {array.dtype}; scale them first.")
    peak = float(np.abs(array).max(initial=0.0))
    if not np.isfinite(peak):
        raise AudioError("The samples hold NaN or infinite values; the source is broken.")
    if peak > PEAK_LIMIT:
        raise AudioError(
            f"The samples reach {peak:.0f}, but full scale is 1: they are integers; divide them (16-bit ones by 32768)."
        )
    return array.astype(np.float32, copy=False)


def finite_samples(samples: npt.ArrayLike) -> FloatArray:
    """One-dimensional finite float32 samples of any level, as models take them, or AudioError."""
    array = np.asarray(samples, dtype=np.float32)
    if array.ndim != 1 or not np.isfinite(array).all():
        raise AudioError("Audio must be mono samples that are finite numbers.")
    return array


class SourceBuffer:
    """Kept audio between the absolute samples `start` and `end`; what was trimmed before `start` is gone.

    Appending and trimming cost amortised constant time per sample; memory stays within a few times what is kept.
    """

    def __init__(self, sample_rate: int = SAMPLE_RATE) -> None:
        self.sample_rate = sample_rate
        self._data: FloatArray = np.zeros(sample_rate, dtype=np.float32)
        self._head = 0  # index in _data of the sample `start`
        self._valid = 0
        self.start = 0
        self.is_final = False

    @property
    def valid(self) -> int:
        """Samples that are kept, padding excluded."""
        return self._valid

    @property
    def end(self) -> int:
        return self.start + self._valid

    @property
    def start_s(self) -> float:
        return self.start / self.sample_rate

    @property
    def end_s(self) -> float:
        return self.end / self.sample_rate

    def append(self, samples: FloatArray, *, is_final: bool = False) -> None:
        if self.is_final:
            raise ValueError("the source has ended: nothing can be appended")
        needed = self._valid + len(samples)
        if self._head + needed > len(self._data):
            # Move to the front when that frees half the room, else make room: either way paid for by what was appended.
            roomy = needed * 2 <= len(self._data) <= max(8 * needed, 4 * self.sample_rate)
            target = self._data if roomy else np.zeros(max(2 * needed, self.sample_rate), dtype=np.float32)
            target[: self._valid] = self._data[self._head : self._head + self._valid]
            self._data, self._head = target, 0
        self._data[self._head + self._valid : self._head + needed] = samples
        self._valid = needed
        self.is_final = is_final

    def read(self, start: int | None = None, end: int | None = None) -> FloatArray:
        """A copy of the samples between two absolute positions (default: all that is kept), clipped to what is kept."""
        first = self.start if start is None else max(start, self.start)
        last = self.end if end is None else min(end, self.end)
        offset = self._head - self.start
        return self._data[first + offset : max(first, last) + offset].copy()

    def padded(self, length: int) -> tuple[FloatArray, int]:
        """All kept samples with zeros after them up to `length` samples, and how many of them are valid."""
        out = np.zeros(max(length, self._valid), dtype=np.float32)
        out[: self._valid] = self._data[self._head : self._head + self._valid]
        return out, self._valid

    def trim(self, to_sample: int) -> None:
        """Forget what lies before an absolute position (never more than is kept)."""
        dropped = min(max(0, to_sample - self.start), self._valid)
        self._head += dropped
        self._valid -= dropped
        self.start += dropped
