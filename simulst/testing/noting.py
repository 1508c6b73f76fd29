"""A toy that notes the terms it was asked to favour."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from simulst.core.translator import PLAIN, Hypothesis, Query
from simulst.testing.toy import ToySession, ToyTranslator


class NotingSession(ToySession):
    """Notes which terms it was asked to favour."""

    def __init__(self, model: "Noting") -> None:
        super().__init__(model)
        self.noted = model.noted

    def hypothesise(self, prefix: Sequence[int], query: Query = PLAIN) -> list[Hypothesis]:
        if query.favoured is not None:
            self.noted |= {term.target for term in query.favoured.heard}
        return super().hypothesise(prefix, query)


@dataclass(kw_only=True)
class Noting(ToyTranslator):
    noted: set[str] = field(default_factory=set)

    def open(self) -> NotingSession:
        return NotingSession(self)
