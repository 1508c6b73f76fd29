"""Plain text as it becomes final, one sentence per line."""

import re
from typing import ClassVar, TextIO

from simulst.core.events import SinkEvent
from simulst.sinks.shown import Shown
from simulst.sinks.sink import FileSink
from simulst.sinks.subtitles import SubtitleStyle

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
        """`text` with the space after a sentence turned into a line break; one at its end waits for what follows."""
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


class TextSink(FileSink):
    """The text as it becomes final."""

    suffix: ClassVar[str] = ".txt"

    def __init__(self, out: TextIO, style: SubtitleStyle) -> None:
        super().__init__(out, style)
        self._shown = Shown()
        self._lines = SentenceLines()
        self._wrote = False

    def handle(self, event: SinkEvent) -> None:
        self._shown.take(event)
        self._put()

    def close(self) -> None:
        self._shown.end()
        self._put()
        if self._wrote:
            self.write("\n")

    def _put(self) -> None:
        for piece in self._shown.settle():
            laid_out = self._lines.feed(piece.text)
            self._wrote = self._wrote or bool(laid_out)
            self.write(laid_out)
