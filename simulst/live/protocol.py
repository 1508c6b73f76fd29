"""The websocket protocol of `simulst live`, version 1.

One connection to `/ws` carries one stream at a time. Text messages are JSON objects with a `type`, binary messages are
audio. Times are seconds on the audio clock of the stream; `audio_s` is the audio that has been decided on. Positions in
text count Unicode code points, not UTF-16 units.

**From the client**

- `hello` opens a stream: `version` (1), `sample_rate` (1000 to 768000), `format` (`s16le` or `f32le`), `channels` (1 to
  8, interleaved; default 1), and where wanted `model`, `policy` (names from `GET /config`), `chunk_ms`, `source` and
  `target` (language codes from `GET /config`), `task` (`translate` or `transcribe`), `targets` instead of the latter
  two (a list of up to 8 codes: one stream written in each of them, see below), `pace` (`live`: recorded in real time,
  the server may skip decisions to catch up; `file`: sent as fast as the server takes it, nothing is skipped),
  `glossary` (a text of at most 8000 characters, a source, a tab and its target on each line, used instead of the
  server's; of several targets, for the first), `hypotheses` and `transcript` (false leaves those events out),
  `append_only` (true refuses policies that take text back), `channel` (a name, for watchers), `captions` (see below)
  and `token` where the server asks for one.
- Binary messages: whole interleaved frames in that format, at most 1 MiB each. The server stops reading while more
  than 30 s of audio wait, so a sender that respects TCP back-pressure loses nothing. It answers no ping meanwhile, so a
  library that breaks off without answers to pings of its own must be told not to.
- `switch`: `model`, `policy`, `chunk_ms`, `source`, `target`, `task`, `glossary` ("": that of the server), each
  optional: from here on the stream is translated so; where only languages or the task are named, a model is chosen
  that does them. What was heard is translated to its end first; text, times and exports continue. Answered by
  `switched`.
- `end`: no more audio; the rest is translated, then the server sends `end`. Then `hello` may open another stream.
- `resume` instead of `hello`, on a new connection: `session` (from `ready`), `seq` (the last one seen; with several
  targets an object that has it for each), `token`. The server answers `resumed` with `received`, the number of sample
  frames it holds; the client sends on from there.
- `watch` instead of `hello`: `channel`, `target` (which of several is followed, by default the first), `token`. The
  connection only receives, one stream after another, each opened by `ready` without `session`; instead of a stream that
  has no such target it gets the error `unknown_target` and waits for the next.
- `export`: `format` (`srt`, `vtt`, `txt`, `jsonl`), `target` (by default the first); answered by `export` with `format`
  and `text`, also after the end.
- `ping` is answered by `pong` with the same `id`; it keeps a connection open that sends no audio. Where all places are
  taken and somebody else says `hello`, the stream that has got no audio for longest, and for `--idle-s` at least, ends.

**From the server**

Events that matter for the text carry `seq`, which counts 1, 2, 3, ... without gaps in each stream:

- `write`: `text` is appended at `start`, the length of the text before it; `audio_s`, `lag_s` (seconds from the arrival
  of the source words to this event), `start_s` and `end_s` (time of the source words, null where unknown), `compute_s`.
- `retract`: the last `count` code points go, `length` stay; with `audio_s`. A `write` of their replacement may follow.
- `transcript`: recognised source text; `text` replaces everything from `start` on.
- `switched`: from here on `model`, `policy`, `chunk_ms`, `source` and `target` are these.
- `end`: the stream is over; `text` is all of it, with `audio_s`, `rtf`, and `reason`: `end`, `shutdown`, or `idle`
  where no audio came and somebody else needed the place.

Events without `seq` replace the last of their kind, and a slow reader may miss some:

- `hypothesis`: `text` is the unstable continuation, to be shown grey; with `audio_s`.
- `lag`: `audio_s`, `received_s` and `received` (audio taken, in seconds and in sample frames), `backlog_s` (taken but
  not decided on), `lag_s` (of the last write), `load` (computing time per second of audio).

A client rebuilds its state by applying events in the order of `seq`; after a gap it reconnects with `resume`. Events
that the server no longer holds come as one `snapshot` with `seq`, `text` and `transcript`.

**Several targets.** A stream that was opened with `targets` has the events of as many streams, each as it would be with
that target alone: `write`, `retract`, `transcript`, `switched`, `hypothesis`, `snapshot`, `end` and `export` carry
`target`, and `seq` and `start` count in each target by itself. `ready` names all `targets`, its `target` is the first;
`seq` in `resumed` is an object. The stream is over with the `end` of every target. `switch` may change `model`,
`policy`, `chunk_ms` and `source`, not the targets. Who watches sees a stream with one target.

**Captions.** A stream with `captions` (true) in its `hello` sends what it commits to the caption services of a server
that was started with `--caption`; `captions` in `GET /config` lists their kinds. One stream has them at a time, until
it is over and all is sent; another that asks, or asks where there are none, gets the error `no_captions` and goes on.

Besides:

- `ready`, the answer to `hello`: `version`, `session`, `model`, `policy`, `chunk_ms`, `source`, `target` (null where
  the model does not tell, "" for a source that it guesses and for a target that is the guessed source),
  `sample_rate`, `channel`.
- `resumed`, the answer to `resume`: `session`, `seq`, `received`.
- `watching`, the answer to `watch`: `channel`.
- `export`: `format`, `text`.
- `pong`: `id`.
- `snapshot`: `seq`, `text`, `transcript`.
- `error`: `code`, `message` (one sentence), `fatal`. After a fatal error the server closes the connection with the code
  that `CLOSE_CODES` names; where something was translated it still exports it for two seconds.

An `export`, a `snapshot` and an `end` are as long as what was said: an hour of `jsonl` passes 1 MiB, which is all that
many libraries take in one message unless told otherwise.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal, TypedDict, TypeGuard

from simulst.audio.resample import MAX_RATE_HZ, MIN_RATE_HZ
from simulst.core.glossary import Glossary, parse_glossary
from simulst.core.languages import Wanted
from simulst.errors import GlossaryError

VERSION = 1
SAMPLE_BYTES = {"s16le": 2, "f32le": 4}
MAX_AUDIO_BYTES = 1 << 20
MAX_CONTROL_BYTES = 1 << 14
MAX_CHANNELS = 8
MAX_GLOSSARY_CHARACTERS = 8000
CHUNK_MS = (40, 30_000)
MAX_TARGETS = 8
EXPORTS = ("srt", "vtt", "txt", "jsonl")

CLOSE_CODES = {
    "bad_message": 4400,
    "bad_version": 4400,
    "bad_rate": 4400,
    "bad_format": 4400,
    "bad_value": 4400,
    "odd_bytes": 4400,
    "bad_samples": 4400,
    "not_started": 4400,
    "unknown_model": 4404,
    "unknown_policy": 4404,
    "unknown_language": 4404,
    "unknown_session": 4404,
    "unauthorised": 4401,
    "too_large": 4413,
    "rate_limited": 4429,
    "busy": 1013,
    "hello_timeout": 4408,
    "idle_timeout": 4408,
    "taken_over": 4409,
    "stalled": 1011,
    "internal": 1011,
    "shutting_down": 1012,
}
"""Codes of fatal errors and the websocket close codes that follow them."""


class Names(TypedDict):
    """What clients are told about how a stream is translated; languages are None where the model does not tell."""

    model: str
    policy: str
    chunk_ms: int
    source: str | None
    target: str | None


NOT_FATAL = ("already_started", "already_ended", "unknown_export", "unknown_target", "no_captions", "nothing_to_export")


class ProtocolError(Exception):
    """A message that cannot be served; `code` is a key of CLOSE_CODES or one of NOT_FATAL."""

    def __init__(self, code: str, message: str, *, fatal: bool | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.fatal = code not in NOT_FATAL if fatal is None else fatal

    def to_json(self) -> dict[str, object]:
        return {"type": "error", "code": self.code, "message": str(self), "fatal": self.fatal}


@dataclass(frozen=True, kw_only=True)
class Hello:
    """A checked `hello`; None means the server's default."""

    sample_rate: int
    format: Literal["s16le", "f32le"]
    channels: int = 1
    model: str | None = None
    policy: str | None = None
    chunk_ms: int | None = None
    pace: Literal["live", "file"] = "live"
    hypotheses: bool = True
    transcript: bool = True
    channel: str = ""
    wanted: Wanted = field(default_factory=Wanted)
    """The languages that are asked for."""
    targets: tuple[str, ...] = ()
    """Languages to write side by side; none: the one that is wanted."""
    captions: bool = False
    """What is committed goes to the captions of the server too."""
    glossary: Glossary | None = None
    """Terms to favour; None: those of the server."""
    append_only: bool = False
    """No policy that takes text back; asked for by interfaces that could not show it."""

    @property
    def frame_bytes(self) -> int:
        return SAMPLE_BYTES[self.format] * self.channels


