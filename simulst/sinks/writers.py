"""Writers of one stream's events to a text file: plain text, SRT, VTT, JSON lines; what is written is always valid."""

import json
import re
from typing import Protocol, TextIO

from simulst.core.events import EndEvent, Event, WriteEvent
from simulst.sinks.subtitles import VTT_HEADER, Cue, CueTrack, SubtitleStyle, srt_cue, vtt_cue

FORMATS = ("text", "srt", "vtt", "jsonl")


class Writer(Protocol):
    """Takes the events of one stream in order."""

    def handle(self, event: Event) -> None: ...

    def settle(self, characters: int) -> None:
        """The first `characters` of the text are final, although the policy may take text back."""
        ...

    def close(self) -> None:
        """Write what is still held; the stream may have been interrupted."""
        ...


def open_writer(kind: str, out: TextIO, *, revises: bool = False, style: SubtitleStyle | None = None) -> Writer:
    """A writer for one of FORMATS; with `revises` text may be taken back, and is written once it is settled."""
    if kind == "jsonl":
        return JsonlWriter(out)
    if kind == "text":
        return TextWriter(out, revises=revises)
    return CueWriter(out, kind, revises=revises, style=style)


class JsonlWriter:
    """One event per line; unstable hypotheses are left out."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def handle(self, event: Event) -> None:
        if isinstance(event, WriteEvent | EndEvent):
            self._out.write(json.dumps(event.to_json(), ensure_ascii=False) + "\n")
            self._out.flush()

    def settle(self, characters: int) -> None: ...
    def close(self) -> None: ...


_END = re.compile(r"(\w*)([.!?…]+)[\"'»”’)\]]*$")
_ABBREVIATIONS = frozenset(
    "dr nr st mr ms mrs prof hr fr sr jr co vs bzw ca str abs jan feb aug sept okt oct nov dez dec inc ltd".split()
)
_WIDE_END = re.compile(r"(?<=[。！？])(?=[^。！？」』）])")


def _ends_sentence(line: str) -> bool:
    """Whether a full stop ends more than an abbreviation, an initial or an ordinal."""
    found = _END.search(line)
    if found is None:
        return False
    word, marks = found.groups()
    if marks != "." or not word:
        return True
    return len(word) > 1 and not word.isdigit() and word.lower() not in _ABBREVIATIONS


class SentenceLines:
    """Lays running text out as one sentence per line, piece by piece; abbreviations and ordinals do not end one."""

    def __init__(self) -> None:
        self._line = ""
        self._gap = False

    def feed(self, text: str) -> str:
        """`text` with the blank after a sentence made a line break; a blank at its end waits for what follows."""
        out: list[str] = []
        for piece in re.findall(r"\s+|\S+", text):
            if piece.isspace():
                self._gap = True
                continue
            if self._line.endswith(("。", "！", "？")) and piece[0] not in "。！？」』）":
                self._break(out)
            elif self._gap and self._line:
                opens = not (piece.lstrip("\"'«„“‚‘([")[:1] or "A").islower()
                if opens and _ends_sentence(self._line):
                    self._break(out)
                else:
                    out.append(" ")
                    self._line += " "
            self._gap = False
            lines = _WIDE_END.split(piece)
            out.append("\n".join(lines))
            self._line = ((self._line if len(lines) == 1 else "") + lines[-1])[-80:]
        return "".join(out)

    def _break(self, out: list[str]) -> None:
        out.append("\n")
        self._line = ""


class TextWriter:
    """The text as it is committed, one sentence per line."""

    def __init__(self, out: TextIO, *, revises: bool = False) -> None:
        self._out = out
        self._revises = revises
        self._held = ""
        """Text that may be taken back."""
        self._final = 0
        """Characters before it."""
        self._lines = SentenceLines()
        self._wrote = False

    def handle(self, event: Event) -> None:
        if not isinstance(event, WriteEvent):
            return
        if self._revises:
            self._held = self._held[: len(self._held) - event.retract] + event.text
        else:
            self._write(event.text)

    def settle(self, characters: int) -> None:
        count = max(0, characters - self._final)
        final, self._held = self._held[:count], self._held[count:]
        self._final += len(final)
        self._write(final)

    def close(self) -> None:
        self._write(self._held)
        self._held = ""
        if self._wrote:
            self._out.write("\n")
            self._out.flush()

    def _write(self, text: str) -> None:
        if laid_out := self._lines.feed(text):
            self._wrote = True
            self._out.write(laid_out)
            self._out.flush()


class CueWriter:
    """SRT or VTT, every cue as soon as nothing can change it."""

    def __init__(self, out: TextIO, kind: str, *, revises: bool = False, style: SubtitleStyle | None = None) -> None:
        self._out = out
        self._srt = kind == "srt"
        self._revises = revises
        self._track = CueTrack(style)
        self._done = 0
        if not self._srt:
            out.write(VTT_HEADER)
            out.flush()

    def handle(self, event: Event) -> None:
        if isinstance(event, WriteEvent):
            self._track.write(event)
            if not self._revises and self._track.closed > self._done:
                self._write(self._track.cues()[: self._track.closed])

    def settle(self, characters: int) -> None:
        if (settled := self._track.settled(characters)) > self._done:
            self._write(self._track.cues()[:settled])

    def close(self) -> None:
        self._write(self._track.cues())

    def _write(self, cues: list[Cue]) -> None:
        for number, cue in enumerate(cues[self._done :], start=self._done + 1):
            self._out.write(srt_cue(number, cue) if self._srt else vtt_cue(cue))
        self._done = len(cues)
        self._out.flush()
