"""The live server over real sockets: text, order, resuming, switching, watching, exports, manners."""

import json
import re
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import soxr

from simulst.core.session import Session
from simulst.live.access import Access
from simulst.live.server import address_of
from simulst.live.track import dump
from simulst.policies import load_policy
from simulst.testing import ToyTranslator, toy_audio, toy_text

WORDS = [3, 14, 15, 0, 9, 26, 30, 0, 0, 5, 35, 8, 9, 10, 7, 9, 0, 21, 22, 23, 24, 20, 1, 2]
Serve = Callable[..., Any]
Connect = Callable[..., Any]


def direct(words: list[int], policy: str = "stream_att") -> str:
    """The text that a session makes of these words."""
    session = Session(ToyTranslator(), load_policy(policy))
    session.feed(toy_audio(words))
    session.finish()
    return session.text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("policy", "block"), [("offline", 100_000), ("wait_k", 997), ("stream_att", 1_600), ("retranslation", 1_600)]
)
def test_the_text_is_that_of_a_session(serve: Serve, client: Connect, policy: str, block: int) -> None:
    one = client(serve())
    ready = one.hello(policy=policy)
    assert (ready["model"], ready["policy"], ready["version"]) == ("toy", policy, 1)
    one.audio(toy_audio(WORDS), block)
    assert one.finish() == direct(WORDS, policy)


def test_events_carry_absolute_times_and_lag(serve: Serve, client: Connect) -> None:
    one = client(serve())
    one.hello(pace="live", chunk_ms=320)
    audio = toy_audio(WORDS)
    begin = time.monotonic()
    for start in range(0, len(audio), 1_600):
        one.audio(audio[start : start + 1_600])
        time.sleep(0.002)
    one.finish()
    taken_s = time.monotonic() - begin
    writes = [message for message in one.seen if message["type"] == "write"]
    assert len(writes) > 5
    assert [write["audio_s"] for write in writes] == sorted(write["audio_s"] for write in writes)
    assert all(0 <= write["lag_s"] <= taken_s for write in writes)
    assert all(write["start_s"] <= write["end_s"] <= write["audio_s"] + 0.1 for write in writes)
    lag = one.until("lag")
    assert lag["received"] == len(audio)
    assert lag["audio_s"] == lag["received_s"] == pytest.approx(len(audio) / 16_000)
    assert lag["backlog_s"] == 0
    assert {message["type"] for message in one.seen} >= {"ready", "write", "hypothesis", "lag", "transcript", "end"}


def test_the_transcript_is_rebuilt_from_its_changes(serve: Serve, client: Connect) -> None:
    one = client(serve())
    one.hello(policy="stream_att", chunk_ms=320)
    one.audio(toy_audio(WORDS))
    one.finish()
    shown = ""
    for message in one.seen:
        if message["type"] == "transcript":
            shown = shown[: message["start"]] + message["text"]
    assert shown.split() == [f"s{word}" for word in WORDS if word]


@pytest.mark.parametrize(
    ("rate", "form", "channels"), [(48_000, "s16le", 1), (44_100, "f32le", 2), (8_000, "s16le", 1)]
)
def test_any_rate_and_format_is_taken(serve: Serve, client: Connect, rate: int, form: str, channels: int) -> None:
    one = client(serve())
    one.hello(sample_rate=rate, format=form, channels=channels, policy="offline")
    samples = soxr.resample(toy_audio([5, 5, 5, 5, 9, 9]), 16_000, rate)
    if form == "s16le":
        samples = (samples * 32_767).astype("<i2")
    one.audio(np.repeat(samples[:, None], channels, axis=1))
    assert one.finish() == toy_text([5, 5, 5, 5, 9, 9])


