"""The protocol's own rules, and its document."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from simulst.core.languages import Wanted
from simulst.live import protocol
from simulst.live.hub import HAND_ON_S, Limits
from simulst.live.pool import Pool
from simulst.live.protocol import CLOSE_CODES, Hello, ProtocolError, read_hello, read_message, read_switch
from simulst.live.server import FLUSH_S
from simulst.live.stream import MAX_PENDING_S
from simulst.testing import ToyTranslator, toy_audio
from simulst.testing.scripted import ToyVocabulary

NOTES = [3, 14, 15, 9, 26, 30, 5, 35, 8, 9, 10, 7]
ROOT = Path(__file__).parents[2]
HELLO = {"type": "hello", "version": 1, "sample_rate": 16_000, "format": "s16le"}


def test_the_document_is_the_docstring() -> None:
    document = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
    assert protocol.__doc__ is not None
    assert protocol.__doc__.split("\n\n", 1)[1].strip() in document
    for code, number in CLOSE_CODES.items():
        assert f"| `{code}` | {number} |" in document


def documented(part: str) -> dict[str, set[str]]:
    """Names in the bullets of one part of the document: message type -> everything else that is set in code type."""
    assert protocol.__doc__ is not None
    text = protocol.__doc__.split(f"**{part}**")[1].split("**From")[0]
    bullets = (re.findall(r"`(\w+)`", bullet) for bullet in re.split(r"\n+- |\n\n", text) if bullet.startswith("`"))
    return {names[0]: set(names[1:]) - {names[0]} for names in bullets}


def test_the_document_names_every_message_and_field(serve: Callable[..., Any], client: Callable[..., Any]) -> None:
    """All messages of a stream that is switched, watched, resumed by a client that claims too much, and exported."""
    server = serve()
    first, second, watcher = client(server), client(server), client(server)
    watcher.say(type="watch", channel="c")
    session = first.hello(channel="c", policy="retranslation", chunk_ms=160)["session"]
    first.audio(toy_audio(NOTES))
    first.say(type="switch", policy="wait_k")
    first.until("switched")
    second.say(type="resume", session=session, seq=1_000_000)
    second.until("snapshot")
    second.audio(toy_audio(NOTES))
    second.say(type="ping", id=1)
    second.finish()
    second.say(type="export", format="srt")
    second.until("export")
    second.say(type="export", format="doc")
    second.until("error")
    watcher.until("end")
    assert first.until("error")["code"] == "taken_over"
    seen: dict[str, set[str]] = {}
    for message in [*first.seen, *second.seen, *watcher.seen]:
        seen.setdefault(message["type"], set()).update(set(message) - {"type", "seq"})
    answers = documented("From the server")
    answers["end"] -= {"shutdown", "idle"}  # values
    answers["retract"] -= {"write"}  # what may follow
    answers = {kind: fields - {"seq"} for kind, fields in answers.items()}
    answers["ready"] -= {"hello"}
    answers["resumed"] -= {"resume"}
    answers["watching"] -= {"watch"}
    answers["error"] -= {"CLOSE_CODES"}
    assert seen == answers


def test_the_limits_in_the_document_are_those_of_the_code() -> None:
    document = (ROOT / "docs" / "live.md").read_text(encoding="utf-8")
    limits = Limits(max_clients=1000)
    for row in (
        f"| audio that waits in one stream | {MAX_PENDING_S:g} s, ",
        f"| {protocol.MAX_AUDIO_BYTES >> 20} MiB, {protocol.MAX_CONTROL_BYTES >> 10} KiB |",
        f"| {limits.control_per_s:g} control messages a second ",
        f"{limits.audio_messages_per_s:g} of audio;",
        f"`--max-clients` + {limits.max_connections - 4000}, ",
        f"| until the first message | {limits.hello_s:g} s |",
        f"| cut off after {limits.send_s:g} s |",
        f"| {Pool(0).patience_s:g} s, then its stream is given up ",
        f"| {FLUSH_S:g} s to translate what was heard, {HAND_ON_S:g} s to hand it on |",
        f"| `--max-clients {Limits().max_clients}` |",
        f"| `--idle-s {limits.idle_s:g}` |",
        f"keeps its place for {limits.resume_s:g} seconds",
    ):
        assert row in document


def test_the_document_names_every_field_of_a_hello() -> None:
    fields = {*Hello.__dataclass_fields__, *Wanted.__dataclass_fields__, "version", "token"} - {"wanted"}
    words = documented("From the client")["hello"]
    assert words - {"s16le", "f32le", "live", "file", "translate", "transcribe"} == fields


def test_a_hello_has_defaults() -> None:
    assert read_hello(HELLO) == Hello(sample_rate=16_000, format="s16le")
    assert read_hello(HELLO | {"channels": 2}).frame_bytes == 4


def test_a_switch_changes_what_it_names() -> None:
    hello = read_hello(HELLO | {"model": "a", "policy": "wait_k", "chunk_ms": 320})
    changed = read_switch({"type": "switch", "policy": "offline"}, hello)
    assert (changed.model, changed.policy, changed.chunk_ms) == ("a", "offline", None)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


@pytest.mark.slow
@given(st.dictionaries(st.sampled_from([*Hello.__dataclass_fields__, "version", "token"]), JSON))
def test_any_hello_is_taken_or_named(changes: dict[str, object]) -> None:
    try:
        hello = read_hello(HELLO | changes)
    except ProtocolError as error:
        assert error.code in CLOSE_CODES
        assert str(error).endswith(".")
    else:
        assert hello.frame_bytes in range(2, 33)


@given(st.text(max_size=30))
def test_any_text_is_a_message_or_named(text: str) -> None:
    try:
        assert isinstance(read_message(text)["type"], str)
    except ProtocolError as error:
        assert error.code == "bad_message"


@pytest.mark.slow
def test_the_example_is_short_and_runs(tmp_path: Path) -> None:
    example = ROOT / "examples" / "live_subtitles.py"
    assert len(example.read_text().splitlines()) <= 60
    code = (
        "import runpy, sys, simulst.models, simulst.testing as t, soundfile;"
        "simulst.models.load_model = lambda name: t.ToyTranslator();"
        "soundfile.write('talk.wav', t.toy_audio([3, 5, 7]), 16000, subtype='FLOAT');"
        f"sys.argv = ['x', 'talk.wav', 'out.srt']; runpy.run_path({str(example)!r}, run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out.srt").read_text().splitlines()[2] == "w3 w5 w7"
    assert "out.srt: 1 subtitles" in done.stdout
    missing = subprocess.run(
        [sys.executable, example, "no.wav", "out.srt"], cwd=tmp_path, capture_output=True, text=True
    )
    assert (missing.returncode, missing.stderr.split(":")[0]) == (1, "no.wav does not exist")


def example(name: str) -> str:
    """The first block of Python in a document."""
    document = (ROOT / "docs" / name).read_text(encoding="utf-8")
    return document.split("```python\n", 1)[1].split("```", 1)[0]


class Wordy(ToyVocabulary):
    """A minute of its words are as long as hours of others."""

    def decode(self, ids: Any) -> str:
        return super().decode(ids).replace("w", "w" + 5_800 * "o")


@pytest.mark.parametrize("minutes", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_the_client_in_the_document_runs(serve: Callable[..., Any], tmp_path: Path, minutes: int) -> None:
    """Word for word but for the address; its export may pass 1 MiB."""
    words = [int(word) for word in np.random.default_rng(0).integers(1, 61, minutes * 187 or 12)]
    soundfile.write(tmp_path / "talk.flac", toy_audio(words), 16_000, subtype="PCM_24")
    toy = ToyTranslator(vocabulary=Wordy(ToyTranslator().vocabulary.names[1:])) if minutes else ToyTranslator()
    address = serve(models={"toy": toy}).address.removeprefix("http://")
    code = example("protocol.md").replace("127.0.0.1:8765", address)
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    exported = (tmp_path / "talk.jsonl").read_text(encoding="utf-8")
    lines = [json.loads(line) for line in exported.splitlines()]
    assert done.stdout == "".join(line["text"] for line in lines[:-1]) == lines[-1]["text"]
    assert len(done.stdout.split()) == pytest.approx(len(words), rel=0.02)
    assert (len(exported) > 1 << 20) == bool(minutes)


@pytest.mark.parametrize("code", [*CLOSE_CODES, *protocol.NOT_FATAL])
def test_codes_say_whether_they_are_fatal(code: str) -> None:
    assert ProtocolError(code, "x.").fatal == (code in CLOSE_CODES)
