"""Hold-n: commit everything but the last n units of the hypothesis (Liu et al. 2020, 2005.11185)."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from simulst.core.boundary import complete, word_starts
from simulst.core.policy import Committed, Decision, Decoder, Policy, SourceView
from simulst.core.settings import setting
from simulst.core.translator import Evidence


@dataclass(frozen=True, kw_only=True)
class HoldN(Policy):
    """Translate all that is heard, keep the last n tokens (or words) back, commit the complete words before them."""

    requires: ClassVar[frozenset[Evidence]] = frozenset({Evidence.PREFIX})
    paper: ClassVar[str] = "Liu et al. 2020 (2005.11185)"

    n: int = setting(6, "units kept back", unit="tokens or words", at_least=0, published="not tuned to one value")
    unit: Literal["tokens", "words"] = setting("tokens", "what n counts", published="tokens")

    def step(self, view: SourceView, committed: Committed, decoder: Decoder, state: None) -> Decision:
        hypothesis = decoder.hypothesise()[0]
        keep = len(hypothesis.ids) - self.n
        if self.unit == "words" and self.n:
            starts = word_starts(hypothesis.ids, decoder.vocabulary, fresh=not committed.prefix)
            keep = starts[-self.n] if len(starts) >= self.n else 0
        keep = complete(hypothesis, max(0, keep), decoder.vocabulary)
        return Decision(commit=keep, hypothesis=hypothesis, reason="held" if keep else "read")
