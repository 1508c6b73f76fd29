"""`simulst bench soak`: what it counts as lost, growing or left behind, with a toy model."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import soundfile

from simulst.bench.soak import run_session
from simulst.bench.soak_marks import Mark, Marks, interval_s, row, slope_of, trend_lines
from simulst.core.events import Event
from simulst.core.session import Session
from simulst.errors import DataError
from simulst.policies import load_policy
from simulst.testing import ToyTranslator, toy_audio, toy_text

WORDS = [int(word) for word in np.random.default_rng(0).integers(1, 61, 60)]
TALK = toy_audio(WORDS)
HOURS = 0.02


def ignore(mark: Mark) -> None:
    pass


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["stream_att", "retranslation"])
def test_a_session_loses_nothing(policy: str) -> None:
    seen: list[Mark] = []
    marks, found = run_session(ToyTranslator(), load_policy(policy), TALK, HOURS, seen.append)
    assert marks.marks == seen and len(seen) == 10
    assert [mark.hours for mark in seen] == pytest.approx([HOURS * n / 10 for n in range(1, 11)], abs=3e-4)
    assert seen[-1].rss_mb > 10 and all(mark.cpu_rtf > 0 and mark.lag_median_s > 0 for mark in seen)
    said = HOURS * 3_600 / 0.32
    assert found["words"] == pytest.approx(len(toy_text(WORDS).split()) / len(WORDS) * said, rel=0.02)
    assert (found["words_lost"], found["left"]) == (0, {"files": 0, "threads": 0})
    assert sum(mark.words for mark in seen) == pytest.approx(found["words"], abs=10)
    assert found["silent_s_max"] < 5


def test_events_that_are_lost_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    feed = Session.feed

    def forgetful(session: Session, samples: Any, **options: Any) -> list[Event]:
        events = feed(session, samples, **options)
        return [] if 30 < session.audio_s < 33 else events

    monkeypatch.setattr(Session, "feed", forgetful)
    marks, found = run_session(ToyTranslator(), load_policy("stream_att"), TALK, HOURS, ignore)
    assert found["words_lost"] >= 5
    assert [mark.words_lost > 0 for mark in marks.marks][:6].count(True) == 1


@pytest.mark.slow
def test_looking_at_the_text_costs_the_same_at_any_time(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []
    text_from = Session.text_from

    def tail(session: Session, start: int) -> str:
        looked.append(len(fresh := text_from(session, start)))
        return fresh

    def whole(session: Session) -> str:
        looked.append(len(found := text_from(session, 0)))
        return found

    monkeypatch.setattr(Session, "text_from", tail)
    monkeypatch.setattr(Session, "text", property(whole))
    marks, found = run_session(ToyTranslator(), load_policy("stream_att"), TALK, 3 * HOURS, ignore)
    _warm_up, *at_marks, at_end_event, at_end = looked
    assert len(at_marks) == 10 and at_end < at_end_event  # which says the whole text
    assert at_marks[-1] < 1.2 * at_marks[1]
    assert found["words_lost"] == 0 and len(at_marks) * at_marks[-1] > 0.9 * at_end_event
    assert marks.marks[-1].text_mb == pytest.approx(at_end_event / 2**20, rel=0.02)


def test_files_left_open_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    files: list[Any] = []
    feed = Session.feed

    def leaking(session: Session, samples: Any, **options: Any) -> list[Event]:
        if session.audio_s < 20:
            files.append(open(os.devnull))
        return feed(session, samples, **options)

    monkeypatch.setattr(Session, "feed", leaking)
    try:
        found = run_session(ToyTranslator(), load_policy("stream_att"), TALK, HOURS, ignore)[1]
    finally:
        for file in files:
            file.close()
    assert found["left"]["files"] > 10


def test_an_interrupted_run_says_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    feed = Session.feed

    def interrupted(session: Session, samples: Any, **options: Any) -> list[Event]:
        if session.audio_s > 40:
            signal.raise_signal(signal.SIGINT)
        return feed(session, samples, **options)

    monkeypatch.setattr(Session, "feed", interrupted)
    marks, found = run_session(ToyTranslator(), load_policy("stream_att"), TALK, HOURS, ignore)
    assert found["interrupted"] and len(marks.marks) == 5
    assert found["words"] > 50 and found["words_lost"] == 0


def test_speech_shorter_than_a_chunk_is_refused() -> None:
    with pytest.raises(DataError, match="shorter than one chunk"):
        run_session(ToyTranslator(), load_policy("stream_att"), TALK[:100], HOURS, ignore)


def test_slopes_are_those_of_least_squares() -> None:
    flat = slope_of([1.0, 2.0, 3.0, 4.0, 5.0], [7.1, 6.9, 7.0, 7.1, 6.9])
    assert flat.is_flat and abs(flat.per_hour) < 0.05
    steep = slope_of([1.0, 2.0, 3.0, 4.0], [1.0, 3.1, 4.9, 7.0])
    assert steep.per_hour == pytest.approx(1.98)
    assert (steep.low, steep.high) == pytest.approx((1.98 - 4.303 * 0.04243, 1.98 + 4.303 * 0.04243), abs=0.002)
    assert not steep.is_flat


@pytest.mark.parametrize(("freedom", "quantile"), [(1, 12.706), (2, 4.303), (3, 3.182), (5, 2.571), (18, 2.101)])
def test_the_interval_is_that_of_student(freedom: int, quantile: float) -> None:
    ys = [(-1.0) ** n * (1 + n / 9) for n in range(freedom + 2)]
    xs = [float(n) for n in range(freedom + 2)]
    middle = sum(xs) / len(xs)
    slope = slope_of(xs, ys)
    line = np.polyfit(xs, ys, 1)
    errors = np.sum((np.asarray(ys) - np.polyval(line, xs)) ** 2)
    spread = np.sqrt(errors / freedom / sum((x - middle) ** 2 for x in xs))
    assert (slope.high - slope.low) / 2 / spread == pytest.approx(quantile, rel=0.008)


def test_growth_is_told_and_the_first_and_a_broken_last_stretch_are_not_in_it() -> None:
    def mark(number: int, **changes: Any) -> Mark:
        plain = {
            "hours": number / 2,
            "rss_mb": 500.0,
            "cpu_rtf": 0.1,
            "lag_median_s": 1.0,
            "lag_p95_s": 2.0,
            "words": 9,
            "words_lost": 0,
        }
        return Mark(**(plain | {"files": 5, "threads": 2, "wall_s": 1.0} | changes))

    marks = Marks(18_000, psutil.Process(), lambda: 0.0, ignore)
    marks.marks = [mark(1, rss_mb=100.0), *(mark(n, rss_mb=500.0 + 2 * n, text_mb=n / 10) for n in range(2, 9))]
    marks.marks.append(mark(9, hours=4.01, rss_mb=9_999.0))
    slopes = marks.slopes()
    assert slopes["rss_mb"].per_hour == pytest.approx(4.0) and not slopes["rss_mb"].is_flat
    assert slopes["files"].is_flat
    lines = trend_lines(slopes)
    assert lines[1].split() == ["memory", "+4.0000", "[+4.0000,", "+4.0000]", "MB", "rises"]
    assert lines[2].split() == ["of", "it", "text", "kept", "+0.2000", "[+0.2000,", "+0.2000]", "MB", "rises"]
    assert len(row(marks.marks[0]).split()) == 10
    assert trend_lines({}) == ["too few stretches for slopes: run longer"]


def test_the_first_five_minutes_are_not_in_the_slope() -> None:
    def marks_of(total_s: float) -> Marks:
        marks = Marks(total_s, psutil.Process(), lambda: 0.0, ignore)
        plain: dict[str, Any] = {"cpu_rtf": 0.1, "lag_median_s": 1.0, "lag_p95_s": 2.0, "words": 9, "words_lost": 0}
        for number in range(1, 11):
            hours = number * total_s / 36_000
            memory = 500.0 if hours * 3_600 > 300 else 400.0 + number
            marks.marks.append(Mark(**plain, hours=hours, rss_mb=memory, files=5, threads=2, wall_s=1.0))
        return marks

    assert marks_of(1_200).slopes()["rss_mb"].per_hour == pytest.approx(0.0)
    assert marks_of(400).slopes()["rss_mb"].per_hour > 0  # too short to leave so much out


@pytest.mark.parametrize(("hours", "minutes"), [(10, 30), (5, 30), (2, 12), (0.5, 3)])
def test_marks_stand_every_half_hour_or_ten_times(hours: float, minutes: float) -> None:
    assert interval_s(3_600 * hours) == pytest.approx(60 * minutes)


@pytest.mark.slow
def test_the_command_prints_a_table_or_one_document(tmp_path: Path) -> None:
    speech = tmp_path / "speech.wav"
    soundfile.write(speech, np.tile(TALK, 2), 16_000, subtype="FLOAT")
    command = [sys.executable, str(Path(__file__).parents[1] / "cli" / "toy_simulst.py"), "bench", "soak"]
    command += ["--model", "toy", "--hours", "0.05", "--audio", str(speech)]
    table = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert table.returncode == 0, table.stderr
    lines = table.stdout.splitlines()
    assert lines[0].split()[:3] == ["hours", "memory", "MB"] and len(lines[1:11]) == 10
    assert re.search(r"^0\.05\d* h of audio: \d+ words, 0 lost$", table.stdout, re.M)
    assert "left behind: 0 files, 0 threads" in lines
    document = subprocess.run([*command, "--json"], capture_output=True, text=True, timeout=120)
    found = json.loads(document.stdout)
    assert len(found["marks"]) == 10 and found["words_lost"] == 0
    assert found["slopes_per_hour"]["files"] == {"per_hour": 0.0, "low": 0.0, "high": 0.0, "flat": True}
    assert len(document.stderr.splitlines()) == 11  # progress
