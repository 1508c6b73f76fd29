"""StreamAtt: AlignAtt on unbounded streams; text and audio of finished sentences are forgotten (2406.06097)."""

from dataclasses import dataclass
from typing import ClassVar

from simulst.policies.align_att import AlignAtt


@dataclass(frozen=True, kw_only=True)
class StreamAtt(AlignAtt):
    """AlignAtt whose history is selected: text by sentence or by number of words, audio by where kept text attends."""

    paper: ClassVar[str] = "Papi et al. 2024 (2406.06097)"
    default_history: ClassVar[str] = "auto"
