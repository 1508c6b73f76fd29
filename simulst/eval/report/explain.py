"""The page of one recording: audio, what was heard, every decision and its reason, where written words attended to."""

import base64
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import groupby
from pathlib import Path

import numpy as np

from simulst.audio.files import open_file, read_audio
from simulst.audio.samples import SAMPLE_RATE, FloatArray
from simulst.errors import AudioError, DataError
from simulst.eval.logs.instances import read_json_lines
from simulst.eval.report.page import render
from simulst.eval.run.folder import EXPLAINED, TRACES
from simulst.eval.score.differences import changed_words
from simulst.eval.score.runs import Run, load_run
from simulst.eval.score.tables import SegmentRow
from simulst.outputs import write_text

PEAK_S = 0.02
"""Stretch of audio behind one line of the waveform."""
MAX_SOUND_S = 4 * 3600


@dataclass(frozen=True, kw_only=True, eq=False)
class TracedStream:
    """One stream as its trace tells it."""

    head: dict[str, object]
    decisions: list[dict[str, object]]
    cut_s: float | None = None
    """Where the trace was cut off because it had grown too long."""

    @property
    def end_s(self) -> float:
        return max((_number(one, "at_s") for one in self.decisions), default=0.0)


def read_trace(path: Path) -> TracedStream:
    """A trace that `--trace` has written; DataError, with what to do, for a file that is not one."""
    records, _ = read_json_lines(path)
    lines = [record for record, _ in records]
    if not lines or lines[0].get("type") != "stream":
        raise DataError(
            f"{path} is not a trace; `simulst translate --trace` and `simulst evaluate --trace` write them."
        )
    decisions = [line for line in lines[1:] if line.get("type") == "decision"]
    if not decisions:
        raise DataError(f"{path} holds no decision; the stream was broken off before the first one.")
    cut = next((_number(line, "at_s") for line in lines if line.get("type") == "cut"), None)
    return TracedStream(head=lines[0], decisions=decisions, cut_s=cut)


def trace_of(folder: Path, item: int) -> Path:
    """The trace of an item of a run, counted from 1; DataError where it has none."""
    traces = folder / TRACES
    path = traces / f"{item - 1}.jsonl"
    if not traces.is_dir():
        raise DataError(f"{folder} has no traces; run `simulst evaluate` with --trace (and --fresh for what is done).")
    if not path.is_file():
        known = sorted(int(one.stem) + 1 for one in traces.glob("*.jsonl") if one.stem.isdecimal())
        raise DataError(f"{folder} has no trace of item {item}; it has {_ranges(known)}.")
    return path


def segments_of(folder: Path, item: int, stream: TracedStream) -> list[SegmentRow]:
    """What the run's scores say about an item: its own row, or the segments of a long recording."""
    if not (folder / "segments.tsv").is_file():
        return []
    run = load_run(folder)
    if _is_long(run):
        return [row for row in run.rows if row.wav == stream.head.get("name")]
    return [row for row in run.rows if row.index == item - 1]


def explain_rows(run: Run, rows: Sequence[SegmentRow], base: Path) -> dict[int, str]:
    """Pages for the recordings of some segments, in the folder `explained` of `base`, where the run has their traces.

    Returns where each segment stands, by its index: a page, relative to `base`, and seconds after #.
    """
    places, written = dict[int, str](), set[int]()
    streams = dict(_traces(run.folder / TRACES))
    by_name = {str(stream.head.get("name")): number for number, stream in streams.items()}
    for row in rows:
        item = by_name.get(row.wav) if _is_long(run) else row.index
        if item is None or item not in streams:
            continue
        page = Path(EXPLAINED) / f"{item + 1}.html"
        if item not in written:
            (base / page).parent.mkdir(exist_ok=True)
            segments = [one for one in run.rows if one.wav == row.wav] if _is_long(run) else [row]
            write_explanation(streams[item], base / page, segments=segments)
            written.add(item)
        places[row.index] = f"{page.as_posix()}#{(row.offset_ms or 0.0) / 1000:.1f}"
    return places


def _is_long(run: Run) -> bool:
    """Whether segments are stretches of the items, rather than the items themselves."""
    return any(row.offset_ms is not None for row in run.rows)


def _traces(folder: Path) -> Iterator[tuple[int, TracedStream]]:
    for path in folder.glob("*.jsonl"):
        if path.stem.isdecimal():
            yield int(path.stem), read_trace(path)


