"""AlignAtt: commit up to the first token that attends to the last frames of the audio (2305.11408).

For decoder-only models the same rule reads the rows of the LLM's calibrated alignment heads over speech positions:
online z-score, median filter over frames, lower median of the attended frames over heads (as Alignatt4LLM does).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt

from simulst.core.alignment import (
    IntArray,
    Normalisation,
    attended_frames,
    mass_from,
    model_frames,
    normalise,
    running_median,
    valid_rows,
    whole_frames,
)
from simulst.core.boundary import complete, hold_back
from simulst.core.policy import Committed, Decision, Decoder, Policy, SourceView
from simulst.core.settings import setting
from simulst.core.translator import Alignment, Evidence, TokenStep, Verdict, Vocabulary
from simulst.errors import PolicyError


@dataclass(kw_only=True)
class AlignAttState:
    last_attended_s: float | None = None
    """Source time that the last committed token attended to."""
    furthest_s: float = 0.0
    """The latest source time that a committed token attended to; after a jump that was believed, the last one's."""
    waited: bool = False
    """Whether a jump kept the chunk before from saying anything."""


@dataclass(frozen=True, kw_only=True)
class AlignAtt(Policy[AlignAttState]):
    """Emit a token when the audio frame it attends to most lies before the last `f` frames heard.

    The decision runs inside the decoding loop where rows are judged one by one, and gives what a cut of the whole
    greedy hypothesis gives; z-scores compare rows and are taken afterwards.
    """

    requires: ClassVar[frozenset[Evidence]] = frozenset({Evidence.PREFIX, Evidence.ALIGNMENT})
    paper: ClassVar[str] = "Papi et al. 2023 (2305.11408)"
    default_history: ClassVar[str] = "keep_all"

    f: int = setting(
        4, "frames at the end that may not be attended to", unit="frames", at_least=0, published="2, 4, ..., 14"
    )
    end_f: int | None = setting(
        None,
        "frames at the end of a stream that may not be attended to when it is over; none: its end is written ungated",
        unit="frames",
        at_least=0,
        published="4",
    )
    frame_ms: float | None = setting(
        None, "length of the frames that f and end_f count; none: the model's own", unit="ms", above=0, published="40"
    )
    border_ms: float | None = setting(None, "the same border as time; replaces f", unit="ms", above=0)
    normalise: Normalisation = setting(
        "none", "normalisation of the rows: none, zscore, zscore_online, zscore_running, l2", published="none, zscore"
    )
    median: int = setting(
        1, "width of the median filter over frames; 1: none", unit="frames", at_least=1, published="7"
    )
    heads: Literal["mean", "median", "filtered_mean"] = setting(
        "mean",
        "mean row of the alignment heads, lower median of their attended frames, or mean of the heads once each was "
        "normalised and filtered",
        published="mean, median, filtered_mean",
    )
    max_mass: float | None = setting(
        None,
        "hold a token back when more than this share of its attention to the source lies on those frames",
        above=0,
        at_most=1,
    )
    pass_mass: float | None = setting(
        None,
        "let a token pass when less than this share of its attention lies there",
        above=0,
        at_most=1,
        published="0.03",
    )
    consensus: float | None = setting(
        None,
        "share of the heads that must attend to older frames; needs alignment_heads",
        above=0,
        at_most=1,
        published="0.6",
    )
    marks: bool = setting(
        False, "whether rows of the model's marks before the text (language, task) count in z-scores, with heads"
    )
    drop_last: int = setting(
        0, "frames at the very end that are left out as a sink", unit="frames", at_least=0, published="0, 1"
    )
    hold_words: int = setting(
        0, "words before the border that are held back, the last of them whole or not", at_least=0, published="0, 1"
    )
    rewind_s: float | None = setting(
        None, "give up the chunk when attention jumps back further than this", unit="s", above=0, published="4"
    )
    loop_s: float | None = setting(
        None,
        "cut before a word that attends further than this behind what was reached, a sign that words are said again; "
        "it waits for one chunk; for targets in the order of the source, as transcripts are",
        unit="s",
        above=0,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.median % 2 == 0:
            raise PolicyError(f"AlignAtt: median is {self.median}; it must be an odd number of frames.")

    def needs(self) -> frozenset[Evidence]:
        each = self.heads != "mean" or self.consensus is not None
        return self.requires | ({Evidence.ALIGNMENT_HEADS} if each else set())

    def start(self) -> AlignAttState:
        return AlignAttState()

    def border_frames(self, frame_s: float) -> int:
        """The border in frames of the model: `f` of them, or the nearest number of whole ones (at least one)."""
        if self.border_ms is not None:
            return whole_frames(self.border_ms / 1000, frame_s)
        return model_frames(self.f, self.frame_ms, frame_s)

    def step(self, view: SourceView, committed: Committed, decoder: Decoder, state: AlignAttState) -> Decision:
        gated = (self.max_mass, self.pass_mass, self.consensus) != (None, None, None)
        in_loop = self.normalise in ("none", "l2") and self.heads == "mean" and not gated
        gate = BorderGate(policy=self, frame_s=decoder.frame_s) if in_loop else None
        hypothesis = decoder.hypothesise(gate=gate, post_hoc=True, want=self.needs())[0]
        alignment = hypothesis.alignment
        if not hypothesis.ids or alignment is None:
            return Decision(hypothesis=hypothesis, reason="read")
        frames = self.attended(alignment)[alignment.history :]
        limit = alignment.n_valid - self.drop_last - self.border_frames(alignment.frame_s)
        beyond = np.flatnonzero(self._blocked(alignment, frames, limit))
        border = int(beyond[0]) if len(beyond) else len(frames)
        times = (alignment.start_s + frames[:border] * alignment.frame_s).tolist()
        if self._rewinds(times, state):
            return Decision(hypothesis=hypothesis, reason="rewind")
        loop = self._loop(hypothesis.ids[:border], times, decoder.vocabulary, state)
        cut = border if state.waited else loop
        keep = complete(hypothesis, cut, decoder.vocabulary)
        if self.hold_words:
            fresh = not committed.prefix
            keep = min(keep, hold_back(hypothesis.ids[:cut], self.hold_words, decoder.vocabulary, fresh=fresh))
        if keep:
            state.last_attended_s = times[keep - 1]
            state.furthest_s = times[keep - 1] if keep > loop else max(state.furthest_s, *times[:keep])
        state.waited = cut < border and not keep
        diagnostics = {"limit": limit, "frames": frames.tolist()}
        return Decision(
            commit=keep, hypothesis=hypothesis, reason="attention" if keep else "read", diagnostics=diagnostics
        )

    def finish(self, view: SourceView, committed: Committed, decoder: Decoder, state: AlignAttState) -> Decision:
        """The last decision of a stream: all that the model says, or with `end_f` the words that attend to what was
        heard before its last frames (SimulStreaming: 4 frames of 20 ms)."""
        if self.end_f is None:
            return super().finish(view, committed, decoder, state)
        hypothesis = decoder.hypothesise(want=self.needs())[0]
        alignment, keep = hypothesis.alignment, len(hypothesis.ids)
        if keep and alignment is not None:
            frames = self.attended(alignment)[alignment.history :]
            limit = alignment.n_valid - self.drop_last - model_frames(self.end_f, self.frame_ms, alignment.frame_s)
            beyond = np.flatnonzero(frames >= limit)
            keep = complete(hypothesis, int(beyond[0]), decoder.vocabulary) if len(beyond) else keep
        return Decision(commit=keep, hypothesis=hypothesis, segment_end=True, reason="finish")

    def attended(self, alignment: Alignment) -> IntArray:
        """The frame that each row, history first, attends to, normalised and filtered as configured."""
        rows = valid_rows(alignment, drop_last=self.drop_last, heads=self.heads != "mean")
        if not rows.shape[-1]:
            return np.zeros(alignment.weights.shape[0], dtype=np.int64)
        before = alignment.marks if self.marks and rows.ndim == 3 else None
        if before is not None:
            rows = np.concatenate([before[..., : rows.shape[-1]], rows], axis=-2)
        normalised = normalise(rows, self.normalise)[..., 0 if before is None else before.shape[-2] :, :]
        filtered = running_median(normalised, self.median)
        by_head = filtered.ndim == 3  # the end of a stream is translated without a look at single heads
        return attended_frames(filtered.mean(axis=0) if by_head and self.heads == "filtered_mean" else filtered)

    def _blocked(self, alignment: Alignment, frames: IntArray, limit: int) -> npt.NDArray[np.bool_]:
        """Which new tokens may not be written yet: by the frame attended to, and by the gates that are on."""
        blocked: npt.NDArray[np.bool_] = frames >= limit
        mass = mass_from(valid_rows(alignment, drop_last=self.drop_last), limit)[alignment.history :]
        if self.pass_mass is not None:
            blocked &= mass >= self.pass_mass
        if self.max_mass is not None:
            blocked |= mass > self.max_mass
        if self.consensus is not None:
            rows = valid_rows(alignment, drop_last=self.drop_last, heads=True)[..., alignment.history :, :]
            before = running_median(rows, self.median).argmax(axis=-1) < limit
            blocked |= np.atleast_2d(before).mean(axis=0) < self.consensus - 1e-9
        return blocked

    def _loop(self, ids: Sequence[int], times: Sequence[float], vocabulary: Vocabulary, state: AlignAttState) -> int:
        """Where words begin to be said again: the token after the last word before the jump, so that a comma goes too;
        the number of tokens where none jumps. Marks attend anywhere and are not judged."""
        if self.loop_s is None:
            return len(ids)
        furthest, end = state.furthest_s, 0
        for place, (token, time) in enumerate(zip(ids, times, strict=True)):
            if not any(character.isalnum() for character in vocabulary.decode([token])):
                continue
            if furthest - time > self.loop_s:
                return end
            furthest, end = max(furthest, time), place + 1
        return len(ids)

    def _rewinds(self, times: Sequence[float], state: AlignAttState) -> bool:
        if self.rewind_s is None:
            return False
        last = state.last_attended_s
        for time in times:
            if last is not None and last - time > self.rewind_s:
                return True
            last = time
        return False


@dataclass(frozen=True, kw_only=True)
class BorderGate:
    """Ends decoding at the first token that attends beyond the border."""

    policy: AlignAtt
    frame_s: float

    def __call__(self, step: TokenStep) -> Verdict:
        valid = step.n_valid - self.policy.drop_last
        if step.weights is None or valid <= 0:
            return "continue"
        row = running_median(step.weights[None, :valid], self.policy.median)
        beyond = int(row[0].argmax()) >= valid - self.policy.border_frames(self.frame_s)
        return "stop_drop" if beyond else "continue"
