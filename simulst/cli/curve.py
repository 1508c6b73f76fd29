"""`simulst curve OUT...`: quality against latency of several evaluations."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from simulst.cli import options
from simulst.errors import DataError

if TYPE_CHECKING:
    from simulst.eval.report.curve import Curve


def curve(
    runs: Annotated[list[Path], typer.Argument(help="Folders of finished evaluations.", metavar="OUT...")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Picture, page or table: .svg, .png, .html, .md.", metavar="FILE"),
    ] = None,
    latency: Annotated[str, typer.Option(help="Latency metric (default: what all runs have).", metavar="NAME")] = "",
    quality: Annotated[str, typer.Option(help="BLEU, chrF2 or chrF2++.", metavar="NAME")] = "BLEU",
    baseline: Annotated[
        Path | None, typer.Option(help="Test every run against this one (paired bootstrap).", metavar="OUT")
    ] = None,
    resamples: Annotated[int, typer.Option(help="Bootstrap resamplings.", min=1, max=100_000, metavar="N")] = 1000,
    json_: options.Json = False,
) -> None:
    """Draw a line per policy with 95 % bootstrap intervals, and test systems against each other."""
    if output is None and not json_ and baseline is None:
        raise DataError("Say where the curve goes: --output FILE.svg, .png, .html or .md, or print it with --json.")
    if output is not None and output.suffix not in (".svg", ".png", ".html", ".md"):
        raise DataError(f"--output must end in .svg, .png, .html or .md, but is {output}.")
    from simulst.eval.report.curve import build_curve, write_curve_page
    from simulst.eval.score.runs import load_run, run_files
    from simulst.outputs import refuse_inputs

    if output is not None:
        refuse_inputs(
            [output], [file for folder in (*runs, *([baseline] if baseline else [])) for file in run_files(folder)]
        )
    built = build_curve(
        [load_run(folder) for folder in runs],
        latency=latency,
        quality=quality,
        baseline=load_run(baseline) if baseline else None,
        resamples=resamples,
    )
    if output is not None and output.suffix == ".html":
        write_curve_page(built, output)
    elif output is not None and output.suffix == ".md":
        from simulst.eval.report.curve_table import write_curve_table

        write_curve_table(built, output)
    elif output is not None:
        from simulst.eval.report.curve_figure import write_curve_figure

        write_curve_figure(built, output)
    if json_:
        print(json.dumps(_document(built), ensure_ascii=False))
    else:
        _print(built)


def _document(built: "Curve") -> dict[str, object]:
    points = [
        {
            "run": str(point.run.folder),
            "series": point.series,
            "label": point.label,
            **{metric: list(point.axis(metric)) for metric in (built.quality, built.latency)},
        }
        for point in built.points
    ]
    comparisons = {
        folder: {m: [c.difference, *c.interval, c.p_value] for m, c in found.items()}
        for folder, found in built.comparisons.items()
    }
    return {"latency": built.latency, "quality": built.quality, "points": points, "comparisons": comparisons}


def _print(built: "Curve") -> None:
    for name, points in built.series().items():
        for point in points:
            q, q_low, q_high = point.axis(built.quality)
            t, t_low, t_high = point.axis(built.latency)
            print(
                f"{name} {point.label or '':<12} {built.quality} {q:.2f} [{q_low:.2f}, {q_high:.2f}]  "
                f"{built.latency} {t:.1f} [{t_low:.1f}, {t_high:.1f}]  {point.run.folder}"
            )
    for folder, found in built.comparisons.items():
        for metric in (built.quality, built.latency):
            if metric in found:
                c = found[metric]
                print(
                    f"{folder} against {built.baseline.folder if built.baseline else ''}: {metric} "
                    f"{c.difference:+.2f} [{c.interval.low:+.2f}, {c.interval.high:+.2f}] p={c.p_value:.4f}"
                )
