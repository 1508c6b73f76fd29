"""`simulst explain RUN ITEM`: why a policy waited and why it wrote, on a time line."""

from pathlib import Path
from typing import Annotated

import typer

from simulst.errors import DataError


def explain(
    place: Annotated[Path, typer.Argument(help="Folder of a run with --trace, or a trace.", metavar="RUN|TRACE.jsonl")],
    item: Annotated[int | None, typer.Argument(min=1, help="Item of the run, from 1.", metavar="ITEM")] = None,
    audio: Annotated[Path | None, typer.Option(help="The recording, if it is elsewhere now.", metavar="FILE")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Page (default: beside the trace).", metavar="FILE.html")
    ] = None,
) -> None:
    """Write a page about one recording: audio, source words, every decision and its reason, attention of the output."""
    from simulst.eval.report.explain import read_trace, segments_of, trace_of, write_explanation
    from simulst.outputs import refuse_inputs

    if place.is_dir() and item is None:
        raise DataError(f"{place} is a run: say which of its items, counted from 1.")
    if not place.is_dir() and item is not None:
        raise DataError(f"{place} is not a folder: an item can only be chosen from a run.")
    trace = trace_of(place, item) if item is not None else place
    stream = read_trace(trace)
    path = output or trace.with_suffix(".html")
    refuse_inputs([path], [trace, *([audio] if audio else [])])
    segments = segments_of(place, item, stream) if item is not None else ()
    write_explanation(stream, path, audio=audio, segments=segments)
    print(path)
