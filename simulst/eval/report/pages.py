"""The report page of a run: scores, curve, recordings, latency of the segments, and the worst of them word by word."""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import numpy as np

from simulst.eval.metrics.metric import Kind
from simulst.eval.report.curve import build_curve, curve_data
from simulst.eval.report.explain import explain_rows
from simulst.eval.report.page import render
from simulst.eval.score.runs import Run, latency_metric
from simulst.eval.score.significance import DEFAULT_RESAMPLES, Interval, Sample, intervals, resampling_weights
from simulst.eval.score.tables import SegmentRow
from simulst.eval.segment.align import CLOCKS
from simulst.outputs import write_text

SHOWN_SEGMENTS = 20


def write_report(
    run: Run, path: Path, *, others: Sequence[Run] = (), latency: str = "", resamples: int = DEFAULT_RESAMPLES
) -> None:
    """Write the page of `run`; `others` join it on the curve. Of a run that says nothing it tells the quality alone."""
    latency = latency_metric([run], latency) if latency or others or run.has_latency else ""
    sample = run.sample()
    bounds = intervals(sample, resampling_weights(len(run.rows), resamples))
    curve = curve_data(build_curve([run, *others], latency=latency, resamples=resamples)) if others else None
    units = {name: run.display(name).unit for name in run.scores} | (curve["units"] if curve else {})
    data = {
        "title": run.name,
        "subtitle": _subtitle(run),
        "units": units,
        "latency": latency,
        "cards": _cards(run, latency, bounds),
        "notes": _notes(run),
        "scores": _score_table(run),
        "histogram": _histogram(run, latency),
        "talks": _talks(run, sample, latency),
        "segments": _segments(run, latency, path.parent),
        "shown": SHOWN_SEGMENTS,
        "facts": _facts(run),
        "curve": curve,
    }
    page = render("report.html", title=f"{run.name}: simulst report", data=data, scripts=("chart.js", "report.js"))
    write_text(path, page)


def _subtitle(run: Run) -> str:
    recordings = len({row.wav for row in run.rows})
    minutes = sum(row.source_length_ms or 0.0 for row in run.rows) / 60_000
    where = f" in {recordings} recording{'s' if recordings > 1 else ''}" if recordings < len(run.rows) else ""
    parts = [part for part in (Path(run.model).name, run.policy if run.info else "") if part]
    settings = ", ".join(f"{k}={v}" for k, v in run.parameters.items() if not k.startswith("history."))
    return " · ".join(
        [*parts, *([settings] if settings else []), f"{len(run.rows)} segments{where}, {minutes:.1f} min"]
    )


def _cards(run: Run, latency: str, bounds: dict[str, Interval]) -> list[dict[str, object]]:
    latencies = {
        latency: f"{latency}, ideal clock",
        f"{latency}_CA_backlog": f"{latency}, with computation and queueing",
    }
    cards = []
    for name, title in (_headings(run, "quality") | latencies | _headings(run, "latency", "run")).items():
        if name in run.scores:
            bound = bounds.get(name)
            cards.append(
                {
                    "name": name,
                    "title": title,
                    "value": run.scores[name],
                    "low": bound.low if bound else None,
                    "high": bound.high if bound else None,
                    "signature": run.signatures.get(name, ""),
                }
            )
    return cards


def _headings(run: Run, *kinds: Kind) -> dict[str, str]:
    """Scores that have a card, under the ideal clock."""
    shown = {name: run.display(name) for name in run.scores if not name.endswith(CLOCKS[1:])}
    return {name: display.shown.card for name, display in shown.items() if display.kind in kinds and display.shown.card}


def _notes(run: Run) -> list[str]:
    empty = sum(not row.units for row in run.rows)
    return [f"{empty} of {len(run.rows)} segments have no output; they count in BLEU and chrF only."] if empty else []


def _score_table(run: Run) -> list[list[object]]:
    return [
        [name, [run.scores.get(name + clock) for clock in CLOCKS], run.signatures.get(name, "")]
        for name in run.scores
        if not name.endswith(CLOCKS[1:])
    ]


