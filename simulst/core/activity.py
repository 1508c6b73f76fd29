"""Where a stream holds speech: frame energy against what was heard lately, for clocks that leave pauses out.

Energy and its recent range need no model and no further package; what has no contrast (steady noise, a tone) counts as
speech, so that a clock never stops for good.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from simulst.core.source import SAMPLE_RATE, FloatArray

FRAME_S = 0.02
PAUSE_S = 0.3
"""A shorter silence belongs to the words around it."""
RECENT_S = 10.0
"""The range of energy is that of this much audio."""
BLOCK_FRAMES = 5
LEAST_RANGE_DB = 12.0
DEEPEST_DB = 40.0
"""Speech is at most this far below the loudest of it."""
SILENCE_DB = -60.0
"""What is below this full-scale level is silence whatever else was heard."""
SHARE = 0.35
"""Where between the quietest and the loudest speech begins."""

_FRAME = round(FRAME_S * SAMPLE_RATE)


class SpeechActivity:
    """Speech and pauses of one stream on its absolute axis; what was trimmed is silent.

    `extend` takes 16 kHz samples in pieces of any size; the pieces do not change what is found.
    """

    def __init__(self) -> None:
        self._rest: FloatArray = np.zeros(0, dtype=np.float32)
        self._recent: npt.NDArray[np.float64] = np.zeros(0)
        self._flags: list[bool] = []
        self._first = 0  # number of the oldest kept frame

    @property
    def end_s(self) -> float:
        """The end of what has been judged, at most a tenth of a second before the end of the samples."""
        return (self._first + len(self._flags)) * FRAME_S

    def extend(self, samples: FloatArray) -> None:
        self._rest = np.concatenate([self._rest, samples])
        size = BLOCK_FRAMES * _FRAME
        blocks = self._rest[: len(self._rest) // size * size].reshape(-1, BLOCK_FRAMES, _FRAME)
        self._rest = self._rest[len(blocks) * size :]
        for levels in 10 * np.log10(np.mean(np.square(blocks, dtype=np.float64), axis=2) + 1e-12):
            self._recent = np.concatenate([self._recent, levels])[-round(RECENT_S / FRAME_S) :]
            self._flags += (levels >= self._threshold()).tolist()

    def _threshold(self) -> float:
        ordered = np.sort(self._recent)
        low, high = ordered[len(ordered) // 10], ordered[-1 - len(ordered) // 50]
        if high - low < LEAST_RANGE_DB:
            return SILENCE_DB
        return float(max(SILENCE_DB, high - DEEPEST_DB, low + SHARE * (high - low)))

    def runs(self, since_s: float = 0.0, until_s: float = float("inf")) -> Iterator[tuple[float, float]]:
        """Begin and end of every stretch of speech between two absolute times; silence below PAUSE_S joins two."""
        begin, end = None, 0.0
        for number in self._spoken(since_s, until_s):
            at = number * FRAME_S
            if begin is not None and at - end >= PAUSE_S - 1e-9:
                yield begin, end
                begin = None
            begin, end = at if begin is None else begin, at + FRAME_S
        if begin is not None:
            yield begin, end

    def _spoken(self, since_s: float, until_s: float) -> npt.NDArray[np.int64]:
        """Numbers of the frames of speech that lie between two times."""
        numbers = np.flatnonzero(self._flags) + self._first
        inside = (numbers * FRAME_S >= since_s - 1e-9) & ((numbers + 1) * FRAME_S <= until_s + 1e-9)
        return numbers[inside]

    def trim(self, to_s: float) -> None:
        """Forget what lies before an absolute time."""
        gone = min(max(0, int(to_s / FRAME_S + 1e-6) - self._first), len(self._flags))
        del self._flags[:gone]
        self._first += gone

    def segment_end(self, since_s: float, *, least_s: float, pause_s: float) -> float | None:
        """The end of the first stretch of speech with at least `least_s` of it since an absolute time and a pause after
        it, whether or not the pause is over; None where there is none yet."""
        spoken_s, last_s = 0.0, None
        for begin, end in self.runs(since_s):
            if last_s is not None and begin - last_s >= pause_s - 1e-9:
                return last_s
            spoken_s += end - begin
            last_s = end if spoken_s >= least_s else None
        return last_s if last_s is not None and self.end_s - last_s >= pause_s - 1e-9 else None

    def segment_over(self, since_s: float, heard_s: float, *, least_s: float, pause_s: float) -> bool:
        """Whether at least `least_s` of speech since an absolute time was heard whole and a pause follows it now."""
        runs = list(self.runs(since_s))
        if not runs or sum(end - begin for begin, end in runs) < least_s:
            return False
        end_s = runs[-1][1]
        return end_s <= heard_s and self.end_s - end_s >= pause_s - 1e-9
