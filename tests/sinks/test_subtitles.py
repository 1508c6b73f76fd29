"""Subtitle cues: limits, times, escaping, and text that is taken back."""

import itertools
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulst.core.events import WriteEvent
from simulst.errors import DataError
from simulst.sinks.linebreaks import break_lines, width
from simulst.sinks.subtitles import Cue, CueTrack, SubtitleStyle, srt_cue, to_srt, to_vtt, vtt_cue


def write(
    text: str, at_s: float, retract: int = 0, start_s: float | None = None, end_s: float | None = None
) -> WriteEvent:
    return WriteEvent(text=text, retract=retract, audio_s=at_s, wall_s=at_s, start_s=start_s, end_s=end_s)


def cues(*events: WriteEvent, **style: float | int | str) -> list[Cue]:
    track = CueTrack(SubtitleStyle(**style))  # type: ignore[arg-type]
    for event in events:
        track.write(event)
    return track.cues()


def text_of(cue: Cue) -> str:
    return " ".join(cue.lines)


def test_a_short_line_is_shown_for_the_minimum() -> None:
    assert cues(write("Ja.", 2.0)) == [Cue(start_s=2.0, end_s=3.0, lines=("Ja.",))]


def test_a_longer_line_is_shown_as_long_as_reading_takes() -> None:
    (cue,) = cues(write("Das ist ein Satz von 34 Buchstaben", 1.0))
    assert (cue.start_s, cue.end_s) == (1.0, 3.0)


def test_words_that_come_one_by_one_share_a_cue_that_starts_with_the_first() -> None:
    (cue,) = cues(write("Das", 1.0), write(" ist", 2.0), write(" gut.", 3.5))
    assert (cue.start_s, cue.end_s, cue.lines) == (1.0, 4.1, ("Das ist gut.",))


def test_a_pause_closes_the_cue() -> None:
    assert cues(write("Guten Tag.", 1.0), write(" Ich bin Anna.", 9.0)) == [
        Cue(start_s=1.0, end_s=2.0, lines=("Guten Tag.",)),
        Cue(start_s=9.0, end_s=10.0, lines=("Ich bin Anna.",)),
    ]


def test_a_full_cue_gives_way_to_the_next() -> None:
    sentence = "Wir haben in den letzten zehn Jahren sehr viel über das Wetter gelernt, aber"
    rest = " noch längst nicht genug."
    first, second = cues(write(sentence, 5.0), write(rest, 7.0))
    assert first.lines == ("Wir haben in den letzten zehn Jahren sehr", "viel über das Wetter gelernt, aber noch")
    assert first.start_s == 5.0
    assert first.end_s == pytest.approx(5.0 + 81 / 17)
    assert (second.start_s, second.lines) == (first.end_s, ("längst nicht genug.",))


def test_words_may_arrive_in_pieces() -> None:
    assert [text_of(cue) for cue in cues(write("Wetter", 1), write("bericht", 2), write(" heute", 3))] == [
        "Wetterbericht heute"
    ]
    assert [text_of(cue) for cue in cues(write("a ", 1), write("b", 2), write("  ", 2), write("c", 3))] == ["a b c"]


def test_a_retranslated_word_moves_its_cue() -> None:
    events = [write("Der Hund bellt.", 1.0), write(" Die Katze", 8.0), write("e Maus schläft.", 12.0, retract=8)]
    first, second = cues(*events)
    assert (first.start_s, text_of(first)) == (1.0, "Der Hund bellt.")
    assert (second.start_s, text_of(second)) == (12.0, "De Maus schläft.")


def test_taking_back_text_of_closed_cues_reopens_them() -> None:
    track = CueTrack()
    track.write(write("Eins.", 1.0))
    track.write(write(" Zwei.", 6.0))
    assert track.closed == 1
    track.write(write("Null.", 7.0, retract=11))
    assert track.closed == 0
    assert track.cues() == [Cue(start_s=7.0, end_s=8.0, lines=("Null.",))]


def test_speech_timing_takes_the_time_of_the_source_words() -> None:
    event = write("Guten Tag, liebe Gäste.", 9.0, start_s=2.0, end_s=4.0)
    assert cues(event, timing="speech")[0].start_s == 2.0
    assert cues(event)[0].start_s == 9.0


def test_late_cues_are_read_faster_but_never_too_fast() -> None:
    text = " ".join(["Donaudampfschiff"] * 60)  # everything committed at the end, as `offline` does
    found = cues(write(text, 100.0))
    speeds = [width(text_of(cue)) / (cue.end_s - cue.start_s) for cue in found[:-1]]
    assert max(speeds) == pytest.approx(25.0)
    assert speeds[0] == pytest.approx(17.0)


def test_chinese_breaks_between_signs_and_counts_double() -> None:
    text = "我们在过去的十年里学到了很多关于天气的知识，但是还远远不够，所以我们继续努力学习，直到明天。"
    found = cues(*(write(sign, 1.0) for sign in text))
    assert "".join(line for cue in found for line in cue.lines) == text
    assert max(width(line) for cue in found for line in cue.lines) <= 42
    assert all(line[0] not in "，。" for cue in found for line in cue.lines)