def _histogram(run: Run, latency: str) -> dict[str, object] | None:
    if not latency:
        return None
    scale = 0.001 if run.display(latency).unit == "ms" else 1.0
    series = []
    for name, title in ((latency, "ideal clock"), (f"{latency}_CA_backlog", "with computation and queueing")):
        values = [scale * value for row in run.rows if (value := row.scores.get(name)) is not None]
        if values:
            series.append({"name": title, "values": values})
    if not series:
        return None
    label = f"{latency} (s)" if scale != 1.0 else latency
    return {"series": series, "xLabel": label, "yLabel": "segments", "name": f"Distribution of {latency}"}


def _talks(run: Run, sample: Sample, latency: str) -> dict[str, object] | None:
    """One row per recording; None when every segment is a recording of its own."""
    wavs = list(dict.fromkeys(row.wav for row in run.rows))
    if len(wavs) == len(run.rows):
        return None
    weights = np.array([[row.wav == wav for row in run.rows] for wav in wavs], dtype=np.int64)
    scores = sample.resampled(weights)
    chosen = [name for name in run.scores if run.display(name).shown.recordings]
    metrics = [m for m in dict.fromkeys((*chosen, latency, f"{latency}_CA_backlog")) if m in scores]
    rows = []
    for number, wav in enumerate(wavs):
        segments = [row for row in run.rows if row.wav == wav]
        values = {m: float(scores[m][number]) for m in metrics}
        rows.append(
            {
                "wav": wav,
                "segments": len(segments),
                "empty": sum(not row.units for row in segments),
                "minutes": sum(row.source_length_ms or 0.0 for row in segments) / 60_000,
                "scores": {m: value if np.isfinite(value) else None for m, value in values.items()},
            }
        )
    return {"metrics": metrics, "rows": rows}


def _segments(run: Run, latency: str, folder: Path) -> list[dict[str, object]]:
    """The worst by quality and the worst by latency; pages that explain them go to `folder`."""
    rows = [row for row in run.rows if row.reference.strip()]
    quality = sorted(rows, key=lambda row: row.scores.get("chrF2") or 0.0)[:SHOWN_SEGMENTS]
    late = sorted(rows, key=lambda row: -(row.scores.get(latency) or float("-inf")))[:SHOWN_SEGMENTS]
    chosen = {row.index: row for row in (*quality, *late)}
    explained = explain_rows(run, list(chosen.values()), folder)
    return [{**_segment(row, latency), "explained": explained.get(row.index, "")} for row in chosen.values()]


def _segment(row: SegmentRow, latency: str) -> dict[str, object]:
    return {
        "wav": Path(row.wav).name,
        "number": row.index + 1,
        "offset": None if row.offset_ms is None else row.offset_ms / 1000.0,
        "duration": (row.source_length_ms or 0.0) / 1000.0,
        "quality": row.scores.get("chrF2"),
        "latency": row.scores.get(latency),
        "source": row.source,
        "reference": row.reference,
        "prediction": row.prediction,
        "events": _events(row),
    }


def _events(row: SegmentRow) -> list[dict[str, object]]:
    """Words that appeared together, seconds from the segment's start."""
    offset = row.offset_ms or 0.0
    if len(row.emitted_ms) != len(row.units):
        return []
    late = row.elapsed_ms if len(row.elapsed_ms) == len(row.units) else (None,) * len(row.units)
    spaced = " ".join(row.units) == row.prediction
    events = []
    for (time, finished), group in groupby(zip(row.emitted_ms, late, row.units, strict=True), key=lambda e: e[:2]):
        text = (" " if spaced else "").join(unit for _, _, unit in group)
        events.append(
            {
                "time": (time - offset) / 1000.0,
                "late": None if finished is None else (finished - offset) / 1000.0,
                "text": text,
            }
        )
    return events


def _facts(run: Run) -> list[list[str]]:
    facts = [["folder", str(run.folder)]]
    for key, value in run.info.items():
        if isinstance(value, dict):
            facts += [[f"{key}.{inner}", str(text)] for inner, text in value.items()]
        else:
            facts.append([key, " ".join(map(str, value)) if isinstance(value, list) else str(value)])
    return facts
