"""`simulst bench NAME`: each benchmark is a module of `simulst.bench`, imported when it is called."""

import signal

import typer

from simulst.cli import LazyGroup

BENCHMARKS: dict[str, tuple[str, str]] = {
    "stream": ("simulst.bench.stream:stream", "Cost per chunk and memory along one long stream."),
    "soak": (
        "simulst.bench.soak:soak",
        "Hours through one session or through the server: nothing may grow or get lost.",
    ),
    "targets": ("simulst.bench.targets:targets", "One stream in several targets, compared with one target."),
    "score": ("simulst.bench.score:score", "Resegmentation and scoring, compared with the reference tools."),
    "evaluate": ("simulst.bench.evaluate:evaluate", "The evaluation harness, compared with SimulEval."),
    "gpu": ("simulst.bench.gpu:gpu", "A GPU: cost of tokens and chunks in batches, streams that it carries."),
    "live": ("simulst.bench.live:live", "Round trip and lag of the live server under clients."),
}


class Benchmarks(LazyGroup):
    commands_by_name = BENCHMARKS


bench = typer.Typer(
    cls=Benchmarks,
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Benchmarks that print ratios measured side by side in one run; one JSON object with --json.",
)


@bench.callback()
def _group() -> None:
    """SIGTERM ends a benchmark as Ctrl-C does: what it has is printed, and the servers that it started end with it. So
    does SIGINT in the background, where a shell has it ignored."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
