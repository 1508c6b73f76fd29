"""What a session tells its sinks; every event is immutable and JSON-ready."""

from dataclasses import dataclass, field


def _seconds(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


@dataclass(frozen=True, kw_only=True)
class WriteEvent:
    """Shown text changes: `retract` characters are taken back from its end, then `text` is appended.

    Append-only policies never retract, and their texts concatenated are the final text.
    """

    text: str
    retract: int = 0
    audio_s: float
    """Audio received when the decision was made."""
    wall_s: float
    """Seconds since the first samples of the stream came."""
    compute_s: float = 0.0
    """Computing time of the stream so far."""
    start_s: float | None = None
    """Source time of the first of the written words; None where the model gives no alignment."""
    end_s: float | None = None
    step: int = 0
    """Decisions of the stream before the one that wrote this."""
    settled: int | None = None
    """Characters of the whole text that nothing can take back any more; None: all of it."""

    def to_json(self) -> dict[str, object]:
        return {
            "type": "write",
            "text": self.text,
            "retract": self.retract,
            "audio_s": _seconds(self.audio_s),
            "wall_s": _seconds(self.wall_s),
            "compute_s": _seconds(self.compute_s),
            "start_s": _seconds(self.start_s),
            "end_s": _seconds(self.end_s),
        }


@dataclass(frozen=True, kw_only=True)
class HypothesisEvent:
    """The unstable continuation of the committed text, to be shown grey; it replaces the one before, "" clears it."""

    text: str
    audio_s: float
    wall_s: float

    def to_json(self) -> dict[str, object]:
        return {
            "type": "hypothesis",
            "text": self.text,
            "audio_s": _seconds(self.audio_s),
            "wall_s": _seconds(self.wall_s),
        }


@dataclass(frozen=True, kw_only=True)
class ProgressEvent:
    """Where the stream stands after a piece of audio, whether or not something was written; see `Session.progress`."""

    step: int
    """Decisions so far."""
    audio_s: float
    """Audio that has been decided on."""
    wall_s: float
    compute_s: float
    lag_s: float = 0.0
    """Seconds from the end of the source words of the latest write to that write, computing included."""
    settled: int | None = None
    """As in WriteEvent; it also grows where nothing is written."""
    whole: bool = True
    """Whether the settled text ends between two words, as far as the model's last hypothesis tells."""

    def to_json(self) -> dict[str, object]:
        return {
            "type": "progress",
            "step": self.step,
            "audio_s": _seconds(self.audio_s),
            "wall_s": _seconds(self.wall_s),
            "compute_s": _seconds(self.compute_s),
            "lag_s": _seconds(self.lag_s),
            "settled": self.settled,
            "whole": self.whole,
        }


@dataclass(frozen=True, kw_only=True)
class EndEvent:
    """The stream is over; `text` is everything that was shown in the end."""

    text: str
    audio_s: float
    wall_s: float
    rtf: float
    """Computing seconds per second of audio (0 for a stream without audio)."""
    compute_s: float = 0.0
    erasure: float = 0.0
    """Normalised erasure: words taken back per word of the final text."""
    counts: dict[str, int] = field(default_factory=dict)
    """What the policy counted, such as words it anticipated wrongly."""

    def to_json(self) -> dict[str, object]:
        return {
            "type": "end",
            "text": self.text,
            "audio_s": _seconds(self.audio_s),
            "wall_s": _seconds(self.wall_s),
            "rtf": round(self.rtf, 6),
            "erasure": round(self.erasure, 6),
            **({"counts": self.counts} if self.counts else {}),
        }


Event = WriteEvent | HypothesisEvent | EndEvent
"""What `feed` and `finish` return."""
SinkEvent = Event | ProgressEvent
"""What sinks are handed."""
