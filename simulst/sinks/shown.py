"""What a reader of a stream sees: its events folded into a text, of which the beginning is final."""

from dataclasses import dataclass

from simulst.core.events import EndEvent, ProgressEvent, SinkEvent, WriteEvent


@dataclass(kw_only=True)
class Piece:
    """Text that came at once, or what has been left of it."""

    text: str
    time_s: float
    """Audio received when it came."""


class Shown:
    """The text of one stream, and how much of it nothing can take back."""

    def __init__(self) -> None:
        self.text = ""
        self.settled = 0
        """Characters of the text that are final."""
        self._pieces: list[Piece] = []
        """The text that `settle` has not given out."""
        self._given = 0

    @property
    def open(self) -> str:
        """The text that `settle` has not given out."""
        return self.text[self._given :]

    def take(self, event: SinkEvent) -> int:
        """Apply an event; the length of the text that it left as it was."""
        if isinstance(event, WriteEvent):
            return self._write(event)
        if isinstance(event, EndEvent):
            self.end()
        elif isinstance(event, ProgressEvent):
            self._settle(event.settled)
        return len(self.text)

    def end(self) -> None:
        """All of the text is final, whatever was said about it."""
        self.settled = len(self.text)

    def settle(self) -> list[Piece]:
        """The text that has become final since the last call."""
        left, given = self.settled - self._given, list[Piece]()
        while left > 0:
            piece = self._pieces[0]
            given.append(Piece(text=piece.text[:left], time_s=piece.time_s))
            left -= len(given[-1].text)
            if len(given[-1].text) == len(piece.text):
                self._pieces.pop(0)
            else:
                piece.text = piece.text[len(given[-1].text) :]
        self._given = self.settled
        return given

    def _write(self, event: WriteEvent) -> int:
        kept = max(self._given, len(self.text) - event.retract)
        take_back(self._pieces, len(self.text) - kept)
        self.text = self.text[:kept] + event.text
        if event.text:
            self._pieces.append(Piece(text=event.text, time_s=event.audio_s))
        self._settle(event.settled)
        return kept

    def _settle(self, characters: int | None) -> None:
        length = len(self.text)
        self.settled = length if characters is None else min(max(self._given, characters), length)


def take_back(pieces: list[Piece], count: int) -> None:
    """Remove the last `count` characters of the pieces, as far as there are any."""
    while count > 0 and pieces:
        text = pieces[-1].text
        if len(text) > count:
            pieces[-1].text = text[:-count]
        else:
            pieces.pop()
        count -= len(text)
