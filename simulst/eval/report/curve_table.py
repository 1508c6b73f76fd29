"""The curve as Markdown: a row per run, and the quality of every line at equal latency."""

from pathlib import Path

import numpy as np

from simulst.eval.logs.instances import read_text
from simulst.eval.report.curve import Curve, Point
from simulst.eval.report.curve_figure import axis_label
from simulst.eval.report.sweep import read_refused
from simulst.outputs import write_text

_STEPS = (0.1, 0.2, 0.25, 0.5, 1.0, 2.0, 2.5, 5.0)
_MOST_LATENCIES = 12
BEGIN, END = "<!-- simulst curve -->\n", "<!-- /simulst curve -->\n"
"""Around the tables of a document that has more in it."""


def write_curve_table(curve: Curve, path: Path) -> None:
    """Write the tables: between BEGIN and END of a document that has both, else as the whole file.

    Raises DataError where the file cannot be read.
    """
    table = curve_table(curve)
    document = read_text(path) if path.is_file() else ""
    head, begin, rest = document.partition(BEGIN)
    _, end, tail = rest.partition(END)
    write_text(path, f"{head}{begin}\n{table}\n{end}{tail}" if begin and end else table)


def curve_table(curve: Curve) -> str:
    """Both tables with a caption each; times in seconds."""
    runs = [point.run for point in curve.points]
    minutes = sum(row.source_length_ms or 0.0 for row in runs[0].rows) / 60_000
    fewest, most = min(len(run.rows) for run in runs), max(len(run.rows) for run in runs)
    size = f"{most} segments, {minutes:.1f} minutes of audio" if fewest == most else f"{fewest} to {most} segments"
    caption = (
        f"{size}. In brackets 95 % bootstrap intervals of the segments ({curve.resamples} resamplings). RTF: computing "
        "time per second of audio by the clock on the wall; CPU RTF: by that of the processor, whatever else ran."
    )
    parts = [caption, _rows(curve)]
    equal = _equal_latency(curve)
    if equal:
        parts += [
            f"{curve.quality} at equal {axis_label(curve, curve.latency)}, interpolated between neighbouring rows:",
            equal,
        ]
    refused = {
        n: why for folder in dict.fromkeys(r.folder.parent for r in runs) for n, why in read_refused(folder).items()
    }
    parts += [f"Left out: {why}" for why in dict.fromkeys(refused.values())]
    return "\n\n".join(parts) + "\n"


def quality_at(points: list[Point], latency: str, quality: str, value: float) -> float | None:
    """Quality at a latency, linear between the points of a line; None outside of them."""
    known = sorted((point.scores[latency], point.scores[quality]) for point in points)
    x, y = [at for at, _ in known], [score for _, score in known]
    return float(np.interp(value, x, y)) if x[0] <= value <= x[-1] else None


def _rows(curve: Curve) -> str:
    rest = _further(curve)
    head = ["policy", "setting", curve.quality, axis_label(curve, curve.latency), "RTF", *rest.values()]
    lines = [_line(head), _line(["---", "---", *["---:"] * (len(head) - 2)])]
    for name, points in curve.series().items():
        for point in points:
            rtf = point.scores.get("ComputeRTF", point.scores.get("RTF"))
            cells = [
                f"`{name}`",
                point.label,
                _bounded(curve, point, curve.quality),
                _bounded(curve, point, curve.latency),
                _two(rtf),
            ]
            lines.append(_line(cells + [_two(point.scores.get(name) or None) for name in rest]))
    return "\n".join(lines)


def _further(curve: Curve) -> dict[str, str]:
    """Columns that are in the table where a run has them, with their headings, in the order of these."""
    found = {
        name: heading
        for point in curve.points
        for name, value in point.scores.items()
        if value and name not in (curve.quality, curve.latency) and (heading := point.run.display(name).shown.column)
    }
    return dict(sorted(found.items(), key=lambda pair: pair[1].casefold()))


def _equal_latency(curve: Curve) -> str:
    """A row per line of two points or more, a column per latency that at least two of them reach; "" without any."""
    lines = {name: points for name, points in curve.series().items() if len(points) > 1}
    scale = _scale(curve, curve.latency)
    columns = []
    for at in _grid([point.scores[curve.latency] * scale for points in lines.values() for point in points]):
        column = {n: quality_at(points, curve.latency, curve.quality, at / scale) for n, points in lines.items()}
        if sum(value is not None for value in column.values()) > 1:
            columns.append((at, column))
    if not columns:
        return ""
    table = [_line(["policy", *(f"{at:g}" for at, _ in columns)]), _line(["---", *["---:"] * len(columns)])]
    table += [_line([f"`{name}`", *(_two(column[name]) for _, column in columns)]) for name in lines]
    return "\n".join(table)


def _grid(values: list[float]) -> list[float]:
    """A few round numbers within the range of the values."""
    if not values:
        return []
    low, high = min(values), max(values)
    step = next((s for s in _STEPS if (high - low) / s <= _MOST_LATENCIES), (high - low) / _MOST_LATENCIES)
    return [step * n for n in range(int(np.ceil(low / step)), int(np.floor(high / step)) + 1)] if step else []


def _bounded(curve: Curve, point: Point, metric: str) -> str:
    value, low, high = (_scale(curve, metric) * v for v in point.axis(metric))
    digits = 2 if curve.unit(metric) == "ms" else 1
    return f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def _scale(curve: Curve, metric: str) -> float:
    return 0.001 if curve.unit(metric) == "ms" else 1.0


def _two(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"
