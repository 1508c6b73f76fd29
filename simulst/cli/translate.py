"""`simulst translate SOURCE`: speech in, translation out, as it is decided."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from simulst.bundled import bundled
from simulst.cli import options
from simulst.errors import SimulstError

if TYPE_CHECKING:
    from simulst.audio import AudioStream
    from simulst.core.glossary import Glossary
    from simulst.core.loaded import LoadedPolicy
    from simulst.core.session import Session
    from simulst.core.translator import Translator
    from simulst.sinks.sink import Sink
    from simulst.sinks.subtitles import SubtitleStyle
    from simulst.sinks.terminal import TerminalView


Source = Annotated[
    str, typer.Argument(parser=bundled, help="Audio file, URL, - (wav or raw s16le 16 kHz) or mic.", metavar="SRC")
]


def translate(
    source: Source,
    model: options.UsualModel = "",
    policy: options.Policy = options.DEFAULT_POLICY,
    set_: options.Set = None,
    chunk_ms: options.ChunkMs = None,
    format_: Annotated[
        str, typer.Option("--format", "-f", help="text, srt, vtt, jsonl.", metavar="NAME|F.py:CLASS")
    ] = "",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File instead of stdout.", metavar="F")] = None,
    timing: Annotated[
        str, typer.Option(help="Cue times: commit (when text came) or speech (of the words).", metavar="NAME")
    ] = "commit",
    caption: options.Caption = None,
    targets: Annotated[
        str, typer.Option(help="Languages to write side by side, each to a file of its own.", metavar="CODE,CODE")
    ] = "",
    glossary: options.Glossary = None,
    glossary_boost: options.GlossaryBoost = options.DEFAULT_BOOST,
    trace: Annotated[
        Path | None, typer.Option(help="Write every decision there, for `simulst explain`.", metavar="F.jsonl")
    ] = None,
    device: options.Device = "cpu",
    dtype: options.UsualDtype = None,
) -> None:
    """Translate SRC and print the text as it is committed.

    What cannot be read or used is one sentence on stderr and exit status 2. Ctrl-C prints what is committed and exits
    with 130; on a microphone it ends the recording and translates what was said.
    """
    from simulst.audio import open_audio

    kind, style, written = _format(format_, output), _style(timing), _targets(targets, output, trace)
    outputs = [_file_of(output, target) for target in written]
    _check_output(outputs, source, policy, trace)
    terms = options.glossary_of(glossary, glossary_boost)
    dtype = dtype or (None if model else options.DTYPE_FOR_PEOPLE)
    model, own, loaded = _chosen(model, policy, set_ or [], chunk_ms, several=bool(targets))
    with ExitStack() as stack:
        sinks = _captions(caption or [], written, stack)
        stream = stack.enter_context(open_audio(source))
        from simulst.cli.threads import one_thread_per_stream
        from simulst.models import load_model
        from simulst.sinks.drive import Interrupted, drive_stream

        watched = sys.stdout.isatty() and (kind == "text" or output is not None) and not targets
        one_thread_per_stream()
        models = _translators(load_model(model, device=device, dtype=dtype, **own), written)
        sessions = _sessions(models, loaded, terms, hypotheses=watched)
        if output is not None or not watched:
            _open_outputs(outputs, sinks, kind, style, stack)
        if watched:
            sinks[0].append(stack.enter_context(_view(sessions[0], stream)))
        if trace is not None:
            _trace(stack.enter_context(_output(trace)), sessions[0], source, stream.name)
        try:
            drive_stream(list(zip(sessions, sinks, strict=True)), stream, preview=watched)
        except Interrupted as interrupt:
            raise typer.Exit(interrupt.status) from None


def _chosen(
    model: str, policy: str, pairs: list[str], chunk_ms: int | None, *, several: bool
) -> "tuple[str, dict[str, str], LoadedPolicy]":
    """The model, the usual one where none is named, its options, and the policy; only one model has several targets."""
    from simulst.chosen import load_policy_with, read_settings, usual_model

    model = model or (options.DEFAULT_MODEL if several else usual_model([policy], pairs))
    settings = read_settings(pairs, policy=policy, model=model)
    return model, settings.model, load_policy_with(policy, settings, chunk_ms)


def _sessions(
    models: "list[Translator]", policy: "LoadedPolicy", terms: "Glossary | None", *, hypotheses: bool
) -> "list[Session]":
    """One for each target; a glossary is of one language, that of the first."""
    from simulst.core.session import Session

    favoured = [terms, *[None] * (len(models) - 1)]
    both = zip(models, favoured, strict=True)
    return [Session(model, policy, hypotheses=hypotheses, glossary=own) for model, own in both]


def _open_outputs(
    outputs: list[Path | None], sinks: "list[list[Sink]]", kind: str, style: "SubtitleStyle", stack: ExitStack
) -> None:
    """A sink of each output, beside the others of its target."""
    from simulst.sinks import open_sink

    for path, own in zip(outputs, sinks, strict=True):
        own.append(open_sink(kind, stack.enter_context(_output(path)), style))
        stack.callback(own[-1].close)


def _trace(file: TextIO, session: "Session", source: str, name: str) -> None:
    """Have every decision written to the file."""
    from simulst.sinks.trace import Trace

    audio = {"audio": str(Path(source).resolve())} if Path(source).is_file() else {}
    session.observer = Trace(file, session, name=name, audio=audio)


def _format(name: str, output: Path | None) -> str:
    """What --format says, else the ending of the output; checked."""
    from simulst.sinks import format_of, sink_class

    if name:
        sink_class(name)
        return name
    return format_of(output) if output is not None and output.suffix else "text"


def _style(timing: str) -> "SubtitleStyle":
    from simulst.sinks.subtitles import SubtitleStyle

    if timing == "commit":
        return SubtitleStyle(timing="commit")
    if timing == "speech":
        return SubtitleStyle(timing="speech")
    raise SimulstError(f"--timing must be commit or speech, not {timing!r}.")


def _captions(specs: list[str], targets: list[str], stack: ExitStack) -> "list[list[Sink]]":
    """For each target where its captions go beside the output; each is closed with the stack."""
    found: list[list[Sink]] = [[] for _ in targets]
    if not specs:
        return found
    from simulst.sinks.captions import open_captions, split_target

    for spec in specs:
        target, rest = split_target(spec) if targets != [""] else (None, spec)
        if target not in (None, *targets):
            raise SimulstError(
                f"--caption {rest.partition('=')[0]}.{target} names none of --targets {','.join(targets)}."
            )
        own = found[0 if target is None else targets.index(target)]
        own.append(open_captions(rest, lambda sentence: print(f"simulst: {sentence}", file=sys.stderr)))
        stack.callback(own[-1].close)
    return found


def _targets(targets: str, output: Path | None, trace: Path | None) -> list[str]:
    """The languages of --targets; [""] where the model's own is meant."""
    if not targets:
        return [""]
    found = [code.strip() for code in targets.split(",")]
    if not all(found) or len(set(found)) < len(found):
        raise SimulstError(f"--targets takes different language codes such as de,en, not {targets!r}.")
    if output is None:
        raise SimulstError("--targets writes a file for each language: name one with --output, such as talk.srt.")
    if trace is not None:
        raise SimulstError("--trace follows one language; leave out --targets.")
    return found


