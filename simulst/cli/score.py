"""`simulst score LOG`: quality and latency of a run log under a published profile."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from simulst.bundled import bundled_path
from simulst.cli import options
from simulst.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from simulst.eval.score.scoring import ScoreReport
    from simulst.eval.score.significance import Interval


References = Annotated[
    Path | None,
    typer.Option(parser=bundled_path, help="One reference per line (default: those in the log).", metavar="FILE"),
]
Segmentation = Annotated[
    Path | None,
    typer.Option(parser=bundled_path, help="Segments of long recordings: MuST-C yaml or json.", metavar="FILE"),
]
Profile = Annotated[
    str,
    typer.Option(
        help="simuleval, streamlaal-fbk, streamlaal-simulstream, omnisteval; auto: what fits the form.",
        metavar="NAME",
    ),
]
Sources = Annotated[Path | None, typer.Option(parser=bundled_path, help="Source sentences, for COMET.", metavar="FILE")]
Band = Annotated[bool, typer.Option("--band", help="Compute mWER only near the emission times; for streams of hours.")]


def score(
    log: Annotated[Path, typer.Argument(help="SimulEval, simulstream or OmniSTEval log.", metavar="LOG")],
    references: References = None,
    segmentation: Segmentation = None,
    unit: Annotated[str, typer.Option(help="Latency unit: word or char.", metavar="NAME")] = "word",
    lang: Annotated[str, typer.Option(help="Target language; chooses the BLEU tokenizer.", metavar="XX")] = "",
    profile: Profile = "auto",
    log_config: Annotated[Path | None, typer.Option(help="simulstream's evaluation yaml.", metavar="FILE")] = None,
    sources: Sources = None,
    tokenizer: Annotated[str, typer.Option(help="sacrebleu tokenizer instead of the language's.", metavar="N")] = "",
    moses: Annotated[bool, typer.Option("--moses", help="omnisteval: align Moses tokens (its --lang).")] = False,
    band: Band = False,
    raw_elapsed: Annotated[
        bool, typer.Option("--raw-elapsed", help="Use elapsed times as they are, even where they are cumulative.")
    ] = False,
    from_first_segment: Annotated[
        bool, typer.Option("--from-first-segment", help="Log times start at each recording's first segment.")
    ] = False,
    comet: Annotated[str, typer.Option(help="COMET model, e.g. Unbabel/wmt22-comet-da.", metavar="NAME")] = "",
    metric: options.Metric = None,
    terms: options.Terms = None,
    bootstrap: Annotated[int, typer.Option(help="Resamplings for 95 % intervals; 0: none.", metavar="N")] = 0,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for scores and segments.tsv.", metavar="DIR")
    ] = None,
    json_: options.Json = False,
) -> None:
    """Score LOG. Every score is printed with a signature that says what it depends on (docs/metrics.md)."""
    from simulst.eval.logs.units import read_unit
    from simulst.eval.score.inputs import report_log

    _refuse_output(output, log, (references, segmentation, log_config, sources, terms))
    report = report_log(
        log,
        references,
        segmentation,
        log_config=log_config,
        sources=sources,
        unit=read_unit(unit),
        lang=lang,
        profile=profile,
        tokenizer=tokenizer,
        moses=moses,
        band=band,
        raw_elapsed=raw_elapsed,
        from_first_segment=from_first_segment,
        comet=comet,
        metrics=metric or [],
        terms=str(terms or ""),
    )
    bounds = _bounds(report, bootstrap)
    if output is not None:
        report.write(output)
    _show(report, bounds, json_=json_)


def _show(report: "ScoreReport", bounds: "dict[str, Interval]", *, json_: bool) -> None:
    if json_:
        document: dict[str, object] = dict(report.scores) | {"signatures": report.signatures, "notes": report.notes}
        if bounds:
            document["intervals"] = {name: list(bound) for name, bound in bounds.items()}
        print(json.dumps(document, ensure_ascii=False))
        return
    _print_table(report, bounds)
    for note in report.notes:
        print(f"note: {note}", file=sys.stderr)


def _refuse_output(folder: Path | None, log: Path, inputs: "Sequence[Path | None]") -> None:
    """DataError where scores would take the place of an input, or of those of a run with another log."""
    from simulst.outputs import refuse_inputs

    if folder is None:
        return
    refuse_inputs([folder / name for name in ("scores.json", "scores.tsv", "segments.tsv")], (log, *inputs))
    own = folder / "instances.log"
    if (folder / "run.json").is_file() and own.is_file() and log.is_file() and not own.samefile(log):
        raise DataError(f"{folder} holds the run of another log, whose scores would be lost; choose another --output.")


def _bounds(report: "ScoreReport", resamples: int) -> "dict[str, Interval]":
    if resamples <= 0:
        return {}
    from simulst.eval.score.significance import intervals, resampling_weights

    return intervals(report.sample(), resampling_weights(len(report.segments), resamples))


def _print_table(report: "ScoreReport", bounds: "dict[str, Interval]") -> None:
    """One line per metric: ideal, computation-aware and backlog-aware value, then the signature."""
    from simulst.eval.segment.align import CLOCKS

    print(f"{'':<14}" + "".join(f"{title:>12}" for title in ("ideal", "CA", "CA backlog")))
    for name in report.scores:
        if name.endswith(CLOCKS[1:]):
            continue
        columns = [report.scores.get(name + clock) for clock in CLOCKS]
        cells = "".join(f"{'' if value is None else format(value, '.3f'):>12}" for value in columns)
        signature = report.signatures.get(name, "")
        unit = f" {report.metrics[name].unit}"
        clocks = [_clock(report.signatures[name + c]) for c in CLOCKS if c and name + c in report.signatures]
        signature = signature.replace("clock:ideal", "clock:" + ",".join(["ideal", *clocks]))
        print(f"{name:<14}{cells}{unit:<6}  {signature}")
        if name in bounds:
            print(f"{'  95 %':<14}" + "".join(_spread(bounds.get(name + clock)) for clock in CLOCKS).rstrip())


def _clock(signature: str) -> str:
    return signature.partition("clock:")[2].partition("|")[0]


def _spread(bound: "Interval | None") -> str:
    return f"{'' if bound is None else f'± {(bound.high - bound.low) / 2:.3f}':>12}"
