"""For a reader that takes text once and splits it into words for itself, as SimulEval's harness does.

It must be given whole words: a word whose next token is known to belong to it (its full stop, say) waits for it.
"""

from simulst.core.events import EndEvent, ProgressEvent, SinkEvent
from simulst.sinks.shown import Shown


class WordWriter:
    """A sink that gives every word out once, when it is final and whole."""

    def __init__(self) -> None:
        self._shown = Shown()
        self._held = ""
        """Final text that may end in half a word."""
        self._ready = ""

    def handle(self, event: SinkEvent) -> None:
        self._shown.take(event)
        if not isinstance(event, ProgressEvent | EndEvent):
            return
        text = self._held + "".join(piece.text for piece in self._shown.settle())
        whole = isinstance(event, EndEvent) or event.whole
        count = len(text) if whole else _last_space(text)
        self._ready, self._held = self._ready + text[:count], text[count:]

    def close(self) -> None: ...

    def take(self) -> str:
        """What has become ready since the last call."""
        ready, self._ready = self._ready, ""
        return ready


def _last_space(text: str) -> int:
    """Length of the text up to its last white space."""
    return max((i for i, character in enumerate(text) if character.isspace()), default=0)
