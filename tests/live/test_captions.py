"""Captions of a server: one stream at a time, in its language, however the receiver behaves."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from simulst.errors import SimulstError
from simulst.live import captions
from simulst.live.captions import Captions
from simulst.testing import toy_audio, toy_text
from simulst.testing.posts import posts, reply

pytestmark = pytest.mark.slow

WORDS = [3, 14, 15, 9, 26, 30, 5, 35, 8]
SECRET = "very-secret-8271"


@dataclass
class Receiver:
    """Takes posts after `wait_s`, the first ones with the statuses of `script`."""

    script: list[int] = field(default_factory=list)
    wait_s: float = 0.0
    texts: list[str] = field(default_factory=list)
    address: str = ""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    one = Receiver()

    def take(handler: BaseHTTPRequestHandler, body: str) -> None:
        time.sleep(one.wait_s)
        status = one.script.pop(0) if one.script else 200
        if status == 200:
            one.texts.append(json.loads(body)["text"])
        reply(handler, status)

    with posts(take) as address:
        one.address = f"{address}/{SECRET}"
        yield one


def until(condition: Callable[[], object], within_s: float = 20) -> None:
    end = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_stream_that_asks_has_the_captions(
    serve: Callable[..., Any], client: Callable[..., Any], receiver: Receiver, tmp_path: Path
) -> None:
    receiver.script = [500, 503]
    told: list[str] = []
    specs = [f"webhook={receiver.address}", f"hls={tmp_path}", f"webhook.fr={receiver.address}"]
    server = serve(captions=Captions(specs, told.append))
    assert json.loads(server.get("/config")[1])["captions"] == ["webhook", "hls", "webhook"]
    quiet, loud, late = client(server), client(server), client(server)
    quiet.hello()
    quiet.audio(toy_audio([1, 2, 4]))
    quiet.finish()
    loud.hello(captions=True)
    late.hello(captions=True)
    refused = late.until("error")
    assert (refused["code"], refused["fatal"]) == ("no_captions", False)
    assert refused["message"] == "Another stream has the captions; this one goes without."
    loud.audio(toy_audio(WORDS))
    loud.finish()
    until(lambda: "".join(receiver.texts) == toy_text(WORDS))
    late.audio(toy_audio([7, 8]))
    late.finish()
    until(lambda: "ENDLIST" in (tmp_path / "captions.m3u8").read_text())
    assert toy_text(WORDS)[:8] in (tmp_path / "captions00001.vtt").read_text()
    assert "".join(receiver.texts) == toy_text(WORDS)
    assert told == ["The webhook (127.0.0.1) does not take captions (status 500); it is asked again."]


def test_the_captions_are_free_again_after_a_stream(
    serve: Callable[..., Any], client: Callable[..., Any], receiver: Receiver
) -> None:
    found = Captions([f"webhook={receiver.address}"], list[str]().append)
    server = serve(captions=found)
    first, second = client(server), client(server)
    for one, words in ((first, [3, 4]), (second, [5, 6])):
        one.hello(captions=True)
        one.audio(toy_audio(words))
        one.finish()
        until(lambda: not found.busy)
    assert "".join(receiver.texts) == f"{toy_text([3, 4])}{toy_text([5, 6])}"


def test_a_receiver_that_hangs_slows_no_stream(
    serve: Callable[..., Any], client: Callable[..., Any], receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(captions, "LAST_S", 0.1)
    monkeypatch.setattr(captions, "MAX_WAITING", 4)
    receiver.wait_s = 4.0
    server = serve(captions=Captions([f"webhook={receiver.address}"], list[str]().append))
    one = client(server)
    one.hello(captions=True)
    begin = time.monotonic()
    one.audio(toy_audio(WORDS))
    assert one.finish() == toy_text(WORDS)
    assert time.monotonic() - begin < 3.0


def test_a_server_without_captions_says_so(shared: Any, client: Callable[..., Any]) -> None:
    one = client(shared)
    one.hello(captions=True)
    assert one.until("error")["message"] == "This server sends no captions; it is to be started with --caption."
    one.audio(toy_audio(WORDS))
    assert one.finish() == toy_text(WORDS)


def test_what_cannot_be_opened_is_one_sentence_without_the_address() -> None:
    with pytest.raises(SimulstError, match=r"^--caption zoom needs the whole address") as error:
        Captions([f"zoom.de={SECRET}"])
    assert SECRET not in str(error.value)
