"""The text of one live stream: session events in, protocol messages out, exports at any time."""

import json
from collections.abc import Sequence
from typing import Any

from simulst.core.events import EndEvent, WriteEvent
from simulst.sinks.subtitles import CueTrack, to_srt, to_vtt
from simulst.sinks.writers import SentenceLines

Message = dict[str, Any]


class Ledger:
    """Keeps what a client that has seen every message shows; used on one thread."""

    def __init__(self) -> None:
        self.text = ""
        self.transcript = ""
        self.writes = 0
        self._track = CueTrack()
        self._json_lines: list[str] = []

    def enter(self, events: Sequence[WriteEvent | EndEvent], transcript: str, reason: str) -> list[Message]:
        """Messages for these events and a changed transcript, in the order in which a client applies them."""
        messages = self._transcript_messages(transcript)
        for event in events:
            line = event.to_json() | ({"text": self.text} if isinstance(event, EndEvent) else {})
            self._json_lines.append(json.dumps(line, ensure_ascii=False) + "\n")
            if isinstance(event, EndEvent):
                end = {"audio_s": round(event.audio_s, 3), "rtf": round(event.rtf, 4), "reason": reason}
                messages.append({"type": "end", "text": self.text, **end})
            else:
                self._track.write(event)
                messages += self._write_messages(event)
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

    def _write_messages(self, event: WriteEvent) -> list[Message]:
        messages: list[Message] = []
        audio_s = round(event.audio_s, 3)
        if event.retract:
            self.text = self.text[: max(0, len(self.text) - event.retract)]
            messages.append({"type": "retract", "count": event.retract, "length": len(self.text), "audio_s": audio_s})
        if event.text:
            self.writes += 1
            times = {"start_s": _rounded(event.start_s), "end_s": _rounded(event.end_s)}
            write = {"type": "write", "text": event.text, "start": len(self.text), "audio_s": audio_s, **times}
            messages.append({**write, "compute_s": round(event.compute_s, 3)})
            self.text += event.text
        return messages

    def _transcript_messages(self, text: str) -> list[Message]:
        if text == self.transcript:
            return []
        start = _common(self.transcript, text)
        self.transcript = text
        return [{"type": "transcript", "start": start, "text": text[start:]}]


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


def _common(one: str, other: str) -> int:
    """Length of the common prefix, by halving: the texts are long and differ near their ends."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one.startswith(other[:middle]):
            low = middle
        else:
            high = middle - 1
    return low
