"""Captions posted to a server that misbehaves, and segments for HLS."""

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from simulst.core.events import EndEvent, ProgressEvent, SinkEvent, WriteEvent
from simulst.errors import SimulstError
from simulst.outputs import OutputError
from simulst.sinks import posting
from simulst.sinks.captions import open_captions
from simulst.sinks.hls import HlsCaptions
from simulst.sinks.posting import Patience, PostedCaptions
from simulst.sinks.teams import teams_captions
from simulst.sinks.webhook import webhook_captions
from simulst.sinks.zoom import zoom_captions
from simulst.testing.posts import posts, reply

SECRET = "very-secret-8271"
QUICK = Patience(timeout_s=0.3, first_s=0.01, longest_s=0.05, give_up_s=5.0)
SENTENCE = "Das ist ein Satz, der Wort für Wort kommt und am Ende ganz da sein muss."


@dataclass
class Meeting:
    """A caption server: does to each post what `script` says, then takes everything."""

    script: list[str] = field(default_factory=list)
    taken: list[tuple[str, dict[str, str], str]] = field(default_factory=list)
    tries: list[str] = field(default_factory=list)
    address: str = ""

    def do(self, handler: BaseHTTPRequestHandler, body: str) -> None:
        act = self.script.pop(0) if self.script else "200"
        self.tries.append(handler.path)
        if act == "hang":
            time.sleep(0.6)
        elif act == "reset":
            handler.connection.close()
            return
        elif act == "taken, not told":
            self.taken.append((handler.path, dict(handler.headers), body))
            handler.connection.close()
            return
        status = int(act) if act.isdigit() else 200
        if status == 200 and act != "hang":
            self.taken.append((handler.path, dict(handler.headers), body))
        with suppress(OSError):
            reply(handler, status, Location="/elsewhere")

    def number(self, handler: BaseHTTPRequestHandler, _: str) -> None:
        """Zoom's, of the caption that came last."""
        if not urlsplit(handler.path).path.endswith("/seq"):
            self.tries.append(f"GET {handler.path}")
        reply(handler, 200, b"41")


@pytest.fixture
def meeting() -> Iterator[Meeting]:
    one = Meeting()
    with posts(one.do, one.number) as address:
        one.address = f"{address}/captions?token={SECRET}"
        yield one


def said(text: str = SENTENCE, every_s: float = 0.32) -> Iterator[SinkEvent]:
    """A stream that commits a word at a time."""
    audio_s = 0.0
    for word in re.findall(r"\s*\S+", text):
        audio_s += every_s
        yield WriteEvent(text=word, audio_s=audio_s, wall_s=audio_s)
        yield ProgressEvent(step=1, audio_s=audio_s, wall_s=audio_s, compute_s=0.0)
    yield EndEvent(text=text, audio_s=audio_s, wall_s=audio_s, rtf=0.1)


def send(sink: Any, events: Iterator[SinkEvent], pause_s: float = 0.0) -> None:
    for event in events:
        sink.handle(event)
        time.sleep(pause_s)
    sink.close()


BEHAVIOURS = [
    [],
    ["500", "503", "500"],
    ["400", "403", "404"],
    ["hang"],
    ["reset", "reset", "200", "reset"],
    ["302", "307"],
    ["200", "500", "hang", "reset", "200", "429"],
]


@pytest.mark.slow
@pytest.mark.parametrize("script", BEHAVIOURS)
@pytest.mark.parametrize("kind", [teams_captions, zoom_captions, webhook_captions])
def test_every_word_arrives_once_and_in_order(
    meeting: Meeting, script: list[str], kind: Callable[..., PostedCaptions]
) -> None:
    meeting.script = list(script)
    told: list[str] = []
    send(kind(meeting.address, told.append, QUICK), said(), 0.001)
    texts = [json.loads(body)["text"] if kind is webhook_captions else body for _, _, body in meeting.taken]
    assert "".join(texts) == SENTENCE
    assert not [path for path in meeting.tries if path.startswith(("GET", "/elsewhere"))]
    assert len(told) <= 3 and not any(SECRET in sentence for sentence in told)
    assert bool(told) == bool(script)


def test_zoom_numbers_go_on_after_those_of_the_meeting_and_stay_in_a_retry(meeting: Meeting) -> None:
    meeting.script = ["200", "500", "taken, not told", "200"]
    send(zoom_captions(meeting.address, lambda _: None, QUICK), said(), 0.01)
    numbers = [int(parse_qs(urlsplit(path).query)["seq"][0]) for path in meeting.tries]
    assert numbers[:5] == [42, 43, 43, 43, 44]
    assert sorted(set(numbers)) == list(range(42, max(numbers) + 1))
    _, headers, _ = meeting.taken[0]
    assert headers["Content-Type"] == "text/plain; charset=utf-8"


