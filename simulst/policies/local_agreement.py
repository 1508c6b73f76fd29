"""Local agreement LA-n: commit what the last n hypotheses agree on (Liu et al. 2020, 2005.11185)."""

from dataclasses import dataclass, field
from typing import ClassVar

from simulst.core.boundary import complete
from simulst.core.policy import Committed, Decision, Decoder, Policy, SourceView
from simulst.core.prefix import common_prefix
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
    source_end: int | None = None
    """The source behind the newest of them."""

    def unchanged(self, decoder: Decoder) -> bool:
        """Whether decoding would see the source of the newest hypothesis again, which agrees with itself."""
        before, self.source_end = self.source_end, decoder.source_end
        return bool(self.recent) and before == self.source_end

    def waits(self, total: int) -> Decision:
        """READ, with what is left of the newest hypothesis for display."""
        return Decision(hypothesis=self.recent[-1].after(total), reason="source unchanged")


@dataclass(frozen=True, kw_only=True)
class LocalAgreement(Policy[LocalAgreementState]):
    """Commit the longest common prefix of the last n hypotheses, compared as ids after what is committed now.

    A step counts only if decoding sees more source than at the one before: a model that hears in blocks would agree
    with itself.
    """

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

    def step(self, view: SourceView, committed: Committed, decoder: Decoder, state: LocalAgreementState) -> Decision:
        if state.unchanged(decoder):
            return state.waits(committed.total)
        hypothesis = decoder.hypothesise()[0]
        state.recent = [*state.recent[1 - self.n :], Remembered(total=committed.total, hypothesis=hypothesis)]
        if len(state.recent) < self.n:
            return Decision(hypothesis=hypothesis, reason="read")
        suffixes = [remembered.after(committed.total) for remembered in state.recent]
        agreed = common_prefix(*(suffix.ids for suffix in suffixes))
        keep = min(complete(suffix, agreed, decoder.vocabulary) for suffix in suffixes)
        return Decision(commit=keep, hypothesis=hypothesis, reason="agreement" if keep else "read")
