"""Local agreement LA-n: commit what the last n hypotheses agree on (Liu et al. 2020, 2005.11185)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from simulst.core.boundary import complete
from simulst.core.policy import Committed, Decision, Decoder, Policy, SourceView
from simulst.core.settings import setting
from simulst.core.translator import Evidence, Hypothesis


@dataclass(kw_only=True)
class Remembered:
    """A hypothesis and how many ids had been committed before it."""

    total: int
    hypothesis: Hypothesis

    def after(self, total: int) -> Hypothesis:
        """The part of it after the first `total` ids of the stream."""
        gone = total - self.total
        if gone == 0:
            return self.hypothesis
        return Hypothesis(ids=self.hypothesis.ids[gone:], stop=self.hypothesis.stop, next_id=self.hypothesis.next_id)


@dataclass(kw_only=True)
class LocalAgreementState:
    recent: list[Remembered] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class LocalAgreement(Policy):
    """Commit the longest common prefix of the last n hypotheses, compared as ids after what is committed now."""

    requires: ClassVar[frozenset[Evidence]] = frozenset({Evidence.PREFIX})
    paper: ClassVar[str] = "Liu et al. 2020 (2005.11185)"
    default_chunk_ms: ClassVar[int] = 1000

    n: int = setting(
        2,
        "hypotheses that must agree",
        unit="hypotheses",
        at_least=2,
        why="a single one agrees with itself",
        published="2",
    )

    def start(self) -> LocalAgreementState:
        return LocalAgreementState()

    def step(self, view: SourceView, committed: Committed, decoder: Decoder, state: Any) -> Decision:
        hypothesis = decoder.hypothesise()[0]
        state.recent = [*state.recent[1 - self.n :], Remembered(total=committed.total, hypothesis=hypothesis)]
        if len(state.recent) < self.n:
            return Decision(hypothesis=hypothesis, reason="read")
        suffixes = [remembered.after(committed.total) for remembered in state.recent]
        agreed = common_prefix([suffix.ids for suffix in suffixes])
        keep = min(complete(suffix, agreed, decoder.vocabulary) for suffix in suffixes)
        return Decision(commit=keep, hypothesis=hypothesis, reason="agreement" if keep else "read")


def common_prefix(sequences: Sequence[Sequence[int]]) -> int:
    """Length of the longest prefix that all sequences share."""
    length = 0
    for column in zip(*sequences, strict=False):
        if any(token != column[0] for token in column):
            break
        length += 1
    return length
