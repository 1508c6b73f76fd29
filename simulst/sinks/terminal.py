"""The terminal view: finished lines with times, the line being written, the unstable rest in grey, lag and load."""

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from simulst.core.events import HypothesisEvent, ProgressEvent, SinkEvent
from simulst.sinks.clock import clock
from simulst.sinks.shown import Shown
from simulst.sinks.text import SentenceLines


class TerminalView:
    """A sink for one stream; use as a context manager. Finished lines scroll up and stay, the rest is redrawn."""

    def __init__(self, title: str, *, console: Console | None = None, duration_s: float | None = None) -> None:
        self._title = title
        self._console = console or Console()
        self._duration_s = duration_s
        self._layout = SentenceLines()
        self._shown = Shown()
        self._line = ""
        self._line_at_s = 0.0
        self._hypothesis = ""
        self._status = ""
        self._live = Live(console=self._console, refresh_per_second=8, transient=True)

    def __enter__(self) -> "TerminalView":
        self._console.print(Text(self._title, style="dim"))
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._live.stop()
        self._shown.end()
        self._advance()
        self._finish_line()

    def handle(self, event: SinkEvent) -> None:
        self._shown.take(event)
        self._advance()
        if isinstance(event, HypothesisEvent):
            self._hypothesis = event.text
        elif isinstance(event, ProgressEvent):
            self._note(event)
        self._live.update(self._draw())

    def _note(self, event: ProgressEvent) -> None:
        """Position, lag behind the speech and computing time per second of audio."""
        position = clock(event.audio_s) + (f" of {clock(self._duration_s)}" if self._duration_s else "")
        load = event.compute_s / event.audio_s if event.audio_s else 0.0
        self._status = f"{position}   lag {event.lag_s:.1f} s   load {load:.0%}"

    def _advance(self) -> None:
        """Lay out what has become final."""
        for piece in self._shown.settle():
            laid_out = self._layout.feed(piece.text)
            if laid_out and not self._line:
                self._line_at_s = piece.time_s
            *complete, rest = laid_out.split("\n")
            for part in complete:
                self._line += part
                self._finish_line()
                self._line_at_s = piece.time_s
            self._line += rest

    def _finish_line(self) -> None:
        if self._line:
            self._console.print(self._stamped(self._line))
            self._line = ""

    def _stamped(self, line: str) -> Text:
        return Text.assemble((f"{clock(self._line_at_s):>7}  ", "dim"), line)

    def _draw(self) -> RenderableType:
        body = self._stamped(self._line + self._shown.open).append(self._hypothesis, style="grey50")
        body.truncate(self._console.width * max(2, self._console.height - 4), overflow="crop")
        return Group(body, Text(self._status, style="dim"))
