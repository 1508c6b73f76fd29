"""Quality against latency: one line per policy, one point per run, with bootstrap intervals and paired tests."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NotRequired, TypedDict

import numpy as np

from simulst.errors import DataError
from simulst.eval.report.page import render
from simulst.eval.score.runs import Run, latency_metric, same_segments
from simulst.eval.score.significance import (
    DEFAULT_RESAMPLES,
    DEFAULT_SEED,
    Comparison,
    Interval,
    Sample,
    compare,
    intervals,
    resampling_weights,
)
from simulst.outputs import write_text


@dataclass(frozen=True, kw_only=True, eq=False)
class Point:
    """One run on the plot."""

    run: Run
    series: str
    label: str
    """What tells the run from the others of its line, such as k=3."""
    scores: dict[str, float]
    bounds: dict[str, Interval]

    def axis(self, metric: str) -> tuple[float, float, float]:
        """Value, lower and upper end."""
        bound = self.bounds.get(metric) or Interval(self.scores[metric], self.scores[metric])
        return self.scores[metric], bound.low, bound.high


@dataclass(frozen=True, kw_only=True, eq=False)
class Curve:
    points: list[Point]
    latency: str
    quality: str
    resamples: int
    comparisons: dict[str, dict[str, Comparison]]
    """Run folder to metric, against the baseline."""
    baseline: Run | None = None

    def unit(self, metric: str) -> str:
        return self.points[0].run.display(metric).unit

    def series(self) -> dict[str, list[Point]]:
        """Points by line, in the order of latency."""
        names = dict.fromkeys(point.series for point in self.points)
        return {
            name: sorted((p for p in self.points if p.series == name), key=lambda p: p.scores[self.latency])
            for name in names
        }


def build_curve(
    runs: Sequence[Run],
    *,
    latency: str = "",
    quality: str = "BLEU",
    baseline: Run | None = None,
    resamples: int = DEFAULT_RESAMPLES,
    seed: int = DEFAULT_SEED,
) -> Curve:
    """Resample every run; with `baseline`, also test each other run against it.

    DataError when runs lack the metrics, or are compared although they do not translate the same segments.
    """
    everyone = [*runs, *([baseline] if baseline and baseline.folder not in [r.folder for r in runs] else [])]
    latency = latency_metric(everyone, latency)
    if not all(quality in run.scores for run in everyone):
        known = ", ".join(name for name in _common(everyone) if everyone[0].display(name).kind == "quality")
        raise DataError(f"Unknown quality metric {quality!r}; known in all runs: {known}.")
    if baseline and not same_segments(everyone):
        raise DataError("The runs do not translate the same segments; a paired test needs the same references.")
    samples = {run.folder: run.sample() for run in everyone}
    points = [_point(run, samples[run.folder], list(everyone), resamples, seed) for run in everyone]
    comparisons = {}
    if baseline:
        weights = resampling_weights(len(baseline.rows), resamples, seed)
        first = samples[baseline.folder]
        others = [run for run in everyone if run.folder != baseline.folder]
        comparisons = {str(run.folder): compare(first, samples[run.folder], weights) for run in others}
    return Curve(
        points=points,
        latency=latency,
        quality=quality,
        resamples=resamples,
        comparisons=comparisons,
        baseline=baseline,
    )


def _point(run: Run, sample: Sample, runs: list[Run], resamples: int, seed: int) -> Point:
    bounds = intervals(sample, resampling_weights(len(run.rows), resamples, seed)) if resamples else {}
    return Point(run=run, series=_series(run, runs), label=_label(run, runs), scores=run.scores, bounds=bounds)


def _series(run: Run, runs: list[Run]) -> str:
    models = {other.model for other in runs}
    return f"{run.policy} ({run.model})" if len(models) > 1 and run.model else run.policy


def _label(run: Run, runs: list[Run]) -> str:
    line = [other for other in runs if _series(other, runs) == _series(run, runs)]
    if len(line) == 1:
        return ""
    differing = [
        key
        for key in dict.fromkeys(key for other in line for key in other.parameters)
        if len({repr(other.parameters.get(key)) for other in line}) > 1
    ]
    return ", ".join(f"{key}={run.parameters[key]}" for key in differing if key in run.parameters) or run.name


class CurveData(TypedDict):
    """The curve as its page reads it."""

    x: str
    y: str
    latencies: list[str]
    qualities: list[str]
    main: list[str]
    units: dict[str, str]
    series: list[dict[str, object]]
    summary: NotRequired[str]
    signatures: NotRequired[list[list[str]]]
    comparison: NotRequired[dict[str, object]]


def curve_data(curve: Curve) -> CurveData:
    """What the interactive chart draws."""
    common = _common([point.run for point in curve.points])
    qualities = [name for name in common if curve.points[0].run.display(name).kind == "quality"]
    latencies = [name for name in common if name not in qualities and _finite(curve, name)]
    return {
        "x": curve.latency,
        "y": curve.quality if curve.quality in qualities else qualities[0],
        "latencies": latencies,
        "qualities": qualities,
        "main": [name for name in latencies if name.startswith(curve.latency)],
        "units": {name: curve.unit(name) for name in common},
        "series": [
            {
                "name": name,
                "points": [
                    {
                        "run": p.run.name,
                        "label": p.label,
                        "scores": {m: list(p.axis(m)) for m in (*qualities, *latencies)},
                    }
                    for p in points
                ],
            }
            for name, points in curve.series().items()
        ],
    }


def _common(runs: Sequence[Run]) -> list[str]:
    """Scores that all runs have."""
    return [name for name in runs[0].scores if all(name in run.scores for run in runs)]


def _finite(curve: Curve, name: str) -> bool:
    return all(np.isfinite(p.axis(name)).all() for p in curve.points)


def write_curve_page(curve: Curve, path: Path) -> None:
    data = curve_data(curve)
    count, segments = len(curve.points), len(curve.points[0].run.rows)
    data["summary"] = (
        f"{count} run{'s' if count > 1 else ''}, {segments} segments; bars are 95 % bootstrap intervals "
        f"({curve.resamples} resamplings of segments). Left and up is better."
    )
    data["signatures"] = [
        [f"{p.run.name} {name}", p.run.signatures[name]]
        for p in curve.points
        for name in (curve.quality, curve.latency)
        if name in p.run.signatures
    ]
    if curve.baseline:
        data["comparison"] = comparison_data(curve)
    page = render("curve.html", title="Quality against latency", data=data, scripts=("chart.js", "curve.js"))
    write_text(path, page)


def comparison_data(curve: Curve) -> dict[str, object]:
    """Differences of the main metrics against the baseline: [difference, low, high, p]."""
    tested = dict.fromkeys(name for found in curve.comparisons.values() for name in found)
    run = curve.points[0].run
    qualities = [name for name in tested if name in run.scores and run.display(name).kind == "quality"]
    metrics = [*qualities, *dict.fromkeys((curve.latency, f"{curve.latency}_CA_backlog"))]
    rows: list[dict[str, object]] = []
    for folder, found in curve.comparisons.items():
        row: dict[str, object] = {"run": Path(folder).resolve().name}
        for metric in metrics:
            if metric in found:
                difference, bound, p_value = found[metric]
                row[metric] = [difference, bound.low, bound.high, p_value]
        rows.append(row)
    return {
        "baseline": curve.baseline.name if curve.baseline else "",
        "metrics": [m for m in metrics if any(m in row for row in rows)],
        "rows": rows,
    }
