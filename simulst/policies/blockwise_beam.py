"""Blockwise synchronous beam search: beams go on block by block and stop where the block says no more (2006.14941)."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

from simulst.core.boundary import complete
from simulst.core.policy import Committed, Decision, Decoder, Policy, SourceView
from simulst.core.prefix import common_prefix
from simulst.core.settings import setting
from simulst.core.translator import Evidence, Hypothesis
from simulst.policies.rows import with_rows


@dataclass(frozen=True, kw_only=True)
class Beam:
    """A hypothesis that goes on with the next block: its ids after what is committed."""

    ids: tuple[int, ...] = ()
    score: float = 0.0
    """Sum of the log-probabilities since the beams began."""
    ended: bool = False

    def followed(self, found: Hypothesis) -> "Beam":
        """With the one token that the model adds, or ended where it adds none."""
        return Beam(ids=self.ids + found.ids[:1], score=self.score + found.score, ended=not found.ids)


@dataclass(kw_only=True)
class BlockwiseBeamState:
    beams: list[Beam] = field(default_factory=lambda: [Beam()])
    total: int = 0
    """Ids that were committed when the beams were last looked at."""
    source_end: int = -1
    repeated_at: int = -1
    """Ids of the stream before the last repetition that ended a block."""

    def at(self, total: int) -> list[Beam]:
        """The beams after the first `total` ids of the stream."""
        gone, self.total = total - self.total, total
        self.beams = [replace(beam, ids=beam.ids[gone:]) for beam in self.beams]
        return self.beams


@dataclass(frozen=True, kw_only=True)
class BlockwiseBeam(Policy[BlockwiseBeamState]):
    """Search with several beams in what is heard until one of the best ends or repeats itself: there the block is used
    up. The last tokens are rolled back, the beams wait for the next block, and what all of them begin with is written.
    """

    requires: ClassVar[frozenset[Evidence]] = frozenset({Evidence.PREFIX, Evidence.NBEST})
    paper: ClassVar[str] = "Tsunoo et al. 2021 (2006.14941)"

    beams: int = setting(4, "hypotheses that are followed", at_least=1, at_most=32, published="10")
    rollback: int = setting(1, "tokens that are taken back at the end of a block", unit="tokens", at_least=0)
    window: int = setting(
        3, "a token that is among so many before it is a repetition; 0: none is", unit="tokens", at_least=0
    )
    agreeing: int = setting(
        2, "best beams that must agree on what is written; more than there are: all of them", at_least=1
    )

    def start(self) -> BlockwiseBeamState:
        return BlockwiseBeamState()

    def step(self, view: SourceView, committed: Committed, decoder: Decoder, state: BlockwiseBeamState) -> Decision:
        if decoder.source_end == state.source_end:
            return Decision(reason="source unchanged")
        state.source_end = decoder.source_end
        state.beams = self._search(state.at(committed.total), committed, decoder, state)
        agreeing = [Hypothesis(ids=one.ids, stop="length", score=one.score) for one in state.beams[: self.agreeing]]
        agreed = common_prefix(*(one.ids for one in agreeing))
        found, keep = agreeing[0], min(complete(one, agreed, decoder.vocabulary) for one in agreeing)
        if not keep:
            return Decision(hypothesis=found, reason="read")
        return Decision(commit=keep, hypothesis=with_rows(found, keep, committed, decoder), reason="beams")

    def finish(self, view: SourceView, committed: Committed, decoder: Decoder, state: BlockwiseBeamState) -> Decision:
        best = decoder.hypothesise(n_best=self.beams)[0]
        return Decision(commit=len(best.ids), hypothesis=best, segment_end=True, reason="finish")

    def _search(
        self, beams: list[Beam], committed: Committed, decoder: Decoder, state: BlockwiseBeamState
    ) -> list[Beam]:
        """The beams as they stand at the end of the block, the best first."""
        steps = [beams]
        while True:
            grown = self._grown(steps[-1], committed, decoder)
            if not grown or any(beam.ended for beam in grown):
                break
            if any(self._repeats(committed.prefix, beam) for beam in grown):
                here = committed.total + len(grown[0].ids)
                again, state.repeated_at = here == state.repeated_at, here
                if not again:  # said once more with more to hear: then it is meant
                    break
            steps.append(grown)
        return steps[max(0, len(steps) - 1 - self.rollback)]

    def _grown(self, beams: Sequence[Beam], committed: Committed, decoder: Decoder) -> list[Beam]:
        """The best continuations by one token; none where no more may be said."""
        grown = dict[tuple[int, ...], Beam]()
        for beam in beams:
            for found in decoder.hypothesise(prefix=(*committed.prefix, *beam.ids), max_new=1, n_best=self.beams):
                if not found.ids and found.stop != "eos":
                    return []
                one = beam.followed(found)
                if one.ids not in grown or grown[one.ids].score < one.score:
                    grown[one.ids] = one
        return sorted(grown.values(), key=lambda beam: -beam.score)[: self.beams]

    def _repeats(self, prefix: Sequence[int], beam: Beam) -> bool:
        text = (*prefix, *beam.ids)
        return self.window > 0 and text[-1] in text[-1 - self.window : -1]
