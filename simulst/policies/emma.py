"""EMMA: a monotonic decoder says itself whether a token may be written (2312.04515, SeamlessStreaming 2312.05187)."""

from dataclasses import dataclass
from typing import ClassVar

from simulst.core.boundary import complete
from simulst.core.policy import Committed, Decision, Decoder, Policy, SourceView
from simulst.core.settings import setting
from simulst.core.translator import Evidence, TokenStep, Verdict


@dataclass(frozen=True, kw_only=True)
class Emma(Policy):
    """Write tokens while the model's write probability (p_choose) stays at or above `threshold`."""

    requires: ClassVar[frozenset[Evidence]] = frozenset({Evidence.PREFIX, Evidence.P_CHOOSE})
    paper: ClassVar[str] = "Ma et al. 2023 (2312.04515)"
    default_chunk_ms: ClassVar[int] = 320

    threshold: float = setting(0.5, "least write probability", above=0, at_most=1, published="0.5")
    min_start_s: float = setting(1.92, "audio before the first write", unit="s", at_least=0, published="1.92")
    max_new: int = setting(50, "most tokens per chunk", unit="tokens", at_least=1, published="50")

    def step(self, view: SourceView, committed: Committed, decoder: Decoder, state: None) -> Decision:
        if view.heard_s < self.min_start_s:
            return Decision(reason="read")
        gate = WriteProbabilityGate(threshold=self.threshold)
        hypothesis = decoder.hypothesise(gate=gate, max_new=self.max_new, want=self.requires)[0]
        keep = complete(hypothesis, len(hypothesis.ids), decoder.vocabulary)
        return Decision(commit=keep, hypothesis=hypothesis, reason="p_choose" if keep else "read")


@dataclass(frozen=True, kw_only=True)
class WriteProbabilityGate:
    """Ends decoding at the first token that the model would rather not write yet."""

    threshold: float

    def __call__(self, step: TokenStep) -> Verdict:
        unsure = step.p_choose is not None and step.p_choose < self.threshold
        return "stop_drop" if unsure else "continue"
