"""OpenAI's realtime translation (`/v1/realtime/translations`): its events as messages of our protocol, and back.

Base64 of 24 kHz mono PCM16 comes in, transcript deltas that only append go out; the connection behind is that of every
stream, with its limits.
"""

import asyncio
import base64
import binascii
import itertools
import json
import secrets
from collections.abc import Mapping
from typing import Any

from websockets.asyncio.server import ServerConnection

from simulst.live.openai.ahead import ReadAhead
from simulst.live.openai.deltas import StableWords
from simulst.live.openai.errors import described, status_of
from simulst.live.protocol import VERSION, ProtocolError
from simulst.live.track import dump

SAMPLE_RATE = 24_000
NEVER_S = 253_402_300_799
"""The year 9999: a session does not expire."""
QUERY = ("model", "policy", "chunk_ms", "source", "target", "task", "pace")
_CHANGED = ("policy", "chunk_ms", "source", "task", "model", "glossary")
"""Keys of our own that `session.update` takes."""
EVENTS = ("session.update", "session.input_audio_buffer.append", "session.close")

Message = dict[str, Any]


class Realtime:
    """A connection as `Connection` takes it, whose client speaks OpenAI's events.

    `query` are the parameters of the address: `model`, and of our own `policy`, `chunk_ms`, `source`, `target`, `task`
    and `pace` (file, the default: nothing is skipped).
    """

    def __init__(self, socket: ServerConnection, query: Mapping[str, str], token: str) -> None:
        self._socket = socket
        self._ahead = ReadAhead(socket)
        self._greeting: Message | None = self._hello(query, token)
        self._event_id: str | None = None
        self._numbers = itertools.count(1)
        self._session: Message = {}
        self._transcribing: Message | None = None
        self._asked: Message | None = None
        """The transcription that an update asks for, until it is granted."""
        self._length = 0
        self._words = StableWords()
        self._audio_ms = 0
        self._over = False
        """`session.closed` was sent."""
        self._failed = False
        """A fatal error was sent."""

    @property
    def transport(self) -> asyncio.Transport:
        return self._socket.transport

    @staticmethod
    def _hello(query: Mapping[str, str], token: str) -> Message:
        hello: Message = {"type": "hello", "version": VERSION, "sample_rate": SAMPLE_RATE, "format": "s16le"}
        chosen: Message = {key: query[key] for key in QUERY if query.get(key)}
        if (chunk_ms := chosen.get("chunk_ms", "")).isdigit():
            chosen["chunk_ms"] = int(chunk_ms[:9])
        return {**hello, "pace": "file", **chosen, "hypotheses": False, "append_only": True, "token": token}

    async def recv(self) -> str | bytes:
        """The next message of our protocol. Raises ProtocolError for an event that means none."""
        if self._greeting is not None:
            hello, self._greeting = self._greeting, None
            return dump(hello)
        while self._over:
            await self._ahead.take()  # until it is closed
        if self._failed:
            raise ProtocolError("already_ended", "The session is over.", fatal=True)
        data = await self._ahead.take()
        self._event_id = None
        event = _read_event(data)
        given = event.get("event_id")
        self._event_id = given[:512] if isinstance(given, str) else None
        return self._translated(event)

    def _translated(self, event: Message) -> str | bytes:
        match event["type"]:
            case "session.input_audio_buffer.append":
                return _audio(event.get("audio"))
            case "session.update":
                return dump(self._switch(event.get("session")))
            case "session.close":
                return '{"type":"end"}'
        raise _mistake(f"The type {event['type'][:40]!r} is unknown; known are {', '.join(EVENTS)}.")

    def _switch(self, session: object) -> Message:
        """What a `session.update` asks of the stream; nothing but its answer where only the transcript changes."""
        switch = _read_update(session)
        self._asked = switch.pop("transcription", self._transcribing)
        if switch.get("target") == self._session.get("target") and switch.keys() == {"target"}:
            switch = {}
        return {"type": "switch", **switch} if switch else {"type": "ping", "id": 0}

    async def send(self, text: str, /) -> None:
        """Send a message of our protocol as events. Raises ConnectionClosed."""
        message = json.loads(text)
        for event in self._events(message):
            await self._socket.send(dump({"event_id": f"event_{next(self._numbers)}", **event}))
        if message["type"] == "end":
            self._over = True
            await self._socket.close(1000)

    async def close(self, code: int, reason: str) -> None:
        await self._socket.close(code, reason)

    def _events(self, message: Message) -> list[Message]:
        match message["type"]:
            case "write" | "snapshot":
                return self._deltas(message)
            case "transcript":
                return self._heard(self._words.hear(message["start"], message["text"]))
            case "ready" | "switched" | "pong":
                return [self._configured(message)]
            case "end":
                return [*self._heard(self._words.finish()), {"type": "session.closed"}]
            case "error":
                self._failed = self._failed or message["fatal"]
                return [self._error(message)]
        return []

    def _deltas(self, message: Message) -> list[Message]:
        """New text; of a snapshot, which replaces events that a slow reader missed, what was not sent yet."""
        whole = message["type"] == "snapshot"
        delta = message["text"][self._length :] if whole else message["text"]
        self._length += len(delta)
        more: Message = {}
        if not whole:
            self._audio_ms = round(1000 * message["audio_s"])
            more = {"lag_ms": round(1000 * message["lag_s"])}
        timed = {"elapsed_ms": self._audio_ms, **more}
        return [{"type": "session.output_transcript.delta", "delta": delta, **timed}] if delta else []

    def _heard(self, words: str) -> list[Message]:
        if not words or self._transcribing is None:
            return []
        return [{"type": "session.input_transcript.delta", "delta": words, "elapsed_ms": self._audio_ms}]

    def _configured(self, message: Message) -> Message:
        first = message["type"] == "ready"
        if first:
            self._session = {"id": f"sess_{secrets.token_urlsafe(12)}"}
        else:
            self._transcribing = self._asked
        keys = ("model", "policy", "chunk_ms", "source", "target")
        self._session |= {key: message[key] for key in keys if key in message}
        return {"type": "session.created" if first else "session.updated", "session": self._shown()}

    def _shown(self) -> Message:
        target = self._session.pop("target", None)
        audio = {
            "input": {"transcription": self._transcribing, "noise_reduction": None},
            "output": {"language": target},
        }
        shown = {**self._session, "type": "translation", "expires_at": NEVER_S, "audio": audio}
        self._session["target"] = target
        return shown

    def _error(self, message: Message) -> Message:
        status = status_of(message["code"])
        return {
            "type": "error",
            "error": described(message["code"], message["message"], status, event_id=self._event_id),
        }


