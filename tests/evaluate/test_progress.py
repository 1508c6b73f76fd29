"""The line about how far a run is."""

import io
from pathlib import Path

import pytest

from simulst.eval.data import Item
from simulst.eval.logs.instances import Instance
from simulst.eval.run import progress
from simulst.eval.run.pool import Outcome
from simulst.eval.run.progress import StderrProgress


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def outcome(index: int, audio_s: float, *, compute_s: float = 0.0, error: str = "") -> Outcome:
    item = Item(index=index, audio=Path("a.wav"), name="a.wav", audio_s=audio_s, where=f"source.txt, line {index + 1}")
    if error:
        return Outcome(item=item, error=error)
    instance = Instance(index=index, source="a", prediction="", chunks=((audio_s * 1000, compute_s * 1000),))
    return Outcome(item=item, instance=instance)


def test_speed_and_what_is_left_count_in_audio(time: Clock) -> None:
    out = io.StringIO()
    shown = StderrProgress(out, every_s=15)
    shown.begin("corpus", items=4, done=1, audio_s=300.0)
    time.now += 60  # loading
    time.now += 10
    shown.step(outcome(1, 100.0, compute_s=10))
    time.now += 10
    shown.step(outcome(2, 100.0, compute_s=10))
    shown.step(outcome(3, 50.0, error="a.wav is damaged."))
    assert shown.line() == "corpus: 3 of 4, 1 failed, 4:10 of 5:00 audio, 12.5x real time, 0:04 left"
    shown.end()
    lines = out.getvalue().splitlines()
    assert lines[0] == "corpus: resuming after 1 of 4"
    assert "source.txt, line 4: a.wav is damaged." in lines
    assert lines[-1] == shown.line() and lines.count(shown.line()) == 1


def test_nothing_to_do_says_nothing(time: Clock) -> None:
    out = io.StringIO()
    shown = StderrProgress(out)
    shown.begin("corpus", items=4, done=0, audio_s=0.0)
    shown.end()
    assert out.getvalue() == ""


def test_a_terminal_sees_one_line_that_moves(time: Clock) -> None:
    out = io.StringIO()
    out.isatty = lambda: True  # type: ignore[method-assign]
    shown = StderrProgress(out)
    shown.begin("corpus", items=2, done=0, audio_s=20.0)
    for index in range(2):
        time.now += 1
        shown.step(outcome(index, 10.0))
    shown.end()
    assert out.getvalue().count("\n") == 1 and out.getvalue().count("\r\x1b[2K") == 3
