"""Consensus: commit when two consecutive hypotheses are nearly the same (one of the four policies of 2306.01201)."""

from dataclasses import dataclass
from typing import ClassVar

from simulst.core.boundary import complete
from simulst.core.policy import Committed, Decision, Decoder, Policy, SourceView
from simulst.core.settings import setting
from simulst.core.translator import Evidence
from simulst.policies.local_agreement import LocalAgreementState, Remembered


@dataclass(frozen=True, kw_only=True)
class Consensus(Policy[LocalAgreementState]):
    """Commit the complete words of the hypothesis once it resembles the previous one closely enough.

    Resemblance is the ratio of the authors' code (Levenshtein.ratio) of their texts after what is committed:
    2 L / (|a| + |b|) with L the longest common subsequence in characters. Theirs compares segments of Whisper, ours
    what is not committed yet. As in local agreement, only hypotheses about different source are compared.
    """

    requires: ClassVar[frozenset[Evidence]] = frozenset({Evidence.PREFIX})
    paper: ClassVar[str] = "Dugan et al. 2023 (2306.01201)"
    default_chunk_ms: ClassVar[int] = 1000

    ratio: float = setting(
        0.9, "least resemblance of consecutive hypotheses, 1 is equality", above=0, at_most=1, published="0.9"
    )

    def start(self) -> LocalAgreementState:
        return LocalAgreementState()

    def step(self, view: SourceView, committed: Committed, decoder: Decoder, state: LocalAgreementState) -> Decision:
        if state.unchanged(decoder):
            return state.waits(committed.total)
        hypothesis = decoder.hypothesise()[0]
        before = [remembered.after(committed.total) for remembered in state.recent]
        state.recent = [Remembered(total=committed.total, hypothesis=hypothesis)]
        if not before or not hypothesis.ids:
            return Decision(hypothesis=hypothesis, reason="read")
        vocabulary = decoder.vocabulary
        alike = edit_ratio(vocabulary.decode(before[0].ids), vocabulary.decode(hypothesis.ids))
        keep = complete(hypothesis, len(hypothesis.ids), vocabulary) if alike >= self.ratio else 0
        return Decision(
            commit=keep, hypothesis=hypothesis, reason="consensus" if keep else "read", diagnostics={"ratio": alike}
        )


def edit_ratio(first: str, second: str) -> float:
    """2 L / (|a| + |b|), L the length of the longest common subsequence; 1 for two empty texts."""
    if not first and not second:
        return 1.0
    places: dict[str, int] = {}
    for i, character in enumerate(first):
        places[character] = places.get(character, 0) | 1 << i
    everything = (1 << len(first)) - 1
    open_places = everything  # zero bits are matched (bit-parallel dynamic programming)
    for character in second:
        matched = open_places & places.get(character, 0)
        open_places = (open_places + matched | open_places - matched) & everything
    common = len(first) - open_places.bit_count()
    return 2 * common / (len(first) + len(second))