def _read_event(data: str | bytes) -> Message:
    if isinstance(data, bytes):
        raise _mistake("Audio comes as base64 in session.input_audio_buffer.append, not in binary messages.")
    try:
        event = json.loads(data)
    except (ValueError, RecursionError):
        event = None
    if not isinstance(event, dict) or not isinstance(event.get("type"), str):
        raise _mistake("An event must be a JSON object with a type.")
    return event


def _audio(encoded: object) -> bytes:
    try:
        data = base64.b64decode(encoded, validate=True) if isinstance(encoded, str) else None
    except (binascii.Error, ValueError):
        data = None
    if data is None:
        raise _mistake("audio must be base64 of 24 kHz mono PCM16.")
    if len(data) % 2:
        raise _mistake(f"audio must hold whole samples of 2 bytes, not {len(data)} bytes.")
    return data


def _read_update(session: object) -> Message:
    """The keys of a `switch`, and `transcription` where it is to change. Raises ProtocolError."""
    if not isinstance(session, dict):
        raise _mistake("session.update needs a session.")
    audio = _part(session, "audio", ("input", "output"))
    heard, said = _part(audio, "input", ("transcription", "noise_reduction")), _part(audio, "output", ("language",))
    found: Message = {key: session[key] for key in _CHANGED if key in session}
    known = {"type", "audio", *found}
    if unknown := [key for key in session if key not in known]:
        raise _mistake(f"session.{unknown[0][:40]} cannot be set here.")
    if session.get("type", "translation") != "translation":
        raise _mistake("session.type must be translation.")
    if heard.get("noise_reduction") is not None:
        raise _mistake("This server reduces no noise; leave noise_reduction out, or null.")
    if "transcription" in heard:
        found["transcription"] = _part(heard, "transcription", None) or None
    if said.get("language") is not None:
        found["target"] = said["language"]
    return found


def _part(whole: Message, key: str, known: tuple[str, ...] | None) -> Message:
    """An object within another, empty where it is missing. Raises ProtocolError."""
    part = whole.get(key)
    if part is None:
        return {}
    if not isinstance(part, dict):
        raise _mistake(f"{key} must be an object.")
    if known and (unknown := [name for name in part if name not in known]):
        raise _mistake(f"{key}.{unknown[0][:40]} cannot be set here.")
    return part


def _mistake(sentence: str) -> ProtocolError:
    return ProtocolError("invalid_value", sentence, fatal=False)
