"""From the name of a format, or FILE.py:CLASS, to the sink that writes it."""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from traceback import extract_tb
from typing import TYPE_CHECKING, TextIO

from simulst.bundled import bundled_path
from simulst.core.events import SinkEvent
from simulst.errors import SimulstError
from simulst.plugins import brief, module_from_file

if TYPE_CHECKING:
    from simulst.sinks.sink import FileSink, Sink
    from simulst.sinks.subtitles import SubtitleStyle

SINKS: dict[str, str] = {
    "text": "simulst.sinks.text:TextSink",
    "srt": "simulst.sinks.cues:Srt",
    "vtt": "simulst.sinks.cues:Vtt",
    "jsonl": "simulst.sinks.jsonl:JsonLines",
}


class FormatError(SimulstError):
    """A format that does not exist or cannot be used."""


def sink_class(name: str) -> "type[FileSink]":
    """The class of one of SINKS, or FILE.py:CLASS. Raises FormatError."""
    from simulst.sinks.sink import FileSink

    if ".py:" in name:
        path, _, own = name.rpartition(":")
        found = vars(module_from_file(bundled_path(path), what="format", error=FormatError)).get(own)
    elif name in SINKS:
        module, _, own = SINKS[name].partition(":")
        found = vars(importlib.import_module(module))[own]
    else:
        raise FormatError(f"Unknown format {name!r}; known: {', '.join(SINKS)}, or FILE.py:CLASS.")
    if not (isinstance(found, type) and issubclass(found, FileSink)):
        raise FormatError(f"{name} is not a format: it must name a class that extends simulst.sinks.sink.FileSink.")
    return found


def format_of(path: Path) -> str:
    """The format that the ending of a file name asks for. Raises FormatError."""
    suffixes = {sink_class(name).suffix: name for name in SINKS}
    if path.suffix.lower() not in suffixes:
        raise FormatError(
            f"{path} does not say its format: end it in {', '.join(suffixes)}, or name one with --format."
        )
    return suffixes[path.suffix.lower()]


def open_sink(name: str, out: TextIO, style: "SubtitleStyle | None" = None) -> "Sink":
    """A sink of this format that writes to `out`. Raises FormatError, and one of one's own does so while it works."""
    from simulst.sinks.subtitles import SubtitleStyle

    kind, style = sink_class(name), style or SubtitleStyle()
    return _Guarded(name, kind, out, style) if ".py:" in name else kind(out, style)


class _Guarded:
    """A sink from somebody's file, of which a mistake is one sentence."""

    def __init__(self, name: str, kind: "type[FileSink]", out: TextIO, style: "SubtitleStyle") -> None:
        self._name = name
        with self._watch("it is opened"):
            self._sink = kind(out, style)

    def handle(self, event: SinkEvent) -> None:
        with self._watch(f"it takes a {type(event).__name__}"):
            self._sink.handle(event)

    def close(self) -> None:
        with self._watch("it is closed"):
            self._sink.close()

    @contextmanager
    def _watch(self, when: str) -> Iterator[None]:
        """Leaves alone what the system or simulst itself has to say."""
        try:
            yield
        except (OSError, SimulstError):
            raise
        except Exception as error:
            file = self._name.rpartition(":")[0]
            lines = [frame.lineno for frame in extract_tb(error.__traceback__) if frame.filename.endswith(file)]
            where = f" (line {lines[-1]})" if lines else ""
            raise FormatError(f"The format {self._name} fails when {when}: {brief(error)}{where}.") from error
