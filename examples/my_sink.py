"""An output format of one's own, in one file: sentences with times, as players of music show lyrics (LRC).

    simulst translate examples/talk.flac --format examples/my_sink.py:Sink --output talk.lrc

A line is written once its sentence is complete and nothing can take it back, so the file is valid at every moment.
"""

from typing import ClassVar, TextIO

from simulst.core.events import SinkEvent
from simulst.sinks.shown import Shown
from simulst.sinks.sink import FileSink
from simulst.sinks.subtitles import SubtitleStyle
from simulst.sinks.text import SentenceLines


class Sink(FileSink):
    """LRC: `[minutes:seconds]sentence`, with the time at which its first word came."""

    suffix: ClassVar[str] = ".lrc"

    def __init__(self, out: TextIO, style: SubtitleStyle) -> None:
        super().__init__(out, style)
        self._shown = Shown()
        self._lines = SentenceLines()
        self._line = ""
        self._since_s = 0.0

    def handle(self, event: SinkEvent) -> None:
        self._shown.take(event)
        for piece in self._shown.settle():
            *sentences, rest = self._lines.feed(piece.text).split("\n")
            for sentence in sentences:
                self._add(sentence, piece.time_s)
                self._finish()
            self._add(rest, piece.time_s)

    def close(self) -> None:
        self._finish()

    def _add(self, text: str, time_s: float) -> None:
        if not self._line:
            self._since_s = time_s
        self._line += text

    def _finish(self) -> None:
        if self._line:
            minutes, seconds = divmod(round(self._since_s, 2), 60)
            self.write(f"[{minutes:02.0f}:{seconds:05.2f}]{self._line.strip()}\n")
        self._line = ""
