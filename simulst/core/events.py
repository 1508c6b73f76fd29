"""What a session tells its sinks; every event is immutable and JSON-ready."""

from dataclasses import dataclass, field
from typing import Any


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

    def to_json(self) -> dict[str, Any]:
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

    def to_json(self) -> dict[str, Any]:
        return {
            "type": "hypothesis",
            "text": self.text,
            "audio_s": _seconds(self.audio_s),
            "wall_s": _seconds(self.wall_s),
        }


@dataclass(frozen=True, kw_only=True)
class EndEvent:
    """The stream is over; `text` is everything that was shown in the end."""

    text: str
    audio_s: float
    wall_s: float
    rtf: float
    """Computing seconds per second of audio (0 for a stream without audio)."""
    erasure: float = 0.0
    """Normalised erasure: words taken back per word of the final text."""
    counts: dict[str, int] = field(default_factory=dict)
    """What the policy counted, such as words it anticipated wrongly."""

    def to_json(self) -> dict[str, Any]:
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
