"""What OpenAI's audio interfaces answer: a finished stream as json, text, srt, vtt or verbose_json, or its events."""

import json
import re
from collections.abc import Iterator
from typing import Any

from simulst.live.catalogue import Catalogue
from simulst.live.hub import Place

KINDS = {
    "json": "application/json",
    "text": "text/plain; charset=utf-8",
    "srt": "text/plain; charset=utf-8",
    "vtt": "text/vtt; charset=utf-8",
    "verbose_json": "application/json",
    "stream": "text/event-stream; charset=utf-8",
}
FORMATS = ("json", "text", "srt", "vtt", "verbose_json")

Message = dict[str, Any]


def answer(form: str, place: Place, *, task: str, writes: list[Message] | None) -> tuple[bytes, str]:
    """The body and its type; `writes` are the events whose words are wanted with their times, None for no words."""
    ledger = place.stream.ledger
    if form in ("srt", "vtt"):
        body = ledger.export(form)
    elif form == "text":
        body = f"{ledger.text}\n"
    else:
        body = _dump(_verbose(place, task, writes) if form == "verbose_json" else _brief(place))
    return body.encode(), KINDS[form]


def _brief(place: Place) -> Message:
    return {"text": place.stream.ledger.text, "usage": _usage(place)}


def _usage(place: Place) -> Message:
    return {"type": "duration", "seconds": round(place.stream.audio_s, 3)}


def _verbose(place: Place, task: str, writes: list[Message] | None) -> Message:
    """Segments are the subtitles; figures of a decoder that works in segments are null."""
    unknown: Message = dict.fromkeys(("temperature", "avg_logprob", "compression_ratio", "no_speech_prob"))
    segments: list[Message] = [
        {
            "id": number,
            "seek": 0,
            "start": round(cue.start_s, 3),
            "end": round(cue.end_s, 3),
            "text": " ".join(cue.lines),
            "tokens": [],
            **unknown,
        }
        for number, cue in enumerate(place.stream.ledger.cues())
    ]
    words = {} if writes is None else {"words": _words(writes)}
    about = {"task": task, "language": place.names["target"] or "", "duration": round(place.stream.audio_s, 3)}
    return {**about, **_brief(place), "segments": segments, **words}


def _words(writes: list[Message]) -> list[Message]:
    """The words of the text with their times; what a write says to end a word belongs to it."""
    words: list[Message] = []
    for write in writes:
        new = list(_timed(write))
        if words and new and not write["text"][0].isspace():
            rest = new.pop(0)
            words[-1] |= {"word": words[-1]["word"] + rest["word"], "end": rest["end"]}
        words += new
    return words


def _timed(write: Message) -> Iterator[Message]:
    """The words of a write, which share its time by their length."""
    pieces = re.findall(r"\S+", write["text"])
    begin = write["start_s"] if write["start_s"] is not None else write["audio_s"]
    end = write["end_s"] if write["end_s"] is not None else write["audio_s"]
    total, before = sum(map(len, pieces)), 0
    for piece in pieces:
        after = before + len(piece)
        times = {"start": begin + (end - begin) * before / total, "end": begin + (end - begin) * after / total}
        yield {"word": piece, **{key: round(time_s, 3) for key, time_s in times.items()}}
        before = after


class StreamedText:
    """A stream's events as server-sent events of a transcription."""

    def __init__(self) -> None:
        self._length = 0

    def event(self, message: Message) -> bytes:
        """What a client is sent for one message of our protocol, often nothing."""
        if message["type"] not in ("write", "snapshot"):
            return b""
        delta = message["text"] if message["type"] == "write" else message["text"][self._length :]
        self._length += len(delta)
        return _event({"type": "transcript.text.delta", "delta": delta}) if delta else b""

    def done(self, place: Place) -> bytes:
        """The last event."""
        text = place.stream.ledger.text
        return _event({"type": "transcript.text.done", "text": text, "usage": _usage(place)})


def _event(message: Message) -> bytes:
    return f"data: {_dump(message)}\n\n".encode()


def _dump(message: Message) -> str:
    text = json.dumps(message, ensure_ascii=False)
    return text.encode("utf-8", "replace").decode("utf-8")


def listed(catalogue: Catalogue) -> list[Message]:
    """What `GET /v1/models` lists."""
    return [
        {"id": one["name"], "object": "model", "created": 0, "owned_by": "simulst", **one} for one in catalogue.listed()
    ]