def read_switch(message: dict[str, object], hello: Hello) -> Hello:
    """The stream's `hello` with what a `switch` message changes. Raises ProtocolError."""
    if (targets := _read_targets(message)) not in ((), hello.targets):
        raise ProtocolError("bad_value", f"A stream keeps its targets; a new one can have {', '.join(targets)}.")
    chunk_ms = _read_chunk(message)
    glossary = _read_glossary(message) if "glossary" in message else hello.glossary
    policy = read_name(message, "policy") or hello.policy
    changed = replace(hello, policy=policy, chunk_ms=chunk_ms, glossary=glossary)
    model, wanted = read_name(message, "model"), _read_wanted(message)
    if model is None and wanted == Wanted():
        return changed
    if hello.targets and (wanted.target or wanted.task):
        raise ProtocolError("bad_value", f"A stream into {', '.join(hello.targets)} keeps its targets.")
    source = wanted.source if model or wanted.source else hello.wanted.source
    return replace(changed, model=model, wanted=replace(wanted, source=source))


def read_message(text: str) -> dict[str, object]:
    """A control message as a dict with a text `type`. Raises ProtocolError."""
    if len(text) > MAX_CONTROL_BYTES:
        raise ProtocolError("too_large", f"A control message has at most {MAX_CONTROL_BYTES} characters.")
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        raise ProtocolError("bad_message", "Text messages must be JSON; audio goes into binary messages.") from None
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise ProtocolError("bad_message", "A message must be a JSON object with a type.")
    return message