def test_a_webhook_gets_a_token_and_numbers(meeting: Meeting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIMULST_WEBHOOK_TOKEN", "bearer-secret")
    send(webhook_captions(meeting.address, lambda _: None, QUICK), said(), 0.005)
    posts = [json.loads(body) for _, _, body in meeting.taken]
    assert [post["seq"] for post in posts] == list(range(1, len(posts) + 1))
    assert len({post["stream"] for post in posts}) == 1
    assert all(headers["Authorization"] == "Bearer bearer-secret" for _, headers, _ in meeting.taken)


def test_a_dead_address_costs_neither_time_nor_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(posting, "FLUSH_S", 0.2)
    monkeypatch.setattr(posting, "MAX_WAITING", 1_000)
    told: list[str] = []
    sink = teams_captions(f"http://127.0.0.1:9/?token={SECRET}", told.append, QUICK)
    begin = time.monotonic()
    text = " ".join(f"word{number}" for number in range(2_000))
    for event in said(text):
        sink.handle(event)
    assert time.monotonic() - begin < 5
    poster = sink._poster
    assert sum(map(len, poster._waiting)) <= 1_000 and len(poster._waiting) < 20
    sink.close()
    assert told[0] == "Teams (127.0.0.1) does not take captions (no connection); it is asked again."
    assert told[-1] == f"Teams (127.0.0.1) did not take {len(text)} characters of the captions."


def test_text_that_is_taken_back_is_not_sent_before_it_is_final(meeting: Meeting) -> None:
    def revising() -> Iterator[SinkEvent]:
        yield WriteEvent(text="Ein Hund", audio_s=1.0, wall_s=1.0, settled=4)
        yield ProgressEvent(step=1, audio_s=1.0, wall_s=1.0, compute_s=0.0, settled=4)
        yield WriteEvent(text="Kind lacht", retract=4, audio_s=2.0, wall_s=2.0, settled=4)
        yield EndEvent(text="Ein Kind lacht", audio_s=2.0, wall_s=2.0, rtf=0.1)

    send(teams_captions(meeting.address, lambda _: None, QUICK), revising())
    assert "".join(body for _, _, body in meeting.taken) == "Ein Kind lacht"


@pytest.mark.parametrize(
    "spec", ["zoom", "zoom=", "fax=http://x", f"teams=ftp://x/{SECRET}", f"webhook=http://[{SECRET}", f"{SECRET}"]
)
def test_a_place_that_is_none_is_named_without_its_secret(spec: str) -> None:
    with pytest.raises(SimulstError, match=r"^--caption .*\.$") as error:
        open_captions(spec, print)
    assert SECRET not in str(error.value)


def test_hls_segments_hold_every_cue_in_the_segment_of_its_time(tmp_path: Path) -> None:
    text = " ".join(f"Satz {number} ist kurz und hat ein Ende." for number in range(40))
    sink = HlsCaptions(str(tmp_path / "hls"))
    published: list[int] = []
    for event in said(text):
        sink.handle(event)
        published.append(len(list((tmp_path / "hls").glob("*.vtt"))))
        assert not isinstance(event, ProgressEvent) or published[-1] <= max(0, event.audio_s - 7) / 6
    assert max(published) > 5
    assert "#EXT-X-ENDLIST" not in (tmp_path / "hls/captions.m3u8").read_text()
    sink.close()
    playlist = (tmp_path / "hls/captions.m3u8").read_text().splitlines()
    names = [line for line in playlist if line.endswith(".vtt")]
    assert playlist[-1] == "#EXT-X-ENDLIST" and names == sorted(path.name for path in (tmp_path / "hls").glob("*.vtt"))
    words: list[str] = []
    for number, name in enumerate(names):
        segment = (tmp_path / "hls" / name).read_text()
        assert segment.startswith("WEBVTT\nX-TIMESTAMP-MAP=")
        for block in segment.split("\n\n")[1:]:
            if not block:
                continue
            times, *lines = block.split("\n")
            minutes, seconds = re.findall(r":(\d\d):(\d\d\.\d+) -->", times)[0]
            start_s = 60 * int(minutes) + float(seconds)
            assert start_s < 6 * (number + 1)
            if start_s >= 6 * number:  # a cue that reaches over a border stands in both
                words += " ".join(lines).split()
    assert words == text.split()


def test_a_folder_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"file/hls cannot be written: not a directory\.$"):
        HlsCaptions(str(tmp_path / "file" / "hls"))
