"""One target of a live stream: the sessions that follow one another, on one clock and in one text."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from simulst.core.events import EndEvent, Event, HypothesisEvent, ProgressEvent, WriteEvent
from simulst.core.session import Session


@dataclass(frozen=True, kw_only=True)
class Said:
    """What one piece of work brought in one target."""

    events: list[WriteEvent | EndEvent]
    hypothesis: str
    """The unstable continuation."""
    progress: ProgressEvent

    def without_end(self) -> "Said":
        """The same of a stream that goes on."""
        return replace(self, events=[event for event in self.events if isinstance(event, WriteEvent)])


@dataclass(frozen=True, kw_only=True)
class Past:
    """What the sessions before the current one amounted to."""

    audio_s: float = 0.0
    compute_s: float = 0.0
    characters: int = 0
    """Of its text."""


class Lane:
    """Places what the current session says after what those before it said."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._past = Past()
        self._begin()

    def _begin(self) -> None:
        self._fresh = True
        self._before = self._past.characters  # characters of the whole text before that of the session
        self._steps = 0
        self._hypothesis = self._session_hypothesis = ""

    def switch(self, session: Session, audio_s: float) -> None:
        """Go on with another session, `audio_s` into the stream."""
        self._past = Past(
            audio_s=audio_s,
            compute_s=self._past.compute_s + self.session.stats.compute_s,
            characters=self._before + len(self.session.text),
        )
        self.session = session
        self._begin()

    def say(self, events: Sequence[Event], stream_s: Callable[[float], float], *, preview: bool) -> Said:
        """Events of the session on the clock of the stream; `stream_s` puts a time of the session into its part of it.

        With `preview` the unstable rest is decoded where the policy leaves it out.
        """
        self._note_hypothesis(events, preview)
        placed = [self._placed(event, stream_s) for event in events if isinstance(event, WriteEvent | EndEvent)]
        now = self.session.progress()
        settled = None if now.settled is None else self._before + now.settled
        now = replace(now, audio_s=self._past.audio_s + stream_s(now.audio_s), settled=settled)
        return Said(events=placed, hypothesis=self._hypothesis, progress=now)

    def _note_hypothesis(self, events: Sequence[Event], preview: bool) -> None:
        """Keep what is shown grey; a policy that stops decoding at its border leaves it to be decoded here."""
        session = self.session
        if session.stats.steps == self._steps:
            return
        self._steps = session.stats.steps
        for event in events:
            if isinstance(event, HypothesisEvent):
                self._session_hypothesis = event.text
        decode = preview and not session.shows_rest
        self._hypothesis = session.preview() if decode else self._session_hypothesis

    def _placed(self, event: WriteEvent | EndEvent, stream_s: Callable[[float], float]) -> WriteEvent | EndEvent:
        past, audio_s = self._past, self._past.audio_s + stream_s(event.audio_s)
        if isinstance(event, EndEvent):
            compute_s = past.compute_s + self.session.stats.compute_s
            return replace(event, audio_s=audio_s, rtf=compute_s / audio_s if audio_s else 0.0)
        text = event.text
        if self._fresh and text:
            self._fresh = False
            apart = past.characters and self.session.model.vocabulary.spaced and not text[0].isspace()
            text = f" {text}" if apart else text
            self._before += bool(apart)
        return replace(
            event,
            text=text,
            settled=None if event.settled is None else self._before + event.settled,
            audio_s=audio_s,
            compute_s=past.compute_s + event.compute_s,
            start_s=None if event.start_s is None else past.audio_s + stream_s(event.start_s),
            end_s=None if event.end_s is None else past.audio_s + stream_s(event.end_s),
        )
