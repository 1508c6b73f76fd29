"""Wait for the end of the source, or of a segment of it, and translate that at once: what waiting can bring at most."""

from dataclasses import dataclass
from typing import ClassVar

from simulst.core.policy import READ, Committed, Decision, Decoder, Policy, SourceView
from simulst.core.settings import setting
from simulst.core.translator import Evidence


@dataclass(frozen=True, kw_only=True)
class Offline(Policy):
    """Read until the stream, or a segment between pauses, ends; what has no pause is cut where the model's limit lies.

    Segments are the session's (`history.segment_s`) and no matter of the policy.
    """

    requires: ClassVar[frozenset[Evidence]] = frozenset({Evidence.PREFIX})
    paper: ClassVar[str] = "Offline baseline"
    default_history: ClassVar[str] = "keep_all"
    default_segment_s: ClassVar[float | None] = 4.0

    beams: int = setting(4, "beam width at the end, where the model can search", at_least=1, at_most=32, published="5")

    def step(self, view: SourceView, committed: Committed, decoder: Decoder, state: None) -> Decision:
        return READ

    def finish(self, view: SourceView, committed: Committed, decoder: Decoder, state: None) -> Decision:
        best = decoder.hypothesise(n_best=self.beams)[0]
        return Decision(commit=len(best.ids), hypothesis=best, segment_end=True, reason="finish")
