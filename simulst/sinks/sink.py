"""What takes the events of a stream: the protocol of every sink, and the base of those that write a text file."""

from typing import ClassVar, Protocol, TextIO

from simulst.core.events import SinkEvent
from simulst.sinks.subtitles import SubtitleStyle


class Sink(Protocol):
    """Takes the events of one stream in order."""

    def handle(self, event: SinkEvent) -> None: ...

    def close(self) -> None:
        """No event will follow; the stream may have been interrupted. Write what is still held."""
        ...


class FileSink:
    """A format of `simulst translate`: writes a stream to an open text file, which is valid at every moment.

    A format of one's own extends this in a file, `--format FILE.py:CLASS`; `simulst.sinks.shown.Shown` folds the events
    into text for it.
    """

    suffix: ClassVar[str] = ""
    """File names with this ending get this format, such as `.srt`."""

    def __init__(self, out: TextIO, style: SubtitleStyle) -> None:
        self.out = out
        self.style = style
        """How subtitles are cut and timed."""

    def handle(self, event: SinkEvent) -> None:
        """Take one event."""
        raise NotImplementedError

    def close(self) -> None:
        """Write what is still held."""

    def write(self, text: str) -> None:
        """Write text so that it can be read at once."""
        if text:
            self.out.write(text)
            self.out.flush()
