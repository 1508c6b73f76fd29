"""Writers: what stands in the file at every moment is valid."""

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from simulst.core.events import EndEvent, HypothesisEvent, ProgressEvent, WriteEvent
from simulst.sinks import open_sink
from simulst.sinks.clock import clock
from simulst.sinks.terminal import TerminalView
from simulst.sinks.text import SentenceLines


def write(text: str, at_s: float, retract: int = 0, settled: int | None = None) -> WriteEvent:
    return WriteEvent(text=text, retract=retract, audio_s=at_s, wall_s=at_s, settled=settled)


def progress(audio_s: float, settled: int | None, lag_s: float = 0.0, compute_s: float = 0.0) -> ProgressEvent:
    return ProgressEvent(
        step=1, audio_s=audio_s, wall_s=audio_s, compute_s=compute_s, lag_s=lag_s, settled=settled, whole=True
    )


END = EndEvent(text="", audio_s=9.0, wall_s=9.0, rtf=0.1)


def text_of(*pieces: str) -> str:
    out = io.StringIO()
    writer = open_sink("text", out)
    for number, piece in enumerate(pieces):
        writer.handle(write(piece, float(number)))
    writer.close()
    return out.getvalue()


@pytest.mark.parametrize(
    ("pieces", "lines"),
    [
        (["Hallo Welt.", " Wie geht", " es?", " Gut!", " Schön."], ["Hallo Welt.", "Wie geht es?", "Gut!", "Schön."]),
        (["Am 3. Oktober kam Dr. Weiß, z. B. mit dem Zug."], ["Am 3. Oktober kam Dr. Weiß, z. B. mit dem Zug."]),
        (["Er sagte: „Komm!“ und ging. „Nein“, sagte sie."], ["Er sagte: „Komm!“ und ging.", "„Nein“, sagte sie."]),
        (["Das ist teuer... oder nicht."], ["Das ist teuer... oder nicht."]),
        (["今天很好。", "明天", "也好！我们走吧。"], ["今天很好。", "明天也好！", "我们走吧。"]),
        (
            ["Gib mehr an. Ich bin da. Ja. Am Abend kam Prof. Weiß."],
            ["Gib mehr an.", "Ich bin da.", "Ja.", "Am Abend kam Prof. Weiß."],
        ),
        (["Wetter", "bericht  heute"], ["Wetterbericht heute"]),
        ([], []),
    ],
)
def test_text_is_laid_out_one_sentence_per_line(pieces: list[str], lines: list[str]) -> None:
    assert text_of(*pieces) == "".join(f"{line}\n" for line in lines)


@given(st.lists(st.text(alphabet="aB. !?。天\n", max_size=6), max_size=12))
def test_layout_changes_nothing_but_blanks(pieces: list[str]) -> None:
    layout = SentenceLines()
    out = "".join(layout.feed(piece) for piece in pieces)
    assert "".join(out.split()) == "".join("".join(pieces).split())
    assert SentenceLines().feed("".join(pieces)) == out


def test_text_appears_as_soon_as_it_is_committed() -> None:
    out = io.StringIO()
    writer = open_sink("text", out)
    writer.handle(write("Guten", 1.0))
    assert out.getvalue() == "Guten"
    writer.handle(HypothesisEvent(text=" Tag", audio_s=1.0, wall_s=1.0))
    assert out.getvalue() == "Guten"
    writer.handle(write(" Tag.", 2.0))
    assert out.getvalue() == "Guten Tag."


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("text", "Der Hund schläft.\n"),
        ("srt", "1\n00:00:01,000 --> 00:00:03,600\nDer Hund schläft.\n\n"),
        ("vtt", "WEBVTT\n\n00:00:01.000 --> 00:00:03.600\nDer Hund schläft.\n\n"),
    ],
)
def test_text_that_may_be_taken_back_waits_for_the_end(kind: str, expected: str) -> None:
    out = io.StringIO()
    writer = open_sink(kind, out)
    writer.handle(write("Der Hund bellt.", 1.0, settled=0))
    writer.handle(write("schläft.", 3.0, retract=6, settled=0))
    before = out.getvalue()
    writer.close()
    assert before in ("", "WEBVTT\n\n")
    assert out.getvalue() == expected


@pytest.mark.parametrize("kind", ["text", "srt"])
def test_text_that_is_settled_does_not_wait(kind: str) -> None:
    out = io.StringIO()
    writer = open_sink(kind, out)
    for event in (write("Eins.", 1.0, settled=0), write(" Zwei.", 9.0, settled=0), write(" Drei.", 17.0, settled=0)):
        writer.handle(event)
    writer.handle(progress(17.0, settled=10))
    first = out.getvalue()
    writer.handle(progress(17.0, settled=11))
    second = out.getvalue()
    writer.handle(write("fünf.", 18.0, retract=5, settled=11))
    writer.close()
    if kind == "text":
        assert (first, second, out.getvalue()) == ("Eins.\nZwei", "Eins.\nZwei.", "Eins.\nZwei. fünf.\n")
    else:
        eins, zwei = "1\n00:00:01,000 --> 00:00:02,000\nEins.\n\n", "2\n00:00:09,000 --> 00:00:10,000\nZwei.\n\n"
        assert (first, second) == ("", eins)
        assert out.getvalue() == eins + zwei + "3\n00:00:18,000 --> 00:00:19,000\nfünf.\n\n"


def test_a_cue_is_written_once_nothing_can_change_it() -> None:
    out = io.StringIO()
    writer = open_sink("srt", out)
    writer.handle(write("Eins.", 1.0))
    assert out.getvalue() == ""
    writer.handle(write(" Zwei.", 9.0))
    assert out.getvalue() == "1\n00:00:01,000 --> 00:00:02,000\nEins.\n\n"
    writer.close()
    assert out.getvalue().endswith("2\n00:00:09,000 --> 00:00:10,000\nZwei.\n\n")


def test_json_lines_hold_writes_and_the_end_only() -> None:
    out = io.StringIO()
    writer = open_sink("jsonl", out)
    for event in (write("Grüße", 1.0), HypothesisEvent(text="x", audio_s=1.0, wall_s=1.0), END):
        writer.handle(event)
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [line["type"] for line in lines] == ["write", "end"]
    assert "Grüße" in out.getvalue()


@pytest.mark.parametrize("revises", [False, True])
def test_the_terminal_keeps_finished_lines_with_their_times(revises: bool) -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=60, color_system=None)
    settled = 0 if revises else None
    with TerminalView("talk.wav", console=console, duration_s=3_700.0) as view:
        view.handle(write("Guten Tag.", 61.0, settled=settled))
        view.handle(progress(62.0, settled, lag_s=1.84, compute_s=15.5))
        view.handle(write(" Ich war", 63.0, settled=settled))
        view.handle(write(" bin da.", 65.0, retract=4 if revises else 0, settled=settled))
        view.handle(HypothesisEvent(text=" Und [red]du[/red]", audio_s=65.0, wall_s=1.0))
    shown = out.getvalue()
    last = "Ich bin da." if revises else "Ich war bin da."
    assert "1:02 of 1:01:40   lag 1.8 s   load 25%" in shown
    assert f"{last} Und [red]du[/red]" in shown
    assert "   1:01  Guten Tag.\n" in shown
    assert shown.endswith(f"   1:03  {last}\n")


def test_clock() -> None:
    assert [clock(second) for second in (None, 59.9, 61, 3_661, 36_061)] == [
        "0:00",
        "0:59",
        "1:01",
        "1:01:01",
        "10:01:01",
    ]
