"""Bootstrap resampling of segments: intervals of one run's scores and paired tests between two runs.

Koehn 2004, "Statistical Significance Tests for Machine Translation Evaluation"; p-values as in sacrebleu. Segments are
resampled as if independent, although those of one talk are not quite: read the intervals as a lower bound.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from simulst.eval.metrics.metric import Counts, Floats

DEFAULT_RESAMPLES = 1000
DEFAULT_SEED = 12345


class Interval(NamedTuple):
    low: float
    high: float


class Comparison(NamedTuple):
    """Run b against run a."""

    difference: float
    """b - a on all segments."""
    interval: Interval
    """95 % of the resampled differences."""
    p_value: float
    """How often chance alone gives a difference as large (two-sided)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """What of a run can be resampled."""

    counts: Mapping[str, Counts]
    """Of metrics that are scored from sums of counts."""
    values: Mapping[str, Floats]
    """Of metrics that are averaged: one value per segment, nan where it has none."""

    @classmethod
    def of(cls, rows: Sequence[Mapping[str, float | None]], counts: Mapping[str, Counts]) -> "Sample":
        names = dict.fromkeys(name for row in rows for name in row)
        table = {
            name: np.array([np.nan if (v := row.get(name)) is None else v for row in rows], dtype=np.float64)
            for name in names
        }
        return cls(counts=counts, values=table)

    def resampled(self, weights: npt.NDArray[np.int64]) -> dict[str, Floats]:
        """Each metric under each resampling, `weights` [resamplings, segments]; metrics without a value are absent."""
        scores = {name: counts.resampled(weights) for name, counts in self.counts.items()}
        for name, values in self.values.items():
            counted = ~np.isnan(values)
            if counted.any():
                total = weights @ counted
                mean = (weights @ np.where(counted, values, 0.0)) / np.maximum(total, 1)
                scores[name] = np.where(total > 0, mean, np.nan)
        return scores

    def scores(self) -> dict[str, float]:
        counted = (len(counts.rows) for counts in self.counts.values())
        size = next((len(v) for v in self.values.values()), next(counted, 0))
        return {name: float(v[0]) for name, v in self.resampled(np.ones((1, size), dtype=np.int64)).items()}


def resampling_weights(
    segments: int, resamples: int = DEFAULT_RESAMPLES, seed: int = DEFAULT_SEED
) -> npt.NDArray[np.int64]:
    """How often each segment is drawn in each resampling, [resamples, segments]; rows sum to `segments`."""
    generator = np.random.default_rng(seed)
    return generator.multinomial(segments, np.full(segments, 1.0 / segments), size=resamples)


def intervals(sample: Sample, weights: npt.NDArray[np.int64]) -> dict[str, Interval]:
    """95 % percentile interval of every metric."""
    return {name: _interval(values) for name, values in sample.resampled(weights).items()}


def compare(a: Sample, b: Sample, weights: npt.NDArray[np.int64]) -> dict[str, Comparison]:
    """Paired bootstrap over the metrics that both runs have; both must cover the same segments in the same order."""
    first, second, point_a, point_b = a.resampled(weights), b.resampled(weights), a.scores(), b.scores()
    results = {}
    for name in [*a.counts, *a.values]:
        if name not in point_a or name not in point_b:
            continue
        difference = point_b[name] - point_a[name]
        differences = second[name] - first[name]
        differences = differences[~np.isnan(differences)]
        extreme = np.sum(np.abs(differences - differences.mean()) >= abs(difference))
        p_value = float(extreme + 1) / (len(differences) + 1)
        results[name] = Comparison(difference, _interval(differences), p_value)
    return results


def _interval(values: Floats) -> Interval:
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return Interval(float(low), float(high))
