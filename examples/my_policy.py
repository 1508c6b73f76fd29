"""A decision rule of one's own, in one file.

    simulst translate talk.flac --policy examples/my_policy.py:HoldSeconds --set seconds=1.5

It commits a word once the audio that the word attends to lies some seconds back, whatever the model's frames.
"""

from dataclasses import dataclass

from simulst.core.alignment import anchors
from simulst.core.boundary import complete
from simulst.core.policy import Committed, Decision, Decoder, Policy, SourceView
from simulst.core.settings import setting
from simulst.core.translator import Evidence


@dataclass(frozen=True, kw_only=True)
class HoldSeconds(Policy):
    """Commit words whose audio was heard at least `seconds` ago."""

    requires = frozenset({Evidence.PREFIX, Evidence.ALIGNMENT})

    seconds: float = setting(1.0, "how old the audio of a word must be", unit="s", at_least=0)

    def step(self, view: SourceView, committed: Committed, decoder: Decoder, state: None) -> Decision:
        hypothesis = decoder.hypothesise(want=self.requires)[0]
        times = anchors(hypothesis.alignment, len(committed.prefix) + len(hypothesis.ids))[len(committed.prefix) :]
        limit = view.heard_s - self.seconds
        cut = next((i for i, time in enumerate(times) if time is None or time > limit), len(times))
        keep = complete(hypothesis, cut, decoder.vocabulary)
        return Decision(commit=keep, hypothesis=hypothesis, reason="old enough" if keep else "read")
