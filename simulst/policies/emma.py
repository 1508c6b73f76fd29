"""EMMA: a monotonic decoder says itself whether a token may be written (2312.04515, SeamlessStreaming 2312.05187)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from simulst.core.boundary import complete
from simulst.core.policy import Committed, Decision, Decoder, Policy, SourceView
from simulst.core.settings import setting
from simulst.core.translator import Evidence, TokenStep, Verdict

NGRAMS = (3, 2)
REMEMBERED = 4
"""Ids of the prefix that count as written just before."""
MOST_BLOCKED = 5
"""Steps in a row; then the model may repeat itself."""


@dataclass(frozen=True, kw_only=True)
class Emma(Policy["EmmaState"]):
    """Write tokens while the model's write probability (p_choose) stays at or above `threshold`.

    With `block_ngrams` a write ends before two or three tokens that were written just before come again.
    """

    requires: ClassVar[frozenset[Evidence]] = frozenset({Evidence.PREFIX, Evidence.P_CHOOSE})
    paper: ClassVar[str] = "Ma et al. 2023 (2312.04515)"
    default_chunk_ms: ClassVar[int] = 320

    threshold: float = setting(0.5, "least write probability", above=0, at_most=1, published="0.5")
    min_start_s: float = setting(1.92, "audio before the first write", unit="s", at_least=0, published="1.92")
    max_new: int = setting(50, "most tokens per chunk", unit="tokens", at_least=1, published="50")
    block_ngrams: bool = setting(True, "whether a repetition makes the rest of a write wait", published="true")

    def start(self) -> "EmmaState":
        return EmmaState()

    def step(self, view: SourceView, committed: Committed, decoder: Decoder, state: "EmmaState") -> Decision:
        if view.heard_s < self.min_start_s:
            return Decision(reason="read")
        gate = WriteProbabilityGate(threshold=self.threshold)
        hypothesis = decoder.hypothesise(gate=gate, max_new=self.max_new, want=self.requires)[0]
        end = len(hypothesis.ids)
        if self.block_ngrams and state.blocked < MOST_BLOCKED:
            end = before_repetition(committed.prefix, hypothesis.ids)
        keep = complete(hypothesis, end, decoder.vocabulary)
        state.blocked = state.blocked + 1 if end < len(hypothesis.ids) and not keep else 0
        return Decision(commit=keep, hypothesis=hypothesis, reason="p_choose" if keep else "read")


@dataclass(kw_only=True)
class EmmaState:
    blocked: int = 0
    """Steps in a row that a repetition has left without a write."""


def before_repetition(prefix: Sequence[int], new: Sequence[int]) -> int:
    """How many of the new ids stand before the first three or two that came before, in the new ones or the last ids of
    the prefix."""
    ids = [*prefix[-REMEMBERED:], *new]
    first = len(ids) - len(new)
    seen = {tuple(ids[i : i + n]) for n in NGRAMS for i in range(first - n + 1)}
    for end in range(first + 1, len(ids) + 1):
        newest = [tuple(ids[end - n : end]) for n in NGRAMS if n <= end]
        if found := next((one for one in newest if one in seen), None):
            return max(0, end - len(found) - first)
        seen.update(newest)
    return len(new)


@dataclass(frozen=True, kw_only=True)
class WriteProbabilityGate:
    """Ends decoding at the first token that the model would rather not write yet."""

    threshold: float

    def __call__(self, step: TokenStep) -> Verdict:
        unsure = step.p_choose is not None and step.p_choose < self.threshold
        return "stop_drop" if unsure else "continue"
