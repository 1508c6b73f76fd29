"""Wait for the end of the source and translate it at once: the quality that no simultaneous policy exceeds."""

from dataclasses import dataclass
from typing import Any, ClassVar

from simulst.policies.base import READ, Committed, Decision, Decoder, Policy, SourceView
from simulst.translators.base import Evidence


@dataclass(frozen=True, kw_only=True)
class Offline(Policy):
    """Read until the stream ends; audio longer than the model can hear is cut at sentence ends by the session."""

    requires: ClassVar[frozenset[Evidence]] = frozenset({Evidence.PREFIX})
    paper: ClassVar[str] = "Offline baseline"
    default_history: ClassVar[str] = "keep_all"

    def step(self, view: SourceView, committed: Committed, decoder: Decoder, state: Any) -> Decision:
        return READ