def write_explanation(
    stream: TracedStream, path: Path, *, audio: Path | None = None, segments: Sequence[SegmentRow] = ()
) -> None:
    """Write the page; without the recording it has no waveform, and says so."""
    samples, note = _sound(stream, audio)
    notes = [note] if note else []
    if stream.cut_s is not None:
        notes.append(f"The trace was cut off at {stream.cut_s:.0f} s: it had grown too long.")
    if not any("rows" in one for one in stream.decisions):
        notes.append("The model gave no attention over the audio under this policy, so there is no heat map.")
    name, policy = str(stream.head.get("name") or path.stem), str(stream.head.get("policy", ""))
    data = {
        "title": Path(name).name,
        "subtitle": f"{stream.head.get('model', '')} · {policy} · {stream.head.get('chunk_ms', '')} ms per decision",
        "notes": notes,
        "end_s": max(stream.end_s, len(samples) / SAMPLE_RATE),
        "peak_s": PEAK_S,
        "peaks": base64.b64encode(peaks(samples).tobytes()).decode(),
        "decisions": _with_news(stream.decisions),
        "segments": [_segment(row) for row in segments],
    }
    write_text(
        path, render("explain.html", title=f"{name}: simulst explain", data=data, scripts=("chart.js", "explain.js"))
    )


def peaks(samples: FloatArray) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    """Largest magnitude of every PEAK_S of 16 kHz samples, 0..255 of the loudest."""
    size = round(PEAK_S * SAMPLE_RATE)
    padded = np.pad(np.abs(samples), (0, -len(samples) % size)).reshape(-1, size)
    largest = padded.max(axis=1) if len(padded) else np.zeros(0, dtype=np.float32)
    scale = float(largest.max()) if len(largest) else 0.0
    return np.asarray(np.round(largest / scale * 255) if scale else np.zeros_like(largest), dtype=np.uint8)


def _sound(stream: TracedStream, given: Path | None) -> tuple[FloatArray, str]:
    """Samples of the stream and "", or none and why."""
    nothing = np.zeros(0, dtype=np.float32)
    path = given or Path(str(stream.head.get("audio") or ""))
    if not path.name or (given is None and not path.is_file()):
        return nothing, "The recording was not found where it was translated; name it with --audio."
    offset_s, duration_s = _number(stream.head, "offset_s"), _number(stream.head, "duration_s") or None
    try:
        if offset_s or duration_s:
            return read_audio(path, start_s=offset_s, duration_s=duration_s), ""
        return _whole(path), ""
    except AudioError as error:
        if given is not None:
            raise
        return nothing, f"No waveform: {error}"


def _whole(path: Path) -> FloatArray:
    blocks, seconds = [], 0.0
    with open_file(path) as source:
        for block in source:
            blocks.append(block)
            seconds += len(block) / SAMPLE_RATE
            if seconds > MAX_SOUND_S:
                break
    return np.concatenate(blocks) if blocks else np.zeros(0, dtype=np.float32)


def _with_news(decisions: Sequence[dict[str, object]]) -> list[dict[str, object]]:
    """The decisions, each with what the transcript says that it did not say before."""
    before, found = list[str](), list[dict[str, object]]()
    for one in decisions:
        words = str(one["source"]).split() if "source" in one else before
        blocks = SequenceMatcher(None, before, words, autojunk=False).get_matching_blocks()
        known = max((block.b + block.size for block in blocks if block.size), default=0)
        rest = {key: value for key, value in one.items() if key != "source"}
        found.append({**rest, "news": " ".join(words[known:])})
        before = words
    return found


def _segment(row: SegmentRow) -> dict[str, object]:
    words, marked = changed_words(row.reference, row.prediction)
    return {
        "from_s": (row.offset_ms or 0.0) / 1000,
        "source": row.source,
        "reference": row.reference,
        "prediction": row.prediction,
        "words": words,
        "marked": marked,
    }


def _number(line: dict[str, object], key: str) -> float:
    value = line.get(key)
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else 0.0


def _ranges(numbers: Sequence[int]) -> str:
    """Such as `1 to 4, 7`."""
    groups = [[n for _, n in group] for _, group in groupby(enumerate(numbers), key=lambda one: one[1] - one[0])]
    return ", ".join(f"{group[0]} to {group[-1]}" if len(group) > 1 else str(group[0]) for group in groups) or "none"
