"""Long silence is left out of what a session hears, so that an idle stream costs next to nothing.

Energy alone, conservative: a pause begins only after seconds in which not one frame was louder than the noise of the
room, and what is heard next begins a second before the first frame that is. Steady noise without speech before it, and
everything where there is no contrast, is heard.
"""

import numpy as np
import numpy.typing as npt

from simulst.core.source import SAMPLE_RATE, FloatArray

FRAME_S = 0.02
BLOCK_FRAMES = 5
LEAD_S = 1.0
"""What is heard before the first loud frame after a pause."""
FLOOR_S = 10.0
"""The noise of the room is that of this much audio."""
LEAST_RANGE_DB = 12.0
"""Speech is so much louder than the noise, or nothing is called silence but what is below QUIET_DB."""
QUIET_DB = -65.0
"""Full-scale level that is silence whatever else was heard."""
SHARE = 0.2
"""How far above the noise, between it and the loudest speech, a frame is loud."""
LEAST_ABOVE_DB = 4.0
FADE_DB_PER_S = 1 / 30
"""The loudest speech is forgotten this slowly, and not at all in a pause."""

_BLOCK = round(FRAME_S * SAMPLE_RATE) * BLOCK_FRAMES


class Silence:
    """Takes the audio of one stream, gives out what is to be heard, and tells where that was in the stream."""

    def __init__(self, after_s: float) -> None:
        self._after = round(after_s / FRAME_S)
        self._rest: FloatArray = np.zeros(0, dtype=np.float32)
        self._kept: list[FloatArray] = []
        """Blocks of a pause that would be heard if speech began now."""
        self._levels: npt.NDArray[np.float64] = np.zeros(0)
        self._peak_db = -np.inf
        self._quiet = 0
        """Frames since the last loud one."""
        self._seen = self._skipped = self._heard = 0
        self._skips: list[tuple[int, int]] = []
        """Samples heard before a pause, and samples skipped up to its end."""

    @property
    def pausing(self) -> bool:
        """Whether nothing is heard at present."""
        return self._quiet >= self._after

    @property
    def seen_s(self) -> float:
        """Audio that was taken, whether or not it is heard."""
        return self._seen / SAMPLE_RATE

    @property
    def skipped_s(self) -> float:
        """Audio that is not heard, as far as that is certain."""
        return (self._skipped + sum(map(len, self._kept))) / SAMPLE_RATE

    def feed(self, samples: FloatArray) -> FloatArray:
        """What is to be heard of the samples, and of those before them."""
        self._seen += len(samples)
        samples = np.concatenate([self._rest, samples])
        blocks = samples[: len(samples) // _BLOCK * _BLOCK].reshape(-1, BLOCK_FRAMES, _BLOCK // BLOCK_FRAMES)
        self._rest = samples[blocks.size :]
        levels = 10 * np.log10(np.mean(np.square(blocks, dtype=np.float64), axis=2) + 1e-12)
        heard: list[FloatArray] = []
        for block, own in zip(blocks, levels, strict=True):
            heard += self._judged(block.reshape(-1), own)
        return self._given(heard)

    def finish(self) -> FloatArray:
        """What was held back: less than a second of silence, and of what follows a piece too short to be judged."""
        heard = [*self._kept, self._rest]
        self._end_pause()
        self._rest = self._rest[:0]
        return self._given(heard)

    def stream_s(self, heard_s: float) -> float:
        """Where in the stream something is that a session places at `heard_s` of what it heard."""
        at = round(heard_s * SAMPLE_RATE)
        skipped = next((skipped for heard, skipped in reversed(self._skips) if at > heard), 0)
        return heard_s + skipped / SAMPLE_RATE

    def _judged(self, block: FloatArray, levels: npt.NDArray[np.float64]) -> list[FloatArray]:
        """The blocks that are heard now that this one, whose frames are so loud, has come."""
        self._levels = np.concatenate([self._levels, levels])[-round(FLOOR_S / FRAME_S) :]
        was_pausing, loudest_db = self.pausing, float(levels.max())
        if not was_pausing:
            self._peak_db = max(self._peak_db - FADE_DB_PER_S * FRAME_S * BLOCK_FRAMES, loudest_db)
        self._quiet = 0 if loudest_db >= self._threshold_db() else self._quiet + BLOCK_FRAMES
        if self.pausing and was_pausing:
            self._keep(block)
            return []
        waking = [*self._kept, block]
        self._end_pause()
        return waking

    def _threshold_db(self) -> float:
        floor_db = self._floor_db()
        if self._peak_db - floor_db < LEAST_RANGE_DB:
            return QUIET_DB
        return max(QUIET_DB, floor_db + max(LEAST_ABOVE_DB, SHARE * (self._peak_db - floor_db)))

    def _floor_db(self) -> float:
        """The first decile of the levels; what `np.quantile` says, for a tenth of its cost."""
        place = 0.1 * (len(self._levels) - 1)
        below = int(place)
        above = min(below + 1, len(self._levels) - 1)
        ordered = np.partition(self._levels, (below, above))
        return float(ordered[below] + (place - below) * (ordered[above] - ordered[below]))

    def _keep(self, block: FloatArray) -> None:
        self._kept.append(block)
        if len(self._kept) * _BLOCK > LEAD_S * SAMPLE_RATE:
            self._skipped += len(self._kept.pop(0))

    def _end_pause(self) -> None:
        """Note what was skipped; the blocks that were kept are heard."""
        self._kept = []
        if self._skipped > (self._skips[-1][1] if self._skips else 0):
            self._skips = [*self._skips[-99:], (self._heard, self._skipped)]

    def _given(self, heard: list[FloatArray]) -> FloatArray:
        found = np.concatenate([np.zeros(0, dtype=np.float32), *heard])
        self._heard += len(found)
        return found
