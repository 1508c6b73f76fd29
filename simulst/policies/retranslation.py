"""Re-translation: translate anew after every chunk and correct what is shown (1912.03393, 2004.03643).

What flickers is held down by mask-k (the last k tokens are not shown) and by decoding that is biased towards the shown
text. On long input the window slides: the part of the new window that matches the old one joins them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from typing import ClassVar, Literal

import numpy as np

from simulst.core.boundary import complete
from simulst.core.policy import Committed, Decision, Decoder, Policy, SourceView
from simulst.core.prefix import common_prefix
from simulst.core.settings import setting
from simulst.core.translator import Alignment, Bias, Evidence, Hypothesis


@dataclass(kw_only=True)
class RetranslationState:
    start_s: float | None = None
    """Where the window of this segment began."""
    history: int | None = None
    """Shown tokens that the previous window covered, once it slides."""


@dataclass(frozen=True, kw_only=True)
class Retranslation(Policy[RetranslationState]):
    """Show the whole translation of the window and take back what changed; `history.max_audio_s` is the window."""

    requires: ClassVar[frozenset[Evidence]] = frozenset({Evidence.RETRACT})
    revises: ClassVar[bool] = True
    paper: ClassVar[str] = "Arivazhagan et al. 2020 (1912.03393)"
    default_chunk_ms: ClassVar[int] = 1000
    default_history: ClassVar[str] = "keep_all"

    mask_k: int = setting(2, "last tokens that are not shown", unit="tokens", at_least=0, published="0, 5, 10")
    bias: float = setting(0.0, "weight of the shown text in decoding, 0 to 1", at_least=0, below=1, published="0, 0.5")
    match: float = setting(
        0.1, "least share of a new window that must match the old one", above=0, at_most=1, published="0.1"
    )
    on_mismatch: Literal["replace", "append"] = setting(
        "replace", "what a window without match does to the text of the old one", published="append"
    )

    def start(self) -> RetranslationState:
        return RetranslationState()

    def step(self, view: SourceView, committed: Committed, decoder: Decoder, state: RetranslationState) -> Decision:
        bias = Bias(ids=committed.prefix, weight=self.bias) if self.bias else None
        hypothesis = decoder.hypothesise(prefix=(), bias=bias)[0]
        visible = complete(hypothesis, max(0, len(hypothesis.ids) - self.mask_k), decoder.vocabulary)
        return self._revise(view, committed, hypothesis, visible, state)

    def finish(self, view: SourceView, committed: Committed, decoder: Decoder, state: RetranslationState) -> Decision:
        hypothesis = decoder.hypothesise(prefix=())[0]
        decision = self._revise(view, committed, hypothesis, len(hypothesis.ids), state)
        return replace(decision, segment_end=True, reason="finish")

    def _revise(
        self, view: SourceView, committed: Committed, hypothesis: Hypothesis, visible: int, state: RetranslationState
    ) -> Decision:
        """From what is shown to the first `visible` tokens of the hypothesis."""
        shown, new = committed.prefix, hypothesis.ids[:visible]
        if state.start_s is None:
            state.start_s = view.start_s
        if view.start_s <= state.start_s:
            same = common_prefix(shown, new)
            retract = len(shown) - same
        else:
            old = shown[-state.history :] if state.history else () if state.history == 0 else shown
            retract, same, history = merge_windows(old, new, self.match, append=self.on_mismatch == "append")
            state.history = len(history)
        kept = len(shown) - retract
        rest = replace(
            hypothesis,
            ids=hypothesis.ids[same:],
            logprobs=None if hypothesis.logprobs is None else hypothesis.logprobs[same:],
            alignment=_rows_after(hypothesis.alignment, kept, same),
        )
        reason = "revision" if retract or visible > same else "read"
        return Decision(commit=visible - same, retract=retract, hypothesis=rest, reason=reason)


def merge_windows(
    old: Sequence[int], new: Sequence[int], threshold: float, *, append: bool = False
) -> tuple[int, int, list[int]]:
    """Join two overlapping windows at their longest common run of tokens.

    Returns how many of `old` to take back from its end, from which index on `new` is appended, and the tokens that the
    new window covers: as many of `old` before the run as `new` has there, the run, and the rest of `new`. A run shorter
    than `threshold` of `new` is none: then `new` replaces `old`, or is appended to it.
    """
    run = SequenceMatcher(None, old, new, autojunk=False).find_longest_match()
    if not run.size or run.size < threshold * len(new):
        return (0 if append else len(old)), 0, list(new)
    covered = [*old[max(0, run.a - run.b) : run.a], *new[run.b :]]
    return len(old) - run.a - run.size, run.b + run.size, covered


def _rows_after(alignment: Alignment | None, kept: int, same: int) -> Alignment | None:
    """Rows of the `kept` tokens and of the new ones from index `same` on; empty ones for what the window lacks."""
    if alignment is None:
        return None
    before = np.zeros((max(0, kept - same), alignment.weights.shape[1]), dtype=np.float32)
    weights = np.concatenate([before, alignment.weights[max(0, same - kept) :]])
    return replace(alignment, weights=weights, history=kept, heads=None)
