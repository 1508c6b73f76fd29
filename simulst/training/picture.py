"""A picture of the logs of a recipe: losses and BLEU of the development sets over hours of training."""

import json
from collections import defaultdict
from pathlib import Path

from simulst.errors import DataError
from simulst.outputs import whole_file

STAGES = ("text", "decoder", "incremental")
Series = dict[str, list[tuple[float, float]]]
_LABELS = {"dev_": "cross-entropy per token", "bleu_": "BLEU, greedy, 13a", "wer_": "word errors of CTC, %"}


def read_series(folder: Path) -> tuple[Series, list[tuple[str, float]]]:
    """(hours, value) of every development figure, stages one after the other; where each stage begins, in hours.

    Of a step that was trained twice, because a run was stopped after its last checkpoint, the last record counts.
    """
    series: Series = defaultdict(list)
    begins: list[tuple[str, float]] = []
    before = 0.0
    for stage in STAGES:
        path = folder / stage / "log.jsonl"
        if not path.is_file():
            continue
        records = {record["step"]: record for record in map(json.loads, path.read_text().splitlines())}
        begins.append((stage, before))
        for _, record in sorted(records.items()):
            for name, value in record.items():
                if name.startswith(tuple(_LABELS)):
                    series[name].append((before + record["hours"], value))
        before += max((record["hours"] for record in records.values()), default=0.0)
    if not series:
        raise DataError(f"{folder} holds no log with development figures; train at least to the first checkpoint.")
    return dict(series), begins


def draw(folder: Path, path: Path) -> None:
    """Write the picture (.svg, .png, .pdf) of a work folder. Raises DataError, OutputError."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    series, begins = read_series(folder)
    labels = {prefix: label for prefix, label in _LABELS.items() if any(name.startswith(prefix) for name in series)}
    figure, row = pyplot.subplots(1, len(labels), figsize=(5 * len(labels), 3.6), layout="constrained", squeeze=False)
    for axes, (prefix, label) in zip(row[0], labels.items(), strict=True):
        for name, points in sorted(series.items()):
            if name.startswith(prefix):
                axes.plot(*zip(*points, strict=True), marker=".", label=name.removeprefix(prefix))
        for stage, begin in begins:
            axes.axvline(begin, color="#999999", linewidth=0.8)
            axes.annotate(f" {stage}", (begin, 1), xycoords=("data", "axes fraction"), va="top", color="#666666")
        axes.set_xlabel("hours of training")
        axes.set_ylabel(label)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
    with whole_file(path) as file:
        figure.savefig(file, format=path.suffix[1:] or "svg", dpi=160)
    pyplot.close(figure)