def test_a_broken_connection_is_resumed_without_loss(serve: Serve, client: Connect) -> None:
    server = serve()
    first = client(server)
    session = first.hello(chunk_ms=320)["session"]
    audio = toy_audio(WORDS)
    first.audio(audio[: len(audio) // 2])
    while first.seq < 4:
        first.take()
    first.socket.socket.shutdown(socket.SHUT_RDWR)  # the network goes
    second = client(server)
    second.text, second.seq = first.text, first.seq
    second.say(type="resume", session=session, seq=first.seq)
    resumed = second.until("resumed")
    assert 0 < resumed["received"] <= len(audio) // 2
    second.audio(audio[resumed["received"] :])
    assert second.finish() == direct(WORDS) or second.text == toy_text(WORDS)


def test_what_is_no_longer_held_comes_as_a_snapshot(
    serve: Serve, client: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("simulst.live.track.KEPT_EVENTS", 3)
    server = serve()
    first = client(server)
    session = first.hello(chunk_ms=320)["session"]
    first.audio(toy_audio(WORDS))
    expected = first.finish()
    first.socket.socket.shutdown(socket.SHUT_RDWR)
    second = client(server)
    second.say(type="resume", session=session, seq=1)
    assert second.until("snapshot")["text"] == expected


def test_an_absent_client_keeps_its_place_for_a_while_only(serve: Serve, client: Connect) -> None:
    server = serve(max_clients=1, resume_s=0.4)
    first = client(server)
    session = first.hello()["session"]
    first.socket.socket.shutdown(socket.SHUT_RDWR)
    wait_for(lambda: server.health()["clients"] == 0)
    late = client(server)
    late.say(type="resume", session=session, seq=0)
    assert late.until("error")["code"] == "unknown_session"


def test_somebody_present_gets_the_place_of_somebody_absent(serve: Serve, client: Connect) -> None:
    server = serve(max_clients=1, resume_s=30.0)
    first = client(server)
    first.hello()
    first.socket.socket.shutdown(socket.SHUT_RDWR)
    time.sleep(0.1)
    second = client(server)
    second.hello()
    second.audio(toy_audio([5, 7]))
    assert second.finish() == toy_text([5, 7])


def wait_for(condition: Callable[[], bool], within_s: float = 5.0) -> None:
    until = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_a_full_server_says_so_and_frees_places_on_close(serve: Serve, client: Connect) -> None:
    server = serve(max_clients=2)
    first, second = client(server), client(server)
    first.hello()
    second.hello()
    third = client(server)
    third.say(type="hello", version=1, sample_rate=16_000, format="s16le")
    error = third.until("error")
    assert (error["code"], error["message"]) == (
        "busy",
        "All 2 places of this server are taken; try again in a moment.",
    )
    first.close()
    wait_for(lambda: server.health()["clients"] == 1)
    client(server).hello()


def test_a_finished_stream_frees_its_place_and_the_connection_can_go_on(serve: Serve, client: Connect) -> None:
    server = serve(max_clients=1)
    one = client(server)
    for words in ([3, 4, 5], [7, 8]):
        one.hello()
        one.audio(toy_audio(words))
        assert one.finish() == toy_text(words)
        assert server.health()["clients"] == 0


def test_switching_goes_on_in_the_same_text(serve: Serve, client: Connect) -> None:
    one = client(serve(models={"toy": ToyTranslator(), "slow": ToyTranslator(look_ahead_s=0.64)}))
    one.hello(policy="wait_k", chunk_ms=320)
    one.audio(toy_audio([3, 4, 5]))
    one.say(type="switch", policy="offline", model="slow")
    one.audio(toy_audio([7, 8, 10]))
    one.say(type="switch", policy="nope")
    assert one.finish() == f"{toy_text([3, 4, 5])} {toy_text([7, 8, 10])}"
    switched = next(message for message in one.seen if message["type"] == "switched")
    assert (switched["model"], switched["policy"]) == ("slow", "offline")
    error = next(message for message in one.seen if message["type"] == "error")
    assert (error["code"], error["fatal"]) == ("unknown_policy", False)
    last = [message for message in one.seen if message["type"] == "write"][-1]
    assert last["audio_s"] == pytest.approx(6 * 0.32)
    assert last["start_s"] >= 3 * 0.32


def test_watchers_see_one_stream_after_another(serve: Serve, client: Connect) -> None:
    server = serve()
    watcher, speaker = client(server), client(server)
    watcher.say(type="watch", channel="c1")
    watcher.until("watching")
    for words in ([3, 4, 5], [7, 8]):
        speaker.hello(channel="c1")
        assert "session" not in watcher.until("ready")
        speaker.audio(toy_audio(words))
        speaker.finish()
        watcher.until("end")
        assert watcher.text == toy_text(words)
    late = client(server)
    late.say(type="watch", channel="c1")
    late.until("end")
    assert late.text == toy_text([7, 8])
    watcher.say(type="hello", version=1, sample_rate=16_000, format="s16le")
    assert watcher.until("error")["code"] == "already_started"


def test_exports_at_any_time(serve: Serve, client: Connect) -> None:
    one = client(serve())
    one.hello()
    one.audio(toy_audio(WORDS))
    text = one.finish()

    def export(form: str) -> str:
        one.say(type="export", format=form)
        return str(one.until("export")["text"])

    srt = export("srt")
    assert re.match(r"1\n00:00:0\d,\d{3} --> 00:00:0\d,\d{3}\n", srt)
    assert " ".join(line for line in srt.splitlines() if re.match(r"[wv]\d", line)) == text
    assert export("vtt").startswith("WEBVTT\n\n00:00:0")
    assert " ".join(export("txt").split()) == text
    lines = [json.loads(line) for line in export("jsonl").splitlines()]
    assert "".join(line["text"] for line in lines[:-1]) == lines[-1]["text"] == text
    one.say(type="export", format="doc")
    assert one.until("error")["code"] == "unknown_export"


def test_hypotheses_and_transcript_can_be_left_out(serve: Serve, client: Connect) -> None:
    one = client(serve())
    one.hello(hypotheses=False, transcript=False)
    one.audio(toy_audio(WORDS))
    one.finish()
    assert not {message["type"] for message in one.seen} & {"hypothesis", "transcript"}


class Slow(ToyTranslator):
    """Needs a while for every decision."""

    def __init__(self, pause_s: float = 0.05) -> None:
        super().__init__(before=self._wait)
        self.pause_s = pause_s
        self.decisions = 0

    def _wait(self) -> None:
        self.decisions += 1
        time.sleep(self.pause_s)


@pytest.mark.slow
def test_a_fast_sender_is_held_back_and_loses_nothing(serve: Serve, client: Connect) -> None:
    """Far more audio than may wait is taken only as fast as it is translated, and no decision is skipped."""
    server = serve(models={"toy": Slow()})
    one = client(server)
    one.hello(chunk_ms=3_200, policy="stream_att")
    words = WORDS * 20  # 154 s
    one.audio(toy_audio(words), 16_000)
    expected = Session(ToyTranslator(), load_policy("stream_att"), chunk_ms=3_200)
    expected.feed(toy_audio(words))
    expected.finish()
    assert one.finish() == expected.text
    pending = [m["received_s"] - m["audio_s"] for m in one.seen if m["type"] == "lag"]
    assert max(pending) < 30 + 3.2 + 1.1


@pytest.mark.slow
def test_a_client_that_sends_everything_before_it_reads_is_served(
    serve: Serve, client: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its events fill every buffer on the way while its audio is held back: neither may wait for the other."""
    monkeypatch.setattr("simulst.live.track.dump", lambda message: dump({**message, "padding": "x" * 20_000}))
    server = serve(models={"toy": Slow(0.01)}, send_s=0.2)
    narrow = socket.socket()
    for buffer in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        narrow.setsockopt(socket.SOL_SOCKET, buffer, 4_096)
    narrow.connect(("127.0.0.1", int(server.address.rsplit(":", 1)[1])))
    one = client(server, sock=narrow)
    one.hello(chunk_ms=160)
    words = WORDS * 12
    one.audio(toy_audio(words), 16_000)
    expected = Session(ToyTranslator(), load_policy("stream_att"), chunk_ms=160)
    expected.feed(toy_audio(words))
    expected.finish()
    assert one.finish() == expected.text


def test_a_live_stream_that_is_behind_skips_decisions_not_audio(serve: Serve, client: Connect) -> None:
    slow = Slow()
    one = client(serve(models={"toy": slow}))
    one.hello(pace="live", chunk_ms=80, hypotheses=False)
    one.audio(toy_audio(WORDS), 1_280)  # all at once: 7.7 s behind, 96 chunks
    assert one.finish() == toy_text(WORDS)
    assert 2 <= slow.decisions < 48


def test_clients_do_not_mix(serve: Serve, client: Connect) -> None:
    server = serve()
    rng = np.random.default_rng(0)
    scripts = [[int(word) for word in rng.integers(1, 61, 12)] for _ in range(6)]
    clients = [client(server) for _ in scripts]
    for one in clients:
        one.hello(chunk_ms=320)
    for start in range(0, 12 * 5120, 2_048):
        for one, script in zip(clients, scripts, strict=True):
            one.socket.send(toy_audio(script)[start : start + 2_048].tobytes())
    for one, script in zip(clients, scripts, strict=True):
        assert one.finish() == toy_text(script)


@pytest.mark.slow
def test_a_shutdown_translates_what_was_heard(serve: Serve, client: Connect) -> None:
    server = serve()
    one = client(server)
    one.hello(policy="offline", pace="live")
    one.audio(toy_audio([3, 4, 5]))
    wait_for(lambda: server.health()["backlog_s"] < 0.7)
    server.stop()
    end = one.until("end")
    assert (end["reason"], one.text) == ("shutdown", toy_text([3, 4, 5]))
    assert one.until("error")["code"] == "shutting_down"


def test_a_shutdown_waits_for_nobody_who_has_said_nothing(serve: Serve) -> None:
    """Browsers open connections ahead; the first message has ten seconds."""
    server = serve()
    port = int(server.address.rsplit(":", 1)[1])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as silent:
        time.sleep(0.2)
        began = time.monotonic()
        server.stop()
        assert time.monotonic() - began < 4 and silent.recv(1) == b""


def test_a_token_is_asked_for(serve: Serve, client: Connect) -> None:
    server = serve(access=Access(token="geheim"))
    one = client(server)
    one.say(type="hello", version=1, sample_rate=16_000, format="s16le", token="falsch")
    assert one.until("error")["code"] == "unauthorised"
    client(server).hello(token="geheim")
    assert server.get("/metrics", Authorization="Bearer geheim")[0] == 200


@pytest.mark.parametrize(
    ("host", "secure", "address"),
    [
        ("127.0.0.1", False, "http://127.0.0.1:8765"),
        ("::1", False, "http://[::1]:8765"),
        ("live.example.org", True, "https://live.example.org:8765"),
    ],
)
def test_the_address_is_one_to_open(host: str, secure: bool, address: str) -> None:
    assert address_of(host, 8765, secure=secure) == address


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_a_server_that_listens_everywhere_names_this_machine(host: str) -> None:
    address = address_of(host, 8765, secure=False)
    assert re.fullmatch(r"http://([\w.-]+|\[[0-9a-f:]+\]):8765", address)
    assert "0.0.0.0" not in address and "[::]" not in address


def test_metrics_count_what_happened(serve: Serve, client: Connect) -> None:
    server = serve()
    one = client(server)
    one.hello()
    one.audio(toy_audio(WORDS))
    one.finish()
    text = server.get("/metrics")[1]
    numbers = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert float(numbers["simulst_streams_total"]) == 1
    assert float(numbers["simulst_audio_seconds_total"]) == pytest.approx(len(WORDS) * 0.32)
    assert float(numbers["simulst_audio_bytes_total"]) == len(WORDS) * 5120 * 4
    writes = sum(message["type"] == "write" for message in one.seen)
    assert int(numbers["simulst_lag_seconds_count"]) == int(numbers['simulst_lag_seconds_bucket{le="+Inf"}']) == writes


def test_messages_that_follow_each_other_do_not_wait_for_the_network(serve: Serve, client: Connect) -> None:
    """The second would be held until the first is acknowledged, which takes 40 ms."""
    one = client(serve())
    one.hello()
    taken_s = []
    for number in range(45):
        begin = time.monotonic()
        one.say(type="ping", id=2 * number)
        one.say(type="ping", id=2 * number + 1)
        assert [one.until("pong")["id"], one.until("pong")["id"]] == [2 * number, 2 * number + 1]
        taken_s.append(time.monotonic() - begin)
    assert sorted(taken_s)[25] < 0.03


def test_pings_are_answered_at_once_and_in_order(serve: Serve, client: Connect) -> None:
    """How fast is for `simulst bench live` to say; something that waits or polls on the way takes 40 ms and more."""
    one = client(serve())
    times = []
    for number in range(60):
        begin = time.perf_counter()
        one.say(type="ping", id=number)
        assert one.take() == {"type": "pong", "id": number}
        times.append(time.perf_counter() - begin)
    assert min(times) < 0.02


@pytest.mark.slow
def test_a_shutdown_waits_until_a_slow_reader_has_the_end(
    serve: Serve, client: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("simulst.live.track.dump", lambda message: dump({**message, "padding": "x" * 20_000}))
    server = serve()
    narrow = socket.socket()
    for buffer in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        narrow.setsockopt(socket.SOL_SOCKET, buffer, 4_096)
    narrow.connect(("127.0.0.1", int(server.address.rsplit(":", 1)[1])))
    one = client(server, sock=narrow)
    one.hello(chunk_ms=160)
    one.audio(toy_audio(WORDS * 3))
    wait_for(lambda: server.health()["backlog_s"] < 0.2)
    threading.Timer(0.3, one.until, ["end"]).start()
    server.stop()
    assert one.text == direct(WORDS * 3)


@pytest.mark.parametrize("pace", ["live", "file"])
def test_a_long_silence_is_not_decoded(serve: Serve, client: Connect, pace: str) -> None:
    """Words, times and the clock of the stream are those of the whole stream; the model hears four seconds of it."""
    heard: list[float] = []

    class Hearing(ToyTranslator):
        def open(self) -> Any:
            session = super().open()
            extend = session.extend_source

            def hear(samples: Any, **options: Any) -> None:
                heard.append(len(samples) / 16_000)
                extend(samples, **options)

            session.extend_source = hear  # type: ignore[method-assign]
            return session

    words = [3, 14, 15, 7, 9, *([0] * 200), 9, 26, 30]  # what is skipped is a whole number of the toy's slots
    one = client(serve({"toy": Hearing()}, silence_s=2.2))
    one.hello(pace=pace, chunk_ms=320)
    one.audio(toy_audio(words))
    assert one.finish() == toy_text(words)
    assert sum(heard) < 7.5
    writes = [message for message in one.seen if message["type"] == "write"]
    assert writes[0]["audio_s"] < 4 and writes[-1]["audio_s"] == pytest.approx(len(words) * 0.32, abs=1)
    late = [write for write in writes if write["audio_s"] > 10]
    assert all(205 * 0.32 - 0.4 <= write["start_s"] <= write["end_s"] <= len(words) * 0.32 + 0.1 for write in late)
    assert late and one.until("lag")["backlog_s"] == 0


def test_a_short_pause_changes_nothing(serve: Serve, client: Connect) -> None:
    words = [3, 14, 15, *([0] * 6), 9, 26, 30]
    for server in (serve(), serve(silence_s=2.2)):
        one = client(server)
        one.hello(chunk_ms=320)
        one.audio(toy_audio(words))
        assert one.finish() == toy_text(words)
