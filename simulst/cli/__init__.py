"""The command `simulst`: every subcommand is a module of its own, imported only when it is called."""

import importlib.util
import os
import pkgutil
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

import typer
from typer.core import TyperCommand, TyperGroup

if TYPE_CHECKING:
    from typer._click.core import Command, Context

COMMANDS: dict[str, tuple[str, str]] = {
    "translate": ("simulst.cli.translate:translate", "Translate a file, URL, standard input or microphone."),
    "live": ("simulst.cli.live:live", "Serve live subtitles to a browser, or show them in the terminal."),
    "serve-simulstream": (
        "simulst.cli.serve_simulstream:serve_simulstream",
        "Answer simulstream's harness with any model and policy.",
    ),
    "demo": ("simulst.cli.demo:demo", "Translate the bundled talk with two policies and score them."),
    "policies": ("simulst.cli.policies:policies", "List the policies, their parameters and what they need."),
    "models": ("simulst.cli.models:models", "List the models, their options and what they provide."),
    "evaluate": ("simulst.cli.evaluate:evaluate", "Run a model and a policy over a test set; resumes by default."),
    "data": ("simulst.cli.data:data", "Check test sets, or turn them into SimulEval's lists."),
    "score": ("simulst.cli.score:score", "Quality and latency of a log."),
    "convert": ("simulst.cli.convert:convert", "Logs and test sets from one format to another."),
    "curve": ("simulst.cli.curve:curve", "Plot quality against latency of several evaluations."),
    "explain": ("simulst.cli.explain:explain", "Why a policy waited and why it wrote, on a time line."),
    "tune": ("simulst.cli.tune:tune", "Find the best policy and parameters under a limit of latency."),
    "compare": ("simulst.cli.compare:compare", "What changed from one evaluation to another."),
    "report": ("simulst.cli.report:report", "One page about one or more evaluations."),
    "submit": ("simulst.cli.submit:submit", "Pack evaluations as a submission to IWSLT's shared task."),
    "bench": ("simulst.cli.bench:bench", "Measure speed and memory, side by side."),
    "train": ("simulst.cli.train:train", "Train a model from a recipe; resumes by default."),
    "calibrate": ("simulst.cli.calibrate:calibrate", "Find the attention heads of a model that follow the source."),
}
"""Name -> (module:function or module:typer.Typer, summary); a command whose module is absent is not offered."""

LONGEST = 2_000
"""Limit of a printed sentence in characters; the middle of a longer one is left out."""


@runtime_checkable
class _Refusal(Protocol):
    """What typer raises for a command line that it does not take, a class of another package in older versions."""

    def format_message(self) -> str: ...


class LazyGroup(TyperGroup):
    """Lists commands from a dict without importing them; imports the one that is called."""

    commands_by_name: ClassVar[dict[str, tuple[str, str]]] = COMMANDS

    def list_commands(self, ctx: "Context") -> list[str]:
        return [name for name, (target, _) in self.commands_by_name.items() if _exists(target)]

    def get_command(self, ctx: "Context", cmd_name: str) -> "Command | None":
        target, summary = self.commands_by_name.get(cmd_name, ("", ""))
        return _stub(cmd_name, summary) if target and _exists(target) else None

    def resolve_command(self, ctx: "Context", args: list[str]) -> "tuple[str | None, Command | None, list[str]]":
        name, stub, rest = super().resolve_command(ctx, args)
        if stub is None:
            return name, stub, rest
        found = pkgutil.resolve_name(self.commands_by_name[args[0]][0])
        command = _built(found)
        command.name = args[0]
        return name, command, rest


@cache
def _stub(name: str, summary: str) -> "Command":
    stub = _command(typer.Typer(add_completion=False), lambda: None)
    stub.name, stub.help = name, summary
    return stub


@cache
def _built(found: typer.Typer | Callable[..., None]) -> "Command":
    """Once a process: what typer makes of the annotations takes longer than many a command."""
    return typer.main.get_command(found) if isinstance(found, typer.Typer) else _command(_app(), found)


