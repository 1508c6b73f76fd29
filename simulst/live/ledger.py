"""The text of one live stream: session events in, protocol messages out, exports at any time."""

import json
from collections.abc import Sequence
from typing import Any

from simulst.core.events import EndEvent, WriteEvent
from simulst.core.prefix import common_prefix
from simulst.sinks.shown import Shown
from simulst.sinks.subtitles import CueTrack, to_srt, to_vtt
from simulst.sinks.text import SentenceLines

Message = dict[str, Any]


class Ledger:
    """Keeps what a client that has seen every message shows; used on one thread."""

    def __init__(self) -> None:
        self.transcript = ""
        self.writes = 0
        self._shown = Shown()
        self._track = CueTrack()
        self._json_lines: list[str] = []

    @property
    def text(self) -> str:
        return self._shown.text

    def enter(self, events: Sequence[WriteEvent | EndEvent], transcript: str, reason: str) -> list[Message]:
        """Messages for these events and a changed transcript, in the order in which a client applies them."""
        messages = self._transcript_messages(transcript)
        for event in events:
            messages += self._end(event, reason) if isinstance(event, EndEvent) else self._write(event)
        return messages

    def export(self, kind: str) -> str:
        """The text so far as srt, vtt, txt or jsonl."""
        if kind == "srt":
            return to_srt(self._track.cues())
        if kind == "vtt":
            return to_vtt(self._track.cues())
        if kind == "jsonl":
            return "".join(self._json_lines)
        return SentenceLines().feed(self.text) + "\n"

    def _write(self, event: WriteEvent) -> list[Message]:
        self._note(event.to_json())
        self._track.write(event)
        start = self._shown.take(event)
        messages: list[Message] = []
        audio_s = round(event.audio_s, 3)
        if event.retract:
            messages.append({"type": "retract", "count": event.retract, "length": start, "audio_s": audio_s})
        if event.text:
            self.writes += 1
            times = {"start_s": _rounded(event.start_s), "end_s": _rounded(event.end_s)}
            write = {"type": "write", "text": event.text, "start": start, "audio_s": audio_s, **times}
            messages.append({**write, "compute_s": round(event.compute_s, 3)})
        return messages

    def _end(self, event: EndEvent, reason: str) -> list[Message]:
        self._note(event.to_json() | {"text": self.text})
        end = {"audio_s": round(event.audio_s, 3), "rtf": round(event.rtf, 4), "reason": reason}
        return [{"type": "end", "text": self.text, **end}]

    def _note(self, line: Message) -> None:
        self._json_lines.append(json.dumps(line, ensure_ascii=False) + "\n")

    def _transcript_messages(self, text: str) -> list[Message]:
        if text == self.transcript:
            return []
        start = common_prefix(self.transcript, text)
        self.transcript = text
        return [{"type": "transcript", "start": start, "text": text[start:]}]


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