def read_hello(message: dict[str, object]) -> Hello:
    """Check a `hello` message. Raises ProtocolError."""
    if message.get("version") != VERSION:
        raise ProtocolError("bad_version", f"This server speaks version {VERSION} of the protocol.")
    rate = message.get("sample_rate")
    if not _whole(rate, MIN_RATE_HZ, MAX_RATE_HZ):
        raise ProtocolError(
            "bad_rate",
            f"sample_rate must be a whole number from {MIN_RATE_HZ} to {MAX_RATE_HZ} Hz, not {_short(rate)}.",
        )
    form, pace = message.get("format"), message.get("pace", "live")
    if form != "s16le" and form != "f32le":
        raise ProtocolError("bad_format", f"format must be s16le or f32le, not {_short(form)}.")
    channels = message.get("channels", 1)
    if not _whole(channels, 1, MAX_CHANNELS):
        raise ProtocolError("bad_format", f"channels must be a whole number from 1 to {MAX_CHANNELS}.")
    chunk_ms = _read_chunk(message)
    if pace != "live" and pace != "file":
        raise ProtocolError("bad_value", "pace must be live or file.")
    wanted, targets = _read_wanted(message), _read_targets(message)
    if targets and (wanted.target or wanted.task):
        raise ProtocolError("bad_value", "targets cannot stand beside target or task; leave those out.")
    return Hello(
        sample_rate=rate,
        format=form,
        channels=channels,
        model=read_name(message, "model"),
        policy=read_name(message, "policy"),
        chunk_ms=chunk_ms,
        pace=pace,
        hypotheses=message.get("hypotheses", True) is not False,
        transcript=message.get("transcript", True) is not False,
        channel=read_name(message, "channel") or "",
        wanted=wanted,
        targets=targets,
        captions=message.get("captions") is True,
        glossary=_read_glossary(message),
        append_only=message.get("append_only") is True,
    )


