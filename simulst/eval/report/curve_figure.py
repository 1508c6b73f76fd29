"""The curve as a still picture, svg or png."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from simulst.eval.report.curve import Curve, Point
from simulst.outputs import whole_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MARKERS = "os^Dvp*X"
_COLOURS = ("#0b57c2", "#b5460f", "#0f7b53", "#8e3aa8", "#8a6a00", "#c2255c", "#00727f", "#555e68")


def write_curve_figure(curve: Curve, path: Path) -> None:
    """Draw with matplotlib, no display needed; text in svg stays text."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    settings = {"svg.fonttype": "none", "svg.hashsalt": "simulst", "font.size": 10, "text.parse_math": False}
    with pyplot.rc_context(settings):
        figure, axes = pyplot.subplots(figsize=(7, 4.6), layout="constrained")
        for number, (name, points) in enumerate(curve.series().items()):
            _draw_series(axes, curve, number, name, points)
        axes.set_xlabel(axis_label(curve, curve.latency))
        axes.set_ylabel(axis_label(curve, curve.quality))
        axes.grid(color="#e3e6ea", linewidth=0.8)
        axes.set_axisbelow(True)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        axes.legend(frameon=False)
        try:
            with whole_file(path) as file:
                kind = path.suffix[1:]
                figure.savefig(file, format=kind, dpi=160, metadata={"Date": None} if kind == "svg" else None)
        finally:
            pyplot.close(figure)


def axis_label(curve: Curve, metric: str) -> str:
    """With the unit; milliseconds are shown as seconds."""
    unit = curve.unit(metric)
    return f"{metric} (s)" if unit == "ms" else f"{metric} ({unit})" if unit else metric


def _draw_series(axes: "Axes", curve: Curve, number: int, name: str, points: list[Point]) -> None:
    scale = 0.001 if curve.unit(curve.latency) == "ms" else 1.0
    x = [tuple(scale * v for v in point.axis(curve.latency)) for point in points]
    y = [point.axis(curve.quality) for point in points]
    axes.errorbar(
        [v for v, _, _ in x],
        [v for v, _, _ in y],
        xerr=_bars(x),
        yerr=_bars(y),
        label=name,
        color=_COLOURS[number % len(_COLOURS)],
        marker=_MARKERS[number % len(_MARKERS)],
        elinewidth=0.8,
        capsize=2,
    )
    for point, (left, _, _), (top, _, _) in zip(points, x, y, strict=True):
        if point.label:
            axes.annotate(point.label, (left, top), xytext=(5, 5), textcoords="offset points", fontsize=8)


def _bars(values: Sequence[tuple[float, ...]]) -> list[list[float]]:
    return [[max(0.0, v - low) for v, low, _ in values], [max(0.0, high - v) for v, _, high in values]]
