"""Greedy: commit every complete word as soon as the model says it (the baseline of 2306.01201)."""

from dataclasses import dataclass
from typing import ClassVar

from simulst.core.boundary import complete
from simulst.core.policy import Committed, Decision, Decoder, Policy, SourceView
from simulst.core.settings import setting
from simulst.core.translator import Evidence


@dataclass(frozen=True, kw_only=True)
class Greedy(Policy):
    """Commit all complete words of the hypothesis after each chunk; the chunk length is the latency.

    Our reading: the paper calls it wait-k like; its wait is a minimum of audio, here `min_start_s`.
    """

    requires: ClassVar[frozenset[Evidence]] = frozenset({Evidence.PREFIX})
    paper: ClassVar[str] = "Dugan et al. 2023 (2306.01201)"

    min_start_s: float = setting(0.0, "audio before the first write", unit="s", at_least=0)

    def step(self, view: SourceView, committed: Committed, decoder: Decoder, state: None) -> Decision:
        if view.heard_s < self.min_start_s:
            return Decision(reason="read")
        return greedy(decoder)


def greedy(decoder: Decoder) -> Decision:
    """All complete words of the hypothesis."""
    hypothesis = decoder.hypothesise()[0]
    keep = complete(hypothesis, len(hypothesis.ids), decoder.vocabulary)
    return Decision(commit=keep, hypothesis=hypothesis, reason="greedy" if keep else "read")
