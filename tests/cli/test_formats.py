"""Formats by name, and formats of one's own: `--format FILE.py:CLASS`."""

import io
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile

from simulst.core.events import EndEvent, HypothesisEvent, ProgressEvent, WriteEvent
from simulst.sinks import SINKS, format_of, open_sink, sink_class
from simulst.testing import toy_audio, toy_text

MINE = Path(__file__).parents[2] / "examples" / "my_sink.py"
WORDS = [3, 14, 15, 0, 9, 26, 30, 0, 0, 5, 35, 8, 9, 10, 7, 9]
Run = Callable[..., tuple[int, str, str]]

BROKEN = """
from simulst.sinks.sink import FileSink

class Sink(FileSink):
    def handle(self, event):
        self.write(event.text.lenght)

class Close(FileSink):
    def handle(self, event): ...
    def close(self):
        raise ValueError("no table")

class Init(FileSink):
    def __init__(self, out): ...

class Other: ...
"""


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    path = tmp_path / "speech.wav"
    soundfile.write(path, toy_audio(WORDS), 16_000, subtype="FLOAT")
    return path


@pytest.mark.parametrize("name", SINKS)
def test_every_format_says_what_was_written(name: str) -> None:
    out = io.StringIO()
    sink = open_sink(name, out)
    sink.handle(WriteEvent(text="Der Hund bellt", audio_s=1.0, wall_s=1.0, settled=0))
    sink.handle(HypothesisEvent(text=" laut", audio_s=1.0, wall_s=1.0))
    sink.handle(ProgressEvent(step=1, audio_s=1.0, wall_s=1.0, compute_s=0.1, settled=9))
    sink.handle(WriteEvent(text="schläft.", retract=5, audio_s=3.0, wall_s=3.0, settled=9))
    sink.handle(EndEvent(text="Der Hund schläft.", audio_s=3.0, wall_s=3.0, rtf=0.1))
    sink.close()
    assert "schläft." in out.getvalue() and "laut" not in out.getvalue()
    assert format_of(Path(f"Talk.{sink_class(name).suffix[1:].upper()}")) == name


def test_a_format_of_ones_own(run: Run, speech: Path, tmp_path: Path) -> None:
    out = tmp_path / "talk.lrc"
    status, shown, err = run("translate", speech, "--model", "toy", "--format", f"{MINE}:Sink", "--output", out)
    lines = out.read_text().splitlines()
    assert (status, shown, err) == (0, "", "")
    assert " ".join(line.partition("]")[2] for line in lines) == toy_text(WORDS)
    assert all(re.fullmatch(r"\[\d\d:\d\d\.\d\d\]\S.*", line) for line in lines) and lines


def test_it_writes_a_sentence_a_line() -> None:
    out = io.StringIO()
    sink = open_sink(f"{MINE}:Sink", out)
    for text, at_s in (("Eins", 1.0), (" ist da. Zwei", 2.5), (" kommt.", 61.0), (" Drei.", 62.0)):
        sink.handle(WriteEvent(text=text, audio_s=at_s, wall_s=at_s))
    assert out.getvalue() == "[00:01.00]Eins ist da.\n[00:02.50]Zwei kommt.\n"
    sink.close()
    assert out.getvalue().endswith("\n[01:02.00]Drei.\n")


def test_a_format_of_ones_own_with_a_policy_that_revises(run: Run, speech: Path) -> None:
    command = ("translate", speech, "--model", "toy", "--policy", "retranslation", "--format", f"{MINE}:Sink")
    status, out, _ = run(*command)
    assert status == 0 and " ".join(line.partition("]")[2] for line in out.splitlines()) == toy_text(WORDS)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("none.py:Sink", "There is no format file none.py."),
        ("{}:Nope", "{}:Nope is not a format: it must name a class that extends simulst.sinks.sink.FileSink."),
        ("{}:Other", "{}:Other is not a format: it must name a class that extends simulst.sinks.sink.FileSink."),
        (
            "{}:Sink",
            "The format {}:Sink fails when it takes a WriteEvent: "
            "AttributeError: 'str' object has no attribute 'lenght' (line 6).",
        ),
        ("{}:Close", "The format {}:Close fails when it is closed: ValueError: no table (line 11)."),
        ("{}:Init", "The format {}:Init fails when it is opened: TypeError: Init.__init__() takes 2 positional"),
    ],
)
def test_a_mistake_in_it_is_one_sentence(run: Run, speech: Path, tmp_path: Path, name: str, sentence: str) -> None:
    path = tmp_path / "mine.py"
    path.write_text(BROKEN)
    status, out, err = run("translate", speech, "--model", "toy", "--format", name.replace("{}", str(path)))
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("simulst: " + sentence.replace("{}", str(path)))


def test_a_file_that_cannot_be_read_is_named(run: Run, speech: Path, tmp_path: Path) -> None:
    path = tmp_path / "half.py"
    path.write_text("class Sink(\n")
    status, _, err = run("translate", speech, "--model", "toy", "--format", f"{path}:Sink")
    assert status == 2 and err.startswith(f"simulst: The format file {path} fails: SyntaxError: ")
