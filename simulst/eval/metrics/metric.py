"""What a metric is: a name, a unit, what it needs, one way to measure, and where it is shown."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

import numpy as np
import numpy.typing as npt

from simulst.core.glossary import Term
from simulst.errors import DataError
from simulst.eval.logs.instances import Instance
from simulst.eval.logs.units import Unit
from simulst.eval.segment.align import CLOCKS, ScoredSegment
from simulst.eval.segment.profiles import Profile

UNITS = ("ms", "%", "units", "")
"""The last one: points and ratios."""
Kind = Literal["quality", "latency", "run"]
Row = Mapping[str, float | None]
Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class Need(StrEnum):
    """What must be known of a segment before it is measured."""

    TIMES = "times"
    """Emission times of at least one unit; the metric is computed under every clock."""
    LENGTH = "length"
    """A source of more than 0 ms."""
    SOURCES = "sources"
    """The source sentences, which --sources names."""


@dataclass(frozen=True, slots=True)
class View:
    """A segment as a metric sees it, under one clock: "" ideal, "_CA" with computation, "_CA_backlog" with queueing."""

    segment: ScoredSegment
    clock: str = ""

    @property
    def times(self) -> tuple[float, ...]:
        """When each unit appeared, ms from the start of the segment."""
        return self.segment.times.get(self.clock, ())

    @property
    def source_ms(self) -> float:
        return self.segment.source_length_ms or 0.0

    @property
    def target_length(self) -> int:
        """Reference units as the profile counts them."""
        return self.segment.target_length


@dataclass(frozen=True, kw_only=True, eq=False)
class Texts:
    """What a run said, line by line, and what it should have said."""

    hypotheses: Sequence[str]
    references: Sequence[str]
    sources: Sequence[str] | None = None
    tokenizer: str = "13a"
    """sacrebleu's."""
    terms: Sequence[Term] = ()
    """Terms with the translation that they should have; none where no list was given."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Counts:
    """Counts of each segment from whose sums a score follows, so that any resampling of the segments can be scored."""

    rows: Integers
    """[segments, counts]"""
    score: Callable[[list[int]], float]
    """From sums of the rows."""
    signature: str = ""

    def total(self) -> float:
        """The score of the corpus."""
        return self.score(self.rows.sum(axis=0).tolist())

    def resampled(self, weights: Integers) -> Floats:
        """Scores of many resamplings, `weights` [resamplings, segments]."""
        return np.array([self.score(sums) for sums in (weights @ self.rows).tolist()])

    def alone(self) -> list[float]:
        """The score of each segment alone."""
        return [self.score(row) for row in self.rows.tolist()]


@dataclass(frozen=True, kw_only=True, eq=False)
class Corpus:
    """A whole run as a metric sees it."""

    segments: Sequence[ScoredSegment]
    instances: Sequence[Instance]
    """Lines of the log: streams, which in long form hold several segments."""
    rows: Sequence[Row]
    """What was measured on each segment."""
    texts: Texts
    profile: Profile
    unit: Unit = "word"
    comet: str = ""
    """COMET model; "" where it is not asked for."""


@dataclass(frozen=True, kw_only=True)
class Shown:
    """Where a metric is shown besides the files of scores, the table of `simulst score` and that of the report page."""

    summary: bool | tuple[str, ...] = False
    """After `simulst evaluate`; a tuple: only under these of its printed names."""
    card: str = ""
    """Heading of its card on the report page; "": no card."""
    column: str = ""
    """Heading of its column in the Markdown table of a curve; "": no column."""
    recordings: bool = False
    """In the report's table of recordings."""
    segments: bool = False
    """Counts only: the score of each segment alone is a column of segments.tsv."""


def counted(metrics: "Iterable[Metric]", texts: Texts, prefix: str = "") -> dict[str, Counts]:
    """Counts of those metrics that have any for a run, by their names under a profile with that prefix."""
    found = {one.printed(prefix): one.counts(texts) for one in metrics if one.counts is not None}
    return {name: counts for name, counts in found.items() if counts is not None}


def always(profile: Profile) -> bool:
    return True


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One metric. It has exactly one of `segment`, `corpus` and `counts`; None as a value means undefined.

    Raises DataError for an unknown unit, a name that a table cannot hold, and any other number of ways to measure.
    """

    name: str
    unit: str
    """One of UNITS."""
    kind: Kind
    """What an axis of a curve offers it as, and its place in the tables."""
    definition: str = ""
    """For the table in docs/metrics.md."""
    needs: frozenset[Need] = frozenset()
    segment: Callable[[View], float | None] | None = None
    """On each segment; the score is the plain mean over those where it is defined."""
    corpus: Callable[[Corpus], float | None] | None = None
    """Once for the run; has no interval."""
    counts: Callable[[Texts], Counts | None] | None = None
    """From sums of counts, as BLEU is; None where it is undefined for the run."""
    basis: Callable[[Corpus], str] | None = None
    """What a value of `corpus` that measures quality depends on, as `key:value`; begins its signature."""
    when: Callable[[Profile], bool] = always
    """Which profiles have it."""
    prefixed: bool = False
    """Whether the prefix of the profile (Stream, Long) comes before its name."""
    long_name: str = ""
    """Its name in long form, where that is another."""
    shown: Shown = field(default_factory=Shown)
    origin: str = ""
    """`file.py:NAME` of a metric that is not simulst's; set when it is loaded."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z][\w+-]*", self.name, flags=re.ASCII) or self.name.endswith(CLOCKS[1:]):
            raise DataError(
                f"A metric cannot be called {self.name!r}; use letters, digits, _, + and -, and no clock at the end."
            )
        if self.unit not in UNITS:
            known = ", ".join(repr(unit) for unit in UNITS)
            raise DataError(f"Metric {self.name} has the unknown unit {self.unit!r}; known: {known}.")
        if sum(way is not None for way in (self.segment, self.corpus, self.counts)) != 1:
            raise DataError(f"Metric {self.name} needs exactly one of `segment`, `corpus` and `counts`.")

    def printed(self, prefix: str) -> str:
        """Its name under a profile with that prefix, without clock."""
        if prefix and self.long_name:
            return self.long_name
        return prefix + self.name if self.prefixed else self.name

    @property
    def timed(self) -> bool:
        return Need.TIMES in self.needs
