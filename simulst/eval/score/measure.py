"""What metrics give on segments: a row for each of them, and the means."""

from collections.abc import Iterator, Sequence
from statistics import fmean

from simulst.eval.metrics.metric import Metric, Need, Row, View
from simulst.eval.segment.align import CLOCKS, ScoredSegment

Cells = dict[str, float | None]


def segment_rows(segments: Sequence[ScoredSegment], metrics: Sequence[Metric], prefix: str) -> list[Cells]:
    """Every metric in every row; None where it is undefined (no unit, or a source of no length)."""
    measured = [metric for metric in metrics if metric.segment is not None]
    timed = [(metric.printed(prefix), metric) for metric in measured if metric.timed]
    others = [(metric.printed(prefix), metric) for metric in measured if not metric.timed]
    rows = [_row(segment, timed, others) for segment in segments]
    names = dict.fromkeys(name for row in sorted(rows, key=len, reverse=True)[:1] for name in row)
    return [{name: row.get(name) for name in (*names, *row)} for row in rows]


def columns(metric: Metric, prefix: str, clocks: Sequence[str]) -> list[str]:
    """Names of the scores of a metric."""
    name = metric.printed(prefix)
    return [name + clock for clock in clocks] if metric.segment is not None and metric.timed else [name]


def means(rows: Sequence[Row]) -> dict[str, float]:
    """Plain mean over the segments where a metric is defined, of any length and talk; absent if there is none."""
    found = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        values = [value for row in rows if (value := row.get(name)) is not None]
        if values:
            found[name] = fmean(values)
    return found


def _row(segment: ScoredSegment, timed: Sequence[tuple[str, Metric]], others: Sequence[tuple[str, Metric]]) -> Cells:
    row: Cells = {}
    for clock in CLOCKS:
        if clock in segment.times:
            view = View(segment, clock)
            row |= {name + clock: value for name, value in _values(view, timed)}
    return row | dict(_values(View(segment), others))


def _values(view: View, metrics: Sequence[tuple[str, Metric]]) -> Iterator[tuple[str, float | None]]:
    lacking = {need for need, known in ((Need.TIMES, view.times), (Need.LENGTH, view.source_ms > 0)) if not known}
    for name, metric in metrics:
        if metric.segment is not None:
            yield name, None if lacking and metric.needs & lacking else metric.segment(view)
