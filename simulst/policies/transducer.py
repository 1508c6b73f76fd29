"""A transducer decides itself, after every block of audio: blank or the next token (TAED, 2305.03101)."""

from dataclasses import dataclass
from typing import ClassVar

from simulst.core.policy import Committed, Decision, Decoder, Policy, SourceView
from simulst.core.settings import setting
from simulst.core.translator import Evidence, Transduce


@dataclass(frozen=True, kw_only=True)
class Transducer(Policy):
    """Write what the model's joint network writes: no rule stands between them.

    With `beams` above 1 only what all hypotheses begin with is written, and the best one at the end.
    """

    requires: ClassVar[frozenset[Evidence]] = frozenset({Evidence.TRANSDUCER})
    paper: ClassVar[str] = "Tang et al. 2023 (2305.03101)"

    beams: int = setting(1, "hypotheses that are followed", at_least=1, at_most=16)
    threshold: float = setting(
        0.5, "probability of a token against blank from which on one is written", above=0, below=1
    )

    def step(self, view: SourceView, committed: Committed, decoder: Decoder, state: None) -> Decision:
        return self._follow(decoder, final=False)

    def finish(self, view: SourceView, committed: Committed, decoder: Decoder, state: None) -> Decision:
        return self._follow(decoder, final=True)

    def _follow(self, decoder: Decoder, *, final: bool) -> Decision:
        hypothesis = decoder.transduce(Transduce(beams=self.beams, threshold=self.threshold), final=final)
        count = len(hypothesis.ids)
        return Decision(commit=count, hypothesis=hypothesis, segment_end=final, reason="write" if count else "read")
