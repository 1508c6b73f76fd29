"""Transcript and translation by one decoder, interleaved by time (t-SOT, 2307.03354): two streams out of one pass."""

from dataclasses import dataclass
from typing import ClassVar

from simulst.core.latency_tags import TURN_BLOCKS
from simulst.core.policy import Committed, Decision, Decoder, Policy, SourceView
from simulst.core.settings import setting
from simulst.core.translator import Evidence, ReadWrite
from simulst.policies.read_write import follow

LAST_TURN = 10
"""Times as many tokens may be written in the last turn: all that is left to say."""


@dataclass(frozen=True, kw_only=True)
class Joint(Policy):
    """After each turn of `multiple` blocks of audio the model writes what was said and its translation, word by word in
    the order of time; a session gives out the one of its target language.

    Sessions beside each other, one for each language, have every turn decoded once. The history `turns` forgets whole
    oldest turns.
    """

    requires: ClassVar[frozenset[Evidence]] = frozenset({Evidence.SESSION_TOKENS, Evidence.JOINT})
    paper: ClassVar[str] = "Papi et al. 2023 (2307.03354)"
    default_history: ClassVar[str] = "turns"

    multiple: int = setting(1, "blocks of audio per turn", unit="blocks", choices=TURN_BLOCKS)
    tokens_per_block: int = setting(
        24, "most tokens, of both languages, that a turn may write per block", unit="tokens", at_least=1
    )

    def step(self, view: SourceView, committed: Committed, decoder: Decoder, state: None) -> Decision:
        return follow(self._plan(self.tokens_per_block * self.multiple), decoder)

    def finish(self, view: SourceView, committed: Committed, decoder: Decoder, state: None) -> Decision:
        return follow(self._plan(LAST_TURN * self.tokens_per_block), decoder, final=True)

    def _plan(self, cap: int) -> ReadWrite:
        """The same for both languages, so that one decoding does for both."""
        return ReadWrite(joint=True, turn=self.multiple, max_new=lambda words: cap, most=1 << 20)
