"""Limits that a setting must keep to: `StreamLAAL<=2.0` in seconds, `rtf<=0.5`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from simulst.errors import DataError
from simulst.eval.metrics.registry import display_of

SHORT_NAMES = {"rtf": "ComputeRTF"}
"""What people write for a score that is called otherwise."""


@dataclass(frozen=True, kw_only=True)
class Limit:
    """The most that a score may be; times in seconds."""

    metric: str
    at_most: float

    @classmethod
    def parse(cls, text: str) -> "Limit":
        """From `METRIC<=NUMBER`; DataError where it is anything else."""
        found = re.fullmatch(r"\s*([A-Za-z][\w+-]*)\s*<=\s*(\d+(?:\.\d*)?|\.\d+)\s*", text, flags=re.ASCII)
        if not found or not float(found[2]):
            raise DataError(f"{text!r} is not a limit; write METRIC<=NUMBER, such as StreamLAAL<=2.0 (seconds).")
        return cls(metric=SHORT_NAMES.get(found[1].lower(), found[1]), at_most=float(found[2]))

    def name(self, scores: Mapping[str, float]) -> str:
        """What the run calls the score; DataError, naming those there are, where it does not have it."""
        name = next((known for known in scores if known.lower() == self.metric.lower()), None)
        if name is None:
            raise DataError(f"The runs have no {self.metric}; they have {', '.join(scores)}.")
        return name

    def scale(self, scores: Mapping[str, float]) -> float:
        """The limit's unit in that of the score: 1000 for milliseconds."""
        return 1000.0 if display_of(self.name(scores)).unit == "ms" else 1.0

    def value(self, scores: Mapping[str, float]) -> float:
        """The score in the limit's unit; DataError as in `name`."""
        return scores[self.name(scores)] / self.scale(scores)

    def excess(self, scores: Mapping[str, float]) -> float:
        """By what share of the limit the score is above it; negative below."""
        return self.value(scores) / self.at_most - 1

    def __str__(self) -> str:
        return f"{self.metric}<={self.at_most:g}"
