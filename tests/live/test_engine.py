"""One live translation without a network: switching, unstable rest, load; the ledger's messages."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulst.core.events import EndEvent, WriteEvent
from simulst.core.session import Session
from simulst.live.engine import Engine
from simulst.live.ledger import Ledger
from simulst.live.protocol import Hello, ProtocolError
from simulst.policies import load_policy
from simulst.testing import ToyTranslator, toy_audio, toy_text

HELLO = Hello(sample_rate=16_000, format="f32le")


def engine(policy: str = "stream_att", chunk_ms: int = 320, hello: Hello = HELLO) -> Engine:
    return Engine([Session(ToyTranslator(), load_policy(policy), chunk_ms=chunk_ms, hypotheses=True)], hello)


@pytest.mark.parametrize("policy", ["stream_att", "hold_n", "wait_k"])
def test_the_unstable_rest_is_known_whatever_the_policy(policy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulst.live.engine.PREVIEW_LOAD", float("inf"))  # the machine may be busy
    one = engine(policy)
    audio = toy_audio([3, 5, 7, 9, 11, 13])[: -5120 // 2]
    rests = [one.work(block.tobytes(), False, True).said[0].hypothesis for block in np.split(audio, 11)]
    assert any(rests)
    output = one.work(b"", True, True)
    assert output.said[0].hypothesis == ""
    assert isinstance(output.said[0].events[-1], EndEvent)


@pytest.mark.parametrize(("spare", "preview_load", "shown"), [(True, 9e9, True), (False, 9e9, False), (True, 0, False)])
def test_without_spare_time_nothing_is_decoded_for_display(
    spare: bool, preview_load: float, shown: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("simulst.live.engine.PREVIEW_LOAD", preview_load)
    one = Engine([Session(ToyTranslator(), load_policy("wait_k"), chunk_ms=320)], HELLO)
    blocks = np.split(toy_audio([3, 5, 7, 9, 11, 13])[: -5120 // 2], 11)
    assert any(one.work(block.tobytes(), False, spare).said[0].hypothesis for block in blocks) == shown


def test_a_preview_changes_nothing() -> None:
    plain, shown = (
        Session(ToyTranslator(), load_policy("stream_att")),
        Session(ToyTranslator(), load_policy("stream_att")),
    )
    assert shown.preview() == ""
    for block in np.split(toy_audio([3, 5, 7, 9, 20, 21, 22, 23]), 8):
        plain.feed(block)
        shown.feed(block)
        assert not shown.text or shown.preview().startswith(("", " "))
    plain.finish()
    shown.finish()
    assert plain.text == shown.text == toy_text([3, 5, 7, 9, 20, 21, 22, 23])
    assert shown.preview() == ""


def test_switching_keeps_clock_text_and_transcript() -> None:
    one = engine("wait_k")
    one.work(toy_audio([3, 4, 5]).tobytes(), False)
    first = one.switch([Session(ToyTranslator(), load_policy("offline"), keep_transcript=True)])
    last = one.work(toy_audio([7, 8]).tobytes(), True)
    assert not [event for event in first.said[0].events if isinstance(event, EndEvent)]
    write, end = last.said[0].events
    assert isinstance(write, WriteEvent) and isinstance(end, EndEvent)
    assert write.text == f" {toy_text([7, 8])}"
    assert write.audio_s == end.audio_s == pytest.approx(1.6)
    assert last.transcript == "s3 s4 s5 s7 s8"


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e30])
def test_meaningless_samples_are_named(bad: float) -> None:
    with pytest.raises(ProtocolError, match=r"^The samples must be finite numbers near \[-1, 1\]\.$"):
        engine().work(np.full(100, bad, np.float32).tobytes(), False)


@pytest.mark.slow
@given(st.lists(st.tuples(st.text(max_size=5), st.integers(0, 8)), max_size=20))
def test_messages_rebuild_the_text(changes: list[tuple[str, int]]) -> None:
    ledger, text, rebuilt = Ledger(), "", ""
    for added, back in changes:
        text = text[: max(0, len(text) - back)] + added
        ledger.handle(WriteEvent(text=added, retract=back, audio_s=1.0, wall_s=1.0))
        for message in ledger.take():
            rebuilt = rebuilt[: message["length"]] if message["type"] == "retract" else rebuilt + message["text"]
    assert rebuilt == text == ledger.text


@given(st.lists(st.text(alphabet="ab ", max_size=8), max_size=8))
def test_transcripts_travel_as_changes(texts: list[str]) -> None:
    ledger, rebuilt = Ledger(), ""
    for text in texts:
        ledger.hear(text)
        for message in ledger.take():
            rebuilt = rebuilt[: message["start"]] + message["text"]
        assert rebuilt == text
