"""What a session shows of its decisions to whoever asked to look on."""

from collections.abc import Callable
from dataclasses import dataclass

from simulst.core.policy import Decision, SourceView


@dataclass(frozen=True, kw_only=True, slots=True)
class Observed:
    """One decision as it was carried out."""

    view: SourceView
    """What the policy saw."""
    decision: Decision
    written: str
    """Text that was appended; "" for a READ."""
    retracted: int
    """Characters that were taken back before."""
    times: tuple[float | None, ...]
    """Source time, absolute seconds, that each committed token attends to; None where the model does not tell."""
    pieces: tuple[str, ...]
    """Text of each committed token."""
    rest: str
    """What the hypothesis says beyond what was committed."""


Observer = Callable[[Observed], None]
