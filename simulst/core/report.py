"""What a session tells: its events, stamped with the audio, the time and the computing of the stream so far."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from simulst.core.commit import Change
from simulst.core.events import EndEvent, Event, HypothesisEvent, ProgressEvent, WriteEvent


@dataclass(kw_only=True)
class SessionStats:
    """Counts of one stream."""

    steps: int = 0
    writes: int = 0
    tokens: int = 0
    words_written: int = 0
    words_retracted: int = 0
    forced: int = 0
    """Times the source cap forced the policy on."""
    not_finite: int = 0
    """Steps whose evidence held NaN or infinities."""
    compute_s: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    """What the policy counts: the sums of its decisions' `counts`."""


class Report:
    """The outbox of one stream, and its clock: time counts as computing between `begin` and `charge`."""

    def __init__(self, stats: SessionStats, clock: Callable[[], float]) -> None:
        self._stats = stats
        self._clock = clock
        self._started: float | None = None
        self._mark = self._compute_before = 0.0
        self._outbox: list[Event] = []
        self._hypothesis = ""
        self.audio_s = 0.0
        """Audio that has been decided on."""
        self.lag_s = 0.0
        """Seconds from the end of the source words of the latest write to that write, computing included."""

    def begin(self) -> None:
        self._mark = self._clock()
        if self._started is None:
            self._started = self._mark

    def charge(self) -> None:
        """Count the time since the last mark as computing."""
        now = self._clock()
        self._stats.compute_s += now - self._mark
        self._mark = now

    def hear(self) -> None:
        """A chunk comes; the lag of what is written about it counts the computing from here on."""
        self._compute_before = self._stats.compute_s

    def drain(self) -> list[Event]:
        events, self._outbox = self._outbox, []
        return events

    def write(self, change: Change, *, settled: int) -> None:
        self.charge()
        if change.end_s is not None:
            self.lag_s = max(0.0, self.audio_s - change.end_s) + self._stats.compute_s - self._compute_before
        self._outbox.append(
            WriteEvent(
                text=change.text,
                retract=change.retract,
                audio_s=self.audio_s,
                wall_s=self._wall_s(),
                compute_s=self._stats.compute_s,
                start_s=change.start_s,
                end_s=change.end_s,
                step=self._stats.steps,
                settled=settled,
            )
        )

    def hypothesis(self, text: str) -> None:
        """Note the unstable rest, where it has changed."""
        if text != self._hypothesis:
            self._hypothesis = text
            self._outbox.append(HypothesisEvent(text=text, audio_s=self.audio_s, wall_s=self._wall_s()))

    def progress(self, *, settled: int, whole: bool) -> ProgressEvent:
        return ProgressEvent(
            step=self._stats.steps,
            audio_s=self.audio_s,
            wall_s=self._wall_s(),
            compute_s=self._stats.compute_s,
            lag_s=self.lag_s,
            settled=settled,
            whole=whole,
        )

    def end(self, text: str, *, words: int) -> None:
        """Note the end of a stream that shows `text`, of so many words."""
        stats = self._stats
        self._outbox.append(
            EndEvent(
                text=text,
                audio_s=self.audio_s,
                wall_s=self._wall_s(),
                rtf=stats.compute_s / self.audio_s if self.audio_s else 0.0,
                compute_s=stats.compute_s,
                erasure=stats.words_retracted / max(1, words),
                counts=dict(stats.counts),
            )
        )

    def _wall_s(self) -> float:
        return 0.0 if self._started is None else self._clock() - self._started
