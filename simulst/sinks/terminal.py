"""The terminal view: finished lines with times, the line being written, the unstable rest in grey, lag and load."""

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from simulst.core.events import Event, HypothesisEvent, WriteEvent
from simulst.sinks.writers import SentenceLines


class TerminalView:
    """A sink for one stream; use as a context manager. Finished lines scroll up and stay, the rest is redrawn."""

    def __init__(self, title: str, *, console: Console | None = None, revises: bool = False) -> None:
        self._title = title
        self._console = console or Console()
        self.revises = revises
        self._layout = SentenceLines()
        self._pieces: list[tuple[str, float]] = []
        """Shown text with its commit times, while it may be taken back."""
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
        self._live.stop()
        for text, at_s in self._pieces:
            self._advance(text, at_s)
        self._finish_line()

    def handle(self, event: Event) -> None:
        if isinstance(event, WriteEvent):
            if self.revises:
                self._retract(event.retract)
                self._pieces.append((event.text, event.audio_s))
            else:
                self._advance(event.text, event.audio_s)
        elif isinstance(event, HypothesisEvent):
            self._hypothesis = event.text
        self._live.update(self._draw())

    def show_rest(self, text: str) -> None:
        """Show an unstable rest that no event reported."""
        self._hypothesis = text

    def status(self, *, audio_s: float, duration_s: float | None, lag_s: float, load: float) -> None:
        """Show position, lag behind the speech and computing time per second of audio."""
        position = clock(audio_s) + (f" of {clock(duration_s)}" if duration_s else "")
        self._status = f"{position}   lag {lag_s:.1f} s   load {load:.0%}"
        self._live.update(self._draw())

    def _retract(self, count: int) -> None:
        while count > 0 and self._pieces:
            text, at_s = self._pieces.pop()
            if len(text) > count:
                self._pieces.append((text[:-count], at_s))
            count -= len(text)

    def _advance(self, text: str, at_s: float) -> None:
        laid_out = self._layout.feed(text)
        if laid_out and not self._line:
            self._line_at_s = at_s
        *complete, rest = laid_out.split("\n")
        for part in complete:
            self._line += part
            self._finish_line()
            self._line_at_s = at_s
        self._line += rest

    def _finish_line(self) -> None:
        if self._line:
            self._console.print(self._stamped(self._line))
            self._line = ""

    def _stamped(self, line: str) -> Text:
        return Text.assemble((f"{clock(self._line_at_s):>7}  ", "dim"), line)

    def _draw(self) -> RenderableType:
        current = "".join(text for text, _ in self._pieces) if self.revises else self._line
        body = self._stamped(current).append(self._hypothesis, style="grey50")
        body.truncate(self._console.width * max(2, self._console.height - 4), overflow="crop")
        return Group(body, Text(self._status, style="dim"))


def clock(seconds: float | None) -> str:
    """`m:ss`, or `h:mm:ss` from an hour on."""
    whole = int(seconds or 0)
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"