def _file_of(output: Path | None, target: str) -> Path | None:
    """talk.srt and de: talk.de.srt."""
    return output if output is None or not target else output.with_name(f"{output.stem}.{target}{output.suffix}")


def _translators(model: "Translator", targets: list[str]) -> "list[Translator]":
    """One for each target; they share what the model can share. Raises ModelError, which lists what it can do."""
    if targets == [""]:
        return [model]
    from simulst.core.languages import Wanted, choose_targets, side_by_side

    _, pairs = choose_targets({model.name: model}, Wanted(), targets)
    return side_by_side(model, pairs)


@contextmanager
def _output(path: Path | None) -> Iterator[TextIO]:
    """The file, written as its text comes, or stdout."""
    if path is None:
        yield sys.stdout
        return
    from simulst.outputs import growing_file

    with growing_file(path) as file:
        yield file


def _check_output(outputs: list[Path | None], source: str, policy: str, trace: Path | None) -> None:
    """Refuse an output that is what is read, under whatever name, or that nobody would see."""
    from simulst.audio import file_of_url
    from simulst.cli.streams import CLOSED
    from simulst.outputs import refuse_inputs

    if None in outputs and "stdout" in CLOSED:
        raise SimulstError("Standard output is closed: name a file with --output.")
    written = [path for path in (*outputs, trace) if path is not None]
    if len({path.resolve() for path in written}) < len(written):
        raise SimulstError("--output and --trace name the same file; give each its own.")
    heard = 0 if source == "-" else file_of_url(source) if source[:7].lower() == "file://" else Path(source)
    refuse_inputs(written, [heard, Path(policy)])


def _view(session: "Session", stream: "AudioStream") -> "TerminalView":
    from simulst.sinks.terminal import TerminalView

    title = f"{Path(stream.name).name}  ·  {session.model.name}  ·  {session.name}  ·  {session.chunk_ms} ms"
    return TerminalView(title, duration_s=stream.duration_s)