def read_name(message: dict[str, object], key: str) -> str | None:
    """A short text value, None where it is missing. Raises ProtocolError."""
    value = message.get(key)
    if value is None:
        return None
    if not isinstance(value, str) or not 0 < len(value) <= 200:
        raise ProtocolError("bad_value", f"{key} must be a text of 1 to 200 characters.")
    return value


def read_count(message: dict[str, object], key: str) -> int:
    """A whole number of 0 or more. Raises ProtocolError."""
    value = message.get(key, 0)
    if not _whole(value, 0, 1 << 53):
        raise ProtocolError("bad_value", f"{key} must be a whole number of 0 or more.")
    return value


def read_positions(message: dict[str, object]) -> Callable[[str], int]:
    """The `seq` that was seen last, by target; one number is that of every target. Raises ProtocolError."""
    given = message.get("seq", 0)
    if not isinstance(given, dict):
        count = read_count(message, "seq")
        return lambda target: count
    counts = {target: read_count(given, target) for target in given}
    return lambda target: counts.get(target, 0)


def _read_targets(message: dict[str, object]) -> tuple[str, ...]:
    """Different language codes, none where the message does not name any. Raises ProtocolError."""
    given = message.get("targets")
    if given is None:
        return ()
    found = [one for one in given if isinstance(one, str) and 0 < len(one) <= 200] if isinstance(given, list) else []
    if not (isinstance(given, list) and 1 <= len(given) <= MAX_TARGETS and len(set(found)) == len(given)):
        raise ProtocolError("bad_value", f"targets must be a list of 1 to {MAX_TARGETS} different language codes.")
    return tuple(found)


def _read_wanted(message: dict[str, object]) -> Wanted:
    """The languages that a message asks for. Raises ProtocolError."""
    task = message.get("task")
    if task not in (None, "translate", "transcribe"):
        raise ProtocolError("bad_value", "task must be translate or transcribe.")
    return Wanted(source=read_name(message, "source"), target=read_name(message, "target"), task=task)


def _read_glossary(message: dict[str, object]) -> Glossary | None:
    """The terms of a message, None where there are none. Raises ProtocolError."""
    text = message.get("glossary")
    if text is None or text == "":
        return None
    if not isinstance(text, str) or len(text) > MAX_GLOSSARY_CHARACTERS:
        raise ProtocolError(
            "bad_value",
            f"glossary must be a text of at most {MAX_GLOSSARY_CHARACTERS} characters, a term on each line.",
        )
    try:
        return parse_glossary(text, where="glossary")
    except GlossaryError as error:
        raise ProtocolError("bad_value", str(error)) from None


def _read_chunk(message: dict[str, object]) -> int | None:
    chunk_ms = message.get("chunk_ms")
    if chunk_ms is None or _whole(chunk_ms, *CHUNK_MS):
        return chunk_ms
    raise ProtocolError("bad_value", f"chunk_ms must be a whole number from {CHUNK_MS[0]} to {CHUNK_MS[1]}.")


def _whole(value: object, low: int, high: int) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _short(value: object) -> str:
    return json.dumps(value)[:40]
