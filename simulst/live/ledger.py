"""The text of one live stream: session events in, protocol messages out, exports at any time."""

import json
from collections.abc import Mapping
from typing import Required, TypedDict

from simulst.core.events import EndEvent, SinkEvent, WriteEvent
from simulst.core.prefix import common_prefix
from simulst.sinks.shown import Shown
from simulst.sinks.subtitles import Cue, CueTrack, to_srt, to_vtt
from simulst.sinks.text import SentenceLines


class Message(TypedDict, total=False):
    """What the server sends about the text of a stream; `simulst.live.protocol` says which type has which keys."""

    type: Required[str]
    seq: int
    text: str
    start: int
    count: int
    length: int
    start_s: float | None
    end_s: float | None
    audio_s: float
    compute_s: float
    lag_s: float
    received_s: float
    received: int
    backlog_s: float
    load: float
    rtf: float
    reason: str
    transcript: str
    model: str
    policy: str
    chunk_ms: int
    source: str | None
    target: str | None


class Ledger:
    """A sink that keeps what a client that has seen every message shows; used on one thread."""

    def __init__(self) -> None:
        self.transcript = ""
        self.writes = 0
        self.reason = "end"
        """Why the stream ends, for its last message."""
        self._shown = Shown()
        self._track = CueTrack()
        self._json_lines: list[str] = []
        self._messages: list[Message] = []

    @property
    def text(self) -> str:
        return self._shown.text

    def hear(self, transcript: str) -> None:
        """Take the source text so far."""
        if transcript != self.transcript:
            start = common_prefix(self.transcript, transcript)
            self.transcript = transcript
            self._messages.append({"type": "transcript", "start": start, "text": transcript[start:]})

    def handle(self, event: SinkEvent) -> None:
        if isinstance(event, EndEvent):
            self._end(event)
        elif isinstance(event, WriteEvent):
            self._write(event)

    def close(self) -> None: ...

    def take(self) -> list[Message]:
        """Messages since the last call, in the order in which a client applies them."""
        messages, self._messages = self._messages, []
        return messages

    def cues(self) -> list[Cue]:
        """The text so far as subtitles."""
        return self._track.cues()

    def export(self, kind: str) -> str:
        """The text so far as srt, vtt, txt or jsonl."""
        if kind == "srt":
            return to_srt(self._track.cues())
        if kind == "vtt":
            return to_vtt(self._track.cues())
        if kind == "jsonl":
            return "".join(self._json_lines)
        return SentenceLines().feed(self.text) + "\n"

    def _write(self, event: WriteEvent) -> None:
        self._note(event.to_json())
        self._track.write(event)
        start = self._shown.take(event)
        audio_s = round(event.audio_s, 3)
        if event.retract:
            self._messages.append({"type": "retract", "count": event.retract, "length": start, "audio_s": audio_s})
        if event.text:
            self.writes += 1
            write = Message(type="write", text=event.text, start=start, audio_s=audio_s)
            write |= {"start_s": _rounded(event.start_s), "end_s": _rounded(event.end_s)}
            self._messages.append({**write, "compute_s": round(event.compute_s, 3)})

    def _end(self, event: EndEvent) -> None:
        self._note(event.to_json() | {"text": self.text})
        end = Message(type="end", text=self.text, audio_s=round(event.audio_s, 3))
        self._messages.append({**end, "rtf": round(event.rtf, 4), "reason": self.reason})

    def _note(self, line: Mapping[str, object]) -> None:
        self._json_lines.append(json.dumps(line, ensure_ascii=False) + "\n")


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
