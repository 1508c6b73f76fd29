"""From attention over source words to attention over the audio that they were heard in.

A word's attention stands on the frame in which it ends: a policy's border then holds back tokens that look at words
which end behind it, as Alignatt4LLM does, and history selection keeps every word that is still looked at.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from simulst.core.translator import Alignment, FloatArray, Gate, Hypothesis, TokenStep, Verdict

FRAME_S = 0.02


@dataclass(frozen=True, kw_only=True, eq=False)
class WordClock:
    """When the words of a text ended, and how far the audio is sure to hold no others."""

    ends_s: Sequence[float]
    start_s: float
    """Absolute start of the first frame."""
    heard_s: float
    """Absolute end of the audio whose words are all known; that of the last word where it is later."""

    @cached_property
    def frames(self) -> npt.NDArray[np.int64]:
        """The last frame of each word."""
        ends = np.asarray(self.ends_s, dtype=np.float64) - self.start_s
        return np.maximum(0, np.ceil(ends / FRAME_S - 1e-6).astype(np.int64) - 1)

    @cached_property
    def n_valid(self) -> int:
        """Frames up to the end of what is known: one at least behind the last word, where it may look at nothing."""
        heard = int((self.heard_s - self.start_s) / FRAME_S)
        return max([0, heard, *(int(frame) + 2 for frame in self.frames)])

    def rows(self, weights: FloatArray) -> FloatArray:
        """Rows over words [..., words] as rows over frames [..., frames]."""
        timed = np.zeros((*weights.shape[:-1], self.n_valid), dtype=np.float32)
        for word, frame in enumerate(self.frames[: weights.shape[-1]]):
            timed[..., frame] += weights[..., word]
        return timed

    def timed(self, found: Hypothesis) -> Hypothesis:
        """The hypothesis with its alignment over time."""
        if found.alignment is None:
            return found
        alignment, heads = found.alignment, found.alignment.heads
        timed = Alignment(
            weights=self.rows(alignment.weights),
            heads=None if heads is None else self.rows(heads),
            history=alignment.history,
            n_valid=self.n_valid,
            frame_s=FRAME_S,
            start_s=self.start_s,
        )
        return replace(found, alignment=timed)


@dataclass(frozen=True)
class TimedGate:
    """Shows a gate the rows of tokens over time."""

    gate: Gate
    clock: WordClock

    def __call__(self, step: TokenStep, /) -> Verdict:
        if step.weights is None:
            return self.gate(step)
        return self.gate(replace(step, weights=self.clock.rows(step.weights), n_valid=self.clock.n_valid))
