"""Streaming resampling to 16 kHz whose output does not depend on how the input was cut into blocks."""

import numpy as np
import soxr

from simulst.audio.samples import SAMPLE_RATE as SAMPLE_RATE
from simulst.audio.samples import FloatArray as FloatArray
from simulst.errors import AudioError

MIN_RATE_HZ, MAX_RATE_HZ = 1_000, 768_000


class Resampler:
    """Turns mono blocks at `rate_hz` into 16 kHz; all outputs together equal `soxr.resample` of all inputs together."""

    def __init__(self, rate_hz: int) -> None:
        if not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
            raise AudioError(f"The sample rate must lie in {MIN_RATE_HZ} to {MAX_RATE_HZ} Hz, but is {rate_hz}.")
        self.rate_hz = rate_hz
        self._soxr = None if rate_hz == SAMPLE_RATE else soxr.ResampleStream(rate_hz, SAMPLE_RATE, 1, dtype="float32")

    def feed(self, block: FloatArray) -> FloatArray:
        """The 16 kHz samples that `block`, [samples], settles; the last few milliseconds wait for the next block."""
        if self._soxr is None or not len(block):
            return block
        return self._run(block, last=False)

    def finish(self) -> FloatArray:
        """The samples still held back; nothing may be fed afterwards."""
        if self._soxr is None:
            return np.zeros(0, np.float32)
        return self._run(np.zeros(0, np.float32), last=True)

    def _run(self, block: FloatArray, *, last: bool) -> FloatArray:
        assert self._soxr is not None
        out: FloatArray = self._soxr.resample_chunk(np.ascontiguousarray(block), last=last)
        return out
