"""`simulst report OUT`: one self-contained page about an evaluation."""

from pathlib import Path
from typing import Annotated

import typer


def report(
    run: Annotated[Path, typer.Argument(help="Folder of a finished evaluation.", metavar="OUT")],
    others: Annotated[
        list[Path] | None, typer.Argument(help="Further evaluations to show on the curve.", metavar="OUT...")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Page (default: report.html in OUT).", metavar="FILE")
    ] = None,
    latency: Annotated[str, typer.Option(help="Latency metric to lead with.", metavar="NAME")] = "",
) -> None:
    """Write scores with signatures, the curve, every recording, and the worst segments word by word as HTML."""
    from simulst.eval.report.pages import write_report
    from simulst.eval.score.runs import load_run, run_files
    from simulst.outputs import refuse_inputs

    path = output or run / "report.html"
    refuse_inputs([path], [file for folder in (run, *(others or [])) for file in run_files(folder)])
    write_report(load_run(run), path, others=[load_run(other) for other in others or []], latency=latency)
    print(path)
