"""`simulst demo`: the bundled talk under two policies, its subtitles as they appear, and what each policy costs."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from simulst.bundled import talk
from simulst.cli import options
from simulst.errors import DataError

if TYPE_CHECKING:
    from rich.console import Console

    from simulst.core.events import Event
    from simulst.core.translator import Translator

TALK = talk()
POLICIES = ("wait_k", "stream_att")


@dataclass(frozen=True, kw_only=True)
class Talk:
    """A recording with references; `segmentation` is a MuST-C yaml."""

    audio: Path
    segmentation: Path
    references: Path


def demo(
    model: options.Model = options.DEFAULT_MODEL,
    policy: Annotated[
        list[str] | None, typer.Option("--policy", "-p", help="Policies to compare; repeatable.", metavar="NAME")
    ] = None,
    chunk_ms: options.ChunkMs = None,
    device: options.Device = "cpu",
) -> None:
    """Translate the bundled English talk into German with each policy, then compare quality, latency and speed."""
    from rich.console import Console

    from simulst.cli.threads import one_thread_per_stream
    from simulst.models import load_model

    talk = _bundled()
    console = Console(highlight=False)
    console.print(f"[bold]{talk.audio.name}[/], English to German, model [bold]{model}[/], on {device}")
    one_thread_per_stream()
    translator = load_model(model, device=device)
    rows = [_run(talk, translator, name, chunk_ms, console) for name in (policy or POLICIES)]
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


def _run(talk: Talk, model: "Translator", policy: str, chunk_ms: int | None, console: "Console") -> dict[str, Any]:
    from simulst.audio import open_file
    from simulst.core.session import Session
    from simulst.policies import load_policy
    from simulst.sinks.drive import run_stream
    from simulst.sinks.terminal import clock

    loaded = load_policy(policy) if chunk_ms is None else load_policy(policy, chunk_ms=chunk_ms)
    session = Session(model, loaded)
    console.print(f"\n[bold]{policy}[/]  [dim]one decision per {loaded.chunk_ms} ms[/]")
    with open_file(talk.audio) as stream, console.status("") as status:
        printer = CuePrinter(console)

        def progress(session: Session) -> None:
            status.update(f"{clock(session.audio_s)} of {clock(stream.duration_s)}   lag {session.lag:.1f} s")

        run_stream(session, stream, [printer], progress=progress)
    printer.close()
    scores = _score(talk, printer.events)
    return {"policy": policy, "RTF": session.stats.compute_s / session.audio_s, **scores}


class CuePrinter:
    """Prints every subtitle with its times once it is complete; keeps the events."""

    def __init__(self, console: "Console") -> None:
        from simulst.sinks.subtitles import CueTrack

        self.events: list[Event] = []
        self._console = console
        self._track = CueTrack()
        self._done = 0

    def handle(self, event: "Event") -> None:
        from simulst.core.events import WriteEvent

        self.events.append(event)
        if isinstance(event, WriteEvent):
            self._track.write(event)
            self._print(self._track.closed)

    def close(self) -> None:
        self._print(len(self._track.cues()))

    def _print(self, until: int) -> None:
        from rich.text import Text

        for cue in self._track.cues()[self._done : until]:
            times = f"{cue.start_s:6.1f} - {cue.end_s:5.1f} s  "
            for number, line in enumerate(cue.lines):
                self._console.print(Text.assemble((times if number == 0 else " " * len(times), "cyan"), line))
            self._done += 1


def _score(talk: Talk, events: "list[Event]") -> dict[str, float]:
    from simulst.eval.data.segmentation import read_references, read_segmentation
    from simulst.eval.score.inputs import score_instances

    segments = read_segmentation(talk.segmentation, read_references(talk.references))
    return score_instances([_instance(talk, events)], segmentation=segments, lang="de")


def _instance(talk: Talk, events: "list[Event]") -> Any:
    from simulst.core.events import WriteEvent
    from simulst.eval.logs.instances import Instance

    shown = ""
    delays: list[tuple[float, float]] = []
    for event in events:
        if isinstance(event, WriteEvent):
            shown = shown[: len(shown) - event.retract] + event.text
            words = len(shown.split())
            now = (event.audio_s * 1000, (event.audio_s + event.compute_s) * 1000)
            kept = delays[: len((shown[: len(shown) - len(event.text)]).split())]
            delays = [*kept, *[now] * (words - len(kept))][:words]
    return Instance(
        index=0,
        source=str(talk.audio),
        prediction=shown.strip(),
        delays_ms=tuple(delay for delay, _ in delays),
        elapsed_ms=tuple(elapsed for _, elapsed in delays),
        source_length_ms=events[-1].audio_s * 1000,
    )


def _table(rows: list[dict[str, Any]]) -> Any:
    from rich.table import Table

    table = Table(title="\nThe same talk, the same model", title_justify="left", header_style="bold")
    table.add_column("policy")
    for title in ("BLEU", "StreamLAAL (s)", "StreamLAAL_CA (s)", "RTF"):
        table.add_column(title, justify="right")
    for row in rows:
        latency = [f"{row[key] / 1000:.2f}" if key in row else "-" for key in ("StreamLAAL", "StreamLAAL_CA")]
        table.add_row(row["policy"], f"{row['BLEU']:.1f}", *latency, f"{row['RTF']:.2f}")
    return table
