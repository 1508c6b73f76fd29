"""`simulst demo`: the bundled talk under two policies, its subtitles as they appear, and what each policy costs."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from simulst.bundled import talk
from simulst.cli import options
from simulst.errors import DataError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.status import Status
    from rich.table import Table

    from simulst.core.events import SinkEvent
    from simulst.core.translator import Translator
    from simulst.eval.logs.instances import Instance
    from simulst.sinks.subtitles import Cue

TALK = talk()
POLICIES = ("wait_k", "stream_att")


@dataclass(frozen=True, kw_only=True)
class Talk:
    """A recording with references; `segmentation` is a MuST-C yaml."""

    audio: Path
    segmentation: Path
    references: Path


@dataclass(frozen=True, kw_only=True)
class Row:
    """One policy in the table at the end."""

    policy: str
    rtf: float
    scores: dict[str, float]


def demo(
    model: options.UsualModel = "",
    policy: Annotated[
        list[str] | None, typer.Option("--policy", "-p", help="Policies to compare; repeatable.", metavar="NAME")
    ] = None,
    chunk_ms: options.ChunkMs = None,
    device: options.Device = "cpu",
    dtype: options.UsualDtype = None,
) -> None:
    """Translate the bundled English talk into German with each policy, then compare quality, latency and speed."""
    from rich.console import Console

    from simulst.chosen import usual_model
    from simulst.cli.threads import one_thread_per_stream
    from simulst.models import load_model

    talk, policies = _bundled(), policy or POLICIES
    console = Console(highlight=False)
    dtype = dtype or (None if model else options.DTYPE_FOR_PEOPLE)
    model = model or usual_model(policies)
    console.print(f"[bold]{talk.audio.name}[/], English to German, model [bold]{model}[/], on {device}")
    one_thread_per_stream()
    translator = load_model(model, device=device, dtype=dtype)
    rows = [_run(talk, translator, name, chunk_ms, console) for name in policies]
    console.print(_table(rows))
    console.print(
        "BLEU against the German reference; StreamLAAL in seconds behind the speaker, also with computing time (CA);\n"
        "RTF is computing time per second of speech: below 1 keeps up.",
        style="dim",
    )


def _bundled() -> Talk:
    talk = Talk(audio=TALK, segmentation=TALK.with_suffix(".yaml"), references=TALK.with_suffix(".de.txt"))
    for path in (talk.audio, talk.segmentation, talk.references):
        if not path.is_file():
            raise DataError(f"The bundled talk is incomplete: {path} is missing; install simulst again.")
    return talk


def _run(talk: Talk, model: "Translator", policy: str, chunk_ms: int | None, console: "Console") -> "Row":
    from simulst.audio import open_file
    from simulst.core.session import Session
    from simulst.eval.run.record import EvaluationLog, RevisedUnits
    from simulst.policies import load_policy
    from simulst.sinks.drive import drive_stream

    loaded = load_policy(policy) if chunk_ms is None else load_policy(policy, chunk_ms=chunk_ms)
    session = Session(model, loaded)
    log = EvaluationLog(RevisedUnits("word", begun=True))
    console.print(f"\n[bold]{policy}[/]  [dim]one decision per {loaded.chunk_ms} ms[/]")
    with open_file(talk.audio) as stream, console.status("") as status:
        printer = CuePrinter(console, status, stream.duration_s)
        drive_stream([(session, [printer, log])], stream)
    printer.close()
    scores = _score(talk, log.instance(0, str(talk.audio)))
    return Row(policy=policy, rtf=session.stats.compute_s / session.audio_s, scores=scores)


class CuePrinter:
    """A sink that prints every subtitle with its times once it is complete, and how far the talk has come."""

    def __init__(self, console: "Console", status: "Status", duration_s: float | None) -> None:
        from simulst.sinks.cues import FinishedCues

        self._console, self._status, self._duration_s = console, status, duration_s
        self._cues = FinishedCues()

    def handle(self, event: "SinkEvent") -> None:
        from simulst.core.events import ProgressEvent
        from simulst.sinks.clock import clock

        self._print(self._cues.take(event))
        if isinstance(event, ProgressEvent):
            self._status.update(f"{clock(event.audio_s)} of {clock(self._duration_s)}   lag {event.lag_s:.1f} s")

    def close(self) -> None:
        self._print(self._cues.rest())

    def _print(self, cues: "list[Cue]") -> None:
        from rich.text import Text

        for cue in cues:
            times = f"{cue.start_s:6.1f} - {cue.end_s:5.1f} s  "
            for number, line in enumerate(cue.lines):
                self._console.print(Text.assemble((times if number == 0 else " " * len(times), "cyan"), line))


def _score(talk: Talk, instance: "Instance") -> dict[str, float]:
    from simulst.eval.data.segmentation import read_references, read_segmentation
    from simulst.eval.score.inputs import score_instances

    segments = read_segmentation(talk.segmentation, read_references(talk.references))
    return score_instances([instance], segmentation=segments, lang="de")


def _table(rows: list[Row]) -> "Table":
    from rich.table import Table

    table = Table(title="\nThe same talk, the same model", title_justify="left", header_style="bold")
    table.add_column("policy")
    for title in ("BLEU", "StreamLAAL (s)", "StreamLAAL_CA (s)", "RTF"):
        table.add_column(title, justify="right")
    for row in rows:
        times = [row.scores.get(name) for name in ("StreamLAAL", "StreamLAAL_CA")]
        latency = ["-" if time_ms is None else f"{time_ms / 1000:.2f}" for time_ms in times]
        table.add_row(row.policy, f"{row.scores['BLEU']:.1f}", *latency, f"{row.rtf:.2f}")
    return table
