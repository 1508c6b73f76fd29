"""Turns on endless streams (InfiniSST, 2503.02969): speech, then what the model wants to say, then speech again."""

from dataclasses import dataclass
from typing import ClassVar

from simulst.core.latency_tags import TURN_BLOCKS
from simulst.core.policy import Committed, Decision, Decoder, Policy, SourceView
from simulst.core.settings import setting
from simulst.core.translator import Evidence, ReadWrite
from simulst.policies.read_write import budget, follow


@dataclass(frozen=True, kw_only=True)
class Infinite(Policy):
    """After each turn of `multiple` blocks of audio the model writes as much as it wants, maybe nothing.

    The history `turns` forgets whole oldest turns once the cache is full; the prompt stays.
    """

    requires: ClassVar[frozenset[Evidence]] = frozenset({Evidence.SESSION_TOKENS})
    paper: ClassVar[str] = "Ouyang et al. 2025 (2503.02969)"
    default_history: ClassVar[str] = "turns"

    multiple: int = setting(2, "blocks of audio per turn", unit="blocks", choices=TURN_BLOCKS, published="1, 2, 3, 4")
    tokens_per_block: int = setting(
        10, "most tokens that a turn may write per block", unit="tokens", at_least=1, published="10"
    )

    def step(self, view: SourceView, committed: Committed, decoder: Decoder, state: None) -> Decision:
        return follow(self._plan(view, committed), decoder)

    def finish(self, view: SourceView, committed: Committed, decoder: Decoder, state: None) -> Decision:
        return follow(self._plan(view, committed, final=True), decoder, final=True)

    def _plan(self, view: SourceView, committed: Committed, *, final: bool = False) -> ReadWrite:
        most = budget(view, committed)
        cap = most if final else self.tokens_per_block * self.multiple
        return ReadWrite(turn=self.multiple, max_new=lambda words: cap, most=most)