def _exists(target: str) -> bool:
    return importlib.util.find_spec(target.partition(":")[0]) is not None


def _app() -> typer.Typer:
    return typer.Typer(
        add_completion=False, rich_markup_mode=None, context_settings={"help_option_names": ["-h", "--help"]}
    )


class OneOutput(TyperCommand):
    """A command that refuses a second --output, which would silently take the place of the first."""

    def parse_args(self, ctx: "Context", args: list[str]) -> list[str]:
        outputs = self.make_parser(ctx).parse_args(list(args))[2]
        if sum(parameter.name == "output" for parameter in outputs) > 1:
            raise typer.BadParameter("give --output once; a command writes one", ctx)
        return super().parse_args(ctx, args)


def _command(app: typer.Typer, function: Callable[..., None]) -> "Command":
    app.command(cls=OneOutput)(function)
    return typer.main.get_command(app)


app = typer.Typer(
    cls=LazyGroup,
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Simultaneous speech translation: listen, decide when to speak, translate.",
)


@app.callback(invoke_without_command=True)
def _root(ctx: typer.Context, version: bool = typer.Option(False, "--version", help="Print the version.")) -> None:
    if version:
        from simulst import __version__

        print(f"simulst {__version__}")
    elif ctx.invoked_subcommand is None:
        print(ctx.get_help())


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line; exits 0, 2 with one sentence on stderr for what the user can fix, 130 for Ctrl-C.

    A command may add a status of its own, as `evaluate` does for items that failed.
    """
    status = run(args)
    if any(thread.daemon and thread.is_alive() for thread in threading.enumerate()):
        _leave(status)
    sys.exit(status)


def _leave(status: int) -> None:
    """End without taking the interpreter down under a thread that still computes.

    Such a thread is ended where it comes back from a model for the interpreter's lock, in the middle of C++ frames that
    may not be left so: the process would die of `terminate called without an active exception`.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


def run(args: Sequence[str] | None = None) -> int:
    """`main`, but returning the exit status."""
    from simulst.cli.streams import repair_streams

    repair_streams()
    _quiet()
    return answered(lambda: _built(app).main(args=args, prog_name="simulst", standalone_mode=False))


def answered(work: Callable[[], object]) -> int:
    """Do some work; the exit status: 2 after one sentence on stderr for what the user can fix, 130 for Ctrl-C.

    For scripts that stand beside the command line too: `sys.exit(answered(main))`.
    """
    from simulst.cli.streams import flush_output
    from simulst.errors import SimulstError

    try:
        code = work()
        flush_output()
    except SimulstError as error:
        return _complain(str(error))
    except OSError as error:
        with suppress(OSError):
            flush_output()  # which would fail again when the interpreter ends
        return 1 if isinstance(error, BrokenPipeError) else _complain(_what_failed(error))
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        if not isinstance(error, _Refusal):
            raise
        return _complain(f"{error.format_message().rstrip('.')}; `simulst --help` lists what there is.")
    return code if isinstance(code, int) else 0


def _complain(sentence: str) -> int:
    print(f"simulst: {one_line(sentence)}", file=sys.stderr)
    return 2


def one_line(sentence: str) -> str:
    """The sentence as it is safe to show: names and values in it may hold anything, of any length."""
    if len(sentence) > LONGEST:
        sentence = f"{sentence[: LONGEST // 2]} ... {sentence[-LONGEST // 2 :]}"
    end = "" if sentence.endswith((".", "?", "!")) else "."
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in sentence + end)


def _what_failed(error: OSError) -> str:
    """The sentence for an error of the system that no command expected."""
    from simulst.outputs import reason

    where = os.fsencode(error.filename).decode("utf-8", "replace") if isinstance(error.filename, str | bytes) else ""
    return f"{where or 'A file or standard output'} cannot be written or read: {reason(error)}."


def _quiet() -> None:
    """Keep libraries from filling stderr, which is for the one sentence."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if not sys.stderr.isatty():
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