WORDS = st.text(alphabet="abcäöß<>&{}\\-.,!天気\u0301", min_size=1, max_size=60)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(
    steps=st.lists(
        st.tuples(st.lists(WORDS, max_size=8), st.floats(0, 6), st.integers(0, 30), st.booleans()), max_size=25
    ),
    chars_per_line=st.sampled_from([8, 20, 42]),
    max_lines=st.sampled_from([1, 2, 3]),
)
def test_every_cue_keeps_every_limit(
    steps: list[tuple[list[str], float, int, bool]], chars_per_line: int, max_lines: int
) -> None:
    style = SubtitleStyle(chars_per_line=chars_per_line, max_lines=max_lines)
    track, shown, now = CueTrack(style), "", 0.0
    for words, wait_s, retract, revise in steps:
        now += wait_s
        text, back = "".join(f" {word}" for word in words), retract if revise else 0
        shown = shown[: max(0, len(shown) - back)] + text
        track.write(write(text, now, back))
    found = track.cues()
    assert "".join("".join(cue.lines) for cue in found).replace(" ", "") == "".join(shown.split())
    for cue in found:
        assert 1 <= len(cue.lines) <= max_lines
        assert all(width(line) <= chars_per_line for line in cue.lines)
        assert style.min_s - 1e-9 <= cue.end_s - cue.start_s <= style.max_s + 1e-9
        assert (
            sum(map(width, cue.lines)) / (cue.end_s - cue.start_s) <= max(25.0, chars_per_line * max_lines / 7) + 1e-6
        )
    for before, after in itertools.pairwise(found):
        assert before.end_s <= after.start_s + 1e-9
    fresh = CueTrack(style)  # closed cues do not depend on the way that led there
    for event in replayed(steps):
        fresh.write(event)
    assert fresh.cues() == found


def replayed(steps: list[tuple[list[str], float, int, bool]]) -> list[WriteEvent]:
    events, now = [], 0.0
    for words, wait_s, retract, revise in steps:
        now += wait_s
        events.append(write("", now, retract if revise else 0))
        events.append(write("".join(f" {word}" for word in words), now))
    return events


@given(
    text=st.text(alphabet="ab c,天。\u0301", min_size=1, max_size=60), limit=st.integers(4, 20), lines=st.integers(1, 4)
)
def test_lines_hold_the_text_and_nothing_else(text: str, limit: int, lines: int) -> None:
    text = " ".join(text.split())
    broken = break_lines(text, limit, lines) if text else ()
    if broken:
        assert len(broken) <= lines
        assert all(width(line) <= limit and line == line.strip() for line in broken)
        assert "".join(broken).replace(" ", "") == text.replace(" ", "")


def test_srt_has_the_published_form() -> None:
    pair = [Cue(start_s=0, end_s=1.5, lines=("Hallo", "Welt")), Cue(start_s=3661.0006, end_s=3662, lines=("Ende",))]
    assert to_srt(pair) == (
        "1\n00:00:00,000 --> 00:00:01,500\nHallo\nWelt\n\n2\n01:01:01,001 --> 01:01:02,000\nEnde\n\n"
    )
    assert to_vtt(pair[:1]) == "WEBVTT\n\n00:00:00.000 --> 00:00:01.500\nHallo\nWelt\n\n"


def test_text_cannot_pose_as_markup() -> None:
    hostile = Cue(start_s=0, end_s=1, lines=("<i>a</i> {\\an8} --> & x<3",))
    srt = srt_cue(1, hostile).splitlines()[2]
    assert re.search(r"<[A-Za-z/]|\{\\|-->", srt) is None
    assert srt.replace("\u2060", "") == "<i>a</i> {\\an8} --> & x<3"
    assert vtt_cue(hostile).splitlines()[1] == "&lt;i&gt;a&lt;/i&gt; {\\an8} --&gt; &amp; x&lt;3"
    breaks = cues(write("a\nb\r\n\n2\n00:00:01,000 --> 00:00:02,000\u2028c\x00\x1bd", 0.0))
    assert len(to_srt(breaks).strip().split("\n\n")) == 1
    assert "\x1b" not in to_srt(breaks)


def test_impossible_styles_are_refused() -> None:
    with pytest.raises(DataError, match=r"^A subtitle needs at least one line of 8 characters\.$"):
        SubtitleStyle(chars_per_line=7)
    with pytest.raises(DataError, match=r"^A subtitle needs 0 < min_s <= max_s and 0 < chars_per_second"):
        SubtitleStyle(min_s=3, max_s=2)


def test_a_word_longer_than_all_lines_costs_no_more_than_its_length() -> None:
    assert [break_lines(200_000 * "o", 42, lines) for lines in (1, 2, 3)] == [None, None, None]
    assert break_lines("a" + 200 * " " + "b", 42, 2) == ("a", "b")


@given(text=st.text(max_size=30))
def test_the_width_of_a_text_is_that_of_its_signs(text: str) -> None:
    assert width(text) == sum(width(sign) for sign in text)


def test_signs_of_no_width_and_wide_ones() -> None:
    assert [width(text) for text in ("a b~", "a\tb\x7f", "e\u0301", "天a。", "\u200b")] == [4, 2, 1, 5, 0]
