"""Score files of a run: scores.json (flat), scores.tsv (with signatures), segments.tsv (times and both texts)."""

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from simulst.errors import DataError
from simulst.eval.logs.instances import parse_json, read_text
from simulst.eval.segment.align import ScoredSegment
from simulst.outputs import write_texts

_TEXT_COLUMNS = ("prediction", "reference", "source")
_ESCAPES = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}


@dataclass(frozen=True, kw_only=True)
class SegmentRow:
    """One line of segments.tsv."""

    index: int
    wav: str
    offset_ms: float | None
    source_length_ms: float | None
    prediction: str
    reference: str
    source: str
    emitted_ms: tuple[float, ...]
    """Ideal emission time of each unit in the recording."""
    elapsed_ms: tuple[float, ...]
    """Emission times with computation (backlog-aware clock), empty when unknown."""
    units: tuple[str, ...]
    scores: dict[str, float | None]


def write_score_files(folder: Path, scores: Mapping[str, float], signatures: Mapping[str, str], segments: str) -> None:
    """The three of them, or none; `segments` is a `segment_table`."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(dict(scores), indent=1, ensure_ascii=False, allow_nan=False)
    rows = [f"{name}\t{value:.6f}\t{signatures.get(name, '')}" for name, value in scores.items()]
    write_texts(
        {
            folder / "scores.json": text + "\n",
            folder / "scores.tsv": "\n".join(["metric\tvalue\tsignature", *rows]) + "\n",
            folder / "segments.tsv": segments,
        }
    )


def segment_table(segments: Sequence[ScoredSegment], rows: Sequence[Mapping[str, float | None]]) -> str:
    """One line per segment with its scores; times are space-separated milliseconds, tabs and line ends are escaped."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    head = ["index", "wav", "offset_ms", "source_length_ms", *names, "emitted_ms", "elapsed_ms", "units"]
    lines = ["\t".join([*head, *_TEXT_COLUMNS])]
    for segment, row in zip(segments, rows, strict=True):
        late = segment.times.get("_CA_backlog", ())
        offset = segment.offset_ms or 0.0
        cells = [
            str(segment.index),
            escape(segment.wav),
            _cell(segment.offset_ms),
            _cell(segment.source_length_ms),
            *(_cell(row.get(name)) for name in names),
            " ".join(f"{time:.1f}" for time in segment.emitted_ms),
            " ".join(f"{time + offset:.1f}" for time in late),
            escape(json.dumps(list(segment.units), ensure_ascii=False)),
            escape(segment.prediction),
            escape(segment.reference),
            escape(segment.source),
        ]
        lines.append("\t".join(cells))
    return "\n".join(lines) + "\n"


def read_segments(path: str | os.PathLike[str]) -> list[SegmentRow]:
    """Read segments.tsv back; DataError when it is not such a table."""
    name = Path(path).name
    lines = read_text(path).removesuffix("\n").split("\n")
    head = lines[0].split("\t")
    fixed = {"index", "wav", "offset_ms", "source_length_ms", "emitted_ms", "elapsed_ms", "units", *_TEXT_COLUMNS}
    if not fixed <= set(head):
        raise DataError(
            f"{name} is not a segment table of simulst; score the run again with `simulst score --output DIR`."
        )
    rows = []
    for number, line in enumerate(lines[1:], 2):
        cells = line.split("\t")
        if len(cells) != len(head):
            raise DataError(f"{name}, line {number}: {len(cells)} cells instead of {len(head)}; score the run again.")
        try:
            rows.append(_row(dict(zip(head, cells, strict=True)), fixed))
        except ValueError:
            raise DataError(f"{name}, line {number}: a value cannot be read; score the run again.") from None
    return rows


def read_scores(folder: str | os.PathLike[str]) -> tuple[dict[str, float], dict[str, str]]:
    """Scores and signatures of a run folder."""
    path = Path(folder) / "scores.tsv"
    scores, signatures = {}, {}
    for number, line in enumerate(read_text(path).removesuffix("\n").split("\n")[1:], 2):
        try:
            name, value, signature = line.split("\t")
            scores[name], signatures[name] = _finite(value), signature
        except ValueError:
            raise DataError(f"{path}, line {number}: expected metric, value, signature; score the run again.") from None
    return scores, signatures


def escape(text: str) -> str:
    return "".join(_ESCAPES.get(character, character) for character in text)


def unescape(text: str) -> str:
    parts = text.split("\\\\")
    for escaped, plain in (("\\t", "\t"), ("\\n", "\n"), ("\\r", "\r")):
        parts = [part.replace(escaped, plain) for part in parts]
    return "\\".join(parts)


def _row(cells: dict[str, str], fixed: set[str]) -> SegmentRow:
    return SegmentRow(
        index=int(cells["index"]),
        wav=unescape(cells["wav"]),
        offset_ms=_value(cells["offset_ms"]),
        source_length_ms=_value(cells["source_length_ms"]),
        prediction=unescape(cells["prediction"]),
        reference=unescape(cells["reference"]),
        source=unescape(cells["source"]),
        emitted_ms=tuple(map(_finite, cells["emitted_ms"].split())),
        elapsed_ms=tuple(map(_finite, cells["elapsed_ms"].split())),
        units=_units(cells["units"]),
        scores={name: _value(cell) for name, cell in cells.items() if name not in fixed},
    )


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _value(cell: str) -> float | None:
    return _finite(cell) if cell else None


def _finite(cell: str) -> float:
    value = float(cell)
    if not math.isfinite(value):
        raise ValueError(cell)
    return value


def _units(cell: str) -> tuple[str, ...]:
    units = parse_json(unescape(cell))
    if not isinstance(units, list) or not all(isinstance(unit, str) for unit in units):
        raise ValueError(cell)
    return tuple(units)
