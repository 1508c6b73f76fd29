"""`simulst compare OLD NEW`: what changed from one evaluation to another."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from simulst.cli import options

if TYPE_CHECKING:
    from simulst.eval.score.differences import Change, Differences, SegmentChange

GOT_WORSE = 3
"""Exit status where quality fell or latency rose by more than chance explains."""


def compare(
    old: Annotated[Path, typer.Argument(help="Folder of an evaluation.", metavar="OLD")],
    new: Annotated[Path, typer.Argument(help="Folder of another over the same test set.", metavar="NEW")],
    by: Annotated[
        Literal["words", "quality", "latency"], typer.Option(help="What the segments are sorted by.")
    ] = "words",
    show: Annotated[int, typer.Option(min=0, help="How many segments to print.", metavar="N")] = 5,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Table of all segments that differ.", metavar="FILE.tsv")
    ] = None,
    latency: Annotated[str, typer.Option(help="Latency metric (default: what both runs have).", metavar="NAME")] = "",
    resamples: Annotated[int, typer.Option(help="Bootstrap resamplings.", min=1, max=100_000, metavar="N")] = 1000,
    guard: Annotated[
        bool, typer.Option("--guard", help="Exit with 3 if quality fell or latency rose significantly.")
    ] = False,
    json_: options.Json = False,
) -> None:
    """Print the scores of both runs with a paired test, and the segments that differ most, word by word."""
    from simulst.eval.score.differences import differences
    from simulst.eval.score.runs import load_run, run_files
    from simulst.outputs import refuse_inputs, write_text

    if output is not None:
        refuse_inputs([output], [*run_files(old), *run_files(new)])
    found = differences(load_run(old), load_run(new), latency=latency, resamples=resamples)
    segments = found.by(by)
    if output is not None:
        write_text(output, _table(segments))
    if json_:
        print(_document(found, segments[:show]))
    else:
        print("\n".join([*change_lines(found.changes), "", *_segment_lines(found, segments, show)]))
    if guard and found.worse():
        raise typer.Exit(GOT_WORSE)


def change_lines(changes: "Sequence[Change]") -> list[str]:
    """A table of scores; times in ms."""
    width = max((len(change.metric) for change in changes), default=0)
    head = f"{'':<{width}}  {'old':>9}  {'new':>9}  {'new - old [95 %]':>28}  {'p':>6}"
    return [head, *(_change_line(change, width) for change in changes)]


def _change_line(change: "Change", width: int) -> str:
    test = change.test
    digits = 0 if change.unit == "ms" else 2
    span = f"{test.difference:+.{digits}f} [{test.interval.low:+.{digits}f}, {test.interval.high:+.{digits}f}]"
    values = f"{change.old:>9.{digits}f}  {change.new:>9.{digits}f}"
    return f"{change.metric:<{width}}  {values}  {span:>28}  {test.p_value:>6.3f}  {change.verdict}"


def _segment_lines(found: "Differences", segments: "Sequence[SegmentChange]", show: int) -> list[str]:
    lines = [f"{len(segments)} of {len(found.segments)} segments differ."]
    for segment in segments[:show]:
        lines += ["", _heading(segment), f"  {segment.marked}"]
    return lines


def _heading(segment: "SegmentChange") -> str:
    where = "" if segment.offset_s is None else f" at {segment.offset_s:.1f} s"
    parts = [f"{segment.words} word{'s' if segment.words != 1 else ''}"]
    parts += [] if segment.quality is None else [f"chrF2 {segment.quality:+.1f}"]
    parts += [] if segment.latency is None else [f"latency {segment.latency:+.0f} ms"]
    return f"segment {segment.index + 1}, {Path(segment.wav).name}{where}: {', '.join(parts)}"


def _table(segments: "Sequence[SegmentChange]") -> str:
    from simulst.eval.score.tables import escape

    rows = ["index\twav\toffset_s\twords\tchrF2\tlatency_ms\told\tnew"]
    for one in segments:
        numbers = ["" if value is None else f"{value:.3f}" for value in (one.quality, one.latency)]
        offset = "" if one.offset_s is None else f"{one.offset_s:.3f}"
        texts = [escape(one.wav), offset, str(one.words), *numbers, escape(one.old), escape(one.new)]
        rows.append("\t".join([str(one.index), *texts]))
    return "\n".join(rows) + "\n"


def _document(found: "Differences", segments: "Sequence[SegmentChange]") -> str:
    scores = [{**asdict(change), "test": change.test._asdict(), "verdict": change.verdict} for change in found.changes]
    document = {
        "latency": found.latency,
        "scores": scores,
        "worse": [change.metric for change in found.worse()],
        "segments": [asdict(segment) for segment in segments],
    }
    return json.dumps(document, ensure_ascii=False, allow_nan=False)
