"""Subtitles from commit events: cues that follow the times at which text was committed (or the speech it translates).

A cue starts when its first word came, stays as long as reading it takes, and never overlaps the next. Where text comes
faster than it can be read, cues fall behind; more than `max_delay_s` behind they are shown at the faster reading speed.
Taking text back reopens the cues it was in; words that are written again carry the time of their new commit.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from simulst.core.events import WriteEvent
from simulst.errors import DataError
from simulst.sinks.linebreaks import CLOSING, break_lines, width
from simulst.sinks.shown import Piece, take_back

PAUSE_S = 3.0
"""A longer wait for the next word closes the cue."""
TAIL_S = 0.6
"""Shown at least so long after its last word came."""
JOINER = "\u2060"
"""Zero-width character that keeps players from reading text as markup."""


@dataclass(frozen=True, kw_only=True)
class SubtitleStyle:
    """Limits of a cue; the defaults are the usual ones of broadcasters and streaming services."""

    chars_per_line: int = 42
    max_lines: int = 2
    chars_per_second: float = 17.0
    max_chars_per_second: float = 25.0
    """Reading speed of cues that are late."""
    min_s: float = 1.0
    max_s: float = 7.0
    max_delay_s: float = 4.0
    timing: Literal["commit", "speech"] = "commit"
    """`speech` takes the source time of the words where the model gives it."""

    def __post_init__(self) -> None:
        if self.chars_per_line < 8 or self.max_lines < 1:
            raise DataError("A subtitle needs at least one line of 8 characters.")
        if not 0 < self.min_s <= self.max_s or not 0 < self.chars_per_second <= self.max_chars_per_second:
            raise DataError("A subtitle needs 0 < min_s <= max_s and 0 < chars_per_second <= max_chars_per_second.")


@dataclass(frozen=True, kw_only=True)
class Cue:
    start_s: float
    end_s: float
    lines: tuple[str, ...]


@dataclass(kw_only=True)
class _Closed:
    cue: Cue
    words: int
    """Words of the stream up to the end of this cue."""


class CueTrack:
    """The cues of one stream, kept up to date write by write."""

    def __init__(self, style: SubtitleStyle | None = None) -> None:
        self.style = style or SubtitleStyle()
        self._words: list[Piece] = []
        """Each with the spaces before it."""
        self._blanks = ""
        """Spaces after the last word."""
        self._closed: list[_Closed] = []
        self._settled = 0
        self._settled_characters = 0

    @property
    def closed(self) -> int:
        """Cues that only taking text back can still change."""
        return len(self._closed)

    def settled(self, characters: int) -> int:
        """Closed cues that nothing can change once the first `characters` of the text are final."""
        while self._settled < len(self._closed):
            begin = self._closed[self._settled - 1].words if self._settled else 0
            end = self._closed[self._settled].words
            here = sum(len(word.text) for word in self._words[begin:end])
            if self._settled_characters + here + len(self._words[end].text) > characters:
                break
            self._settled_characters += here
            self._settled += 1
        return self._settled

    def write(self, event: WriteEvent) -> None:
        """Apply one change of the shown text."""
        self._retract(event.retract)
        text, self._blanks = self._blanks + event.text, ""
        pieces = re.findall(r"\s*\S+", text)
        self._blanks = text[sum(map(len, pieces)) :]
        times = self._times(event, pieces)
        if pieces and self._words and not pieces[0][0].isspace() and not _wide_border(self._words[-1].text, pieces[0]):
            last = self._words.pop()  # the text goes on inside a word
            pieces[0] = last.text + pieces[0]
            times[0] = times[0] if event.retract else last.time_s
        for piece, time_s in zip(pieces, times, strict=True):
            self._words.extend(Piece(text=part, time_s=time_s) for part in _parts(piece, self.style.chars_per_line))
        self._close()

    def cues(self) -> list[Cue]:
        """All cues; the last one holds the words that are not closed yet."""
        last = self._words[self._begin :]
        open_cues: list[Cue] = []
        if last:
            start_s = self._start(last[0])
            open_cues.append(self._cue(last, start_s, self._natural_end(last, start_s)))
        return [closed.cue for closed in self._closed] + open_cues

    @property
    def _begin(self) -> int:
        return self._closed[-1].words if self._closed else 0

    def _times(self, event: WriteEvent, pieces: list[str]) -> list[float]:
        if self.style.timing == "commit" or event.start_s is None:
            return [event.audio_s] * len(pieces)
        end_s = event.start_s if event.end_s is None else max(event.start_s, event.end_s)
        total = sum(map(len, pieces)) or 1
        times, before = [], 0
        for piece in pieces:
            times.append(event.start_s + (end_s - event.start_s) * before / total)
            before += len(piece)
        floor = self._words[-1].time_s if self._words else 0.0  # the order of words may differ from that of the speech
        return [max(floor, time_s) for time_s in times]

    def _retract(self, count: int) -> None:
        if count <= 0:
            return
        taken = min(count, len(self._blanks))
        self._blanks = self._blanks[: len(self._blanks) - taken]
        take_back(self._words, count - taken)
        if self._words and not self._words[-1].text.strip():
            self._blanks = self._words.pop().text
        while self._closed and self._closed[-1].words >= len(self._words) - 1:
            self._closed.pop()  # its last word, or the one that closed it, is gone or changed

    def _close(self) -> None:
        while True:
            begin = self._begin
            count = self._full(self._words[begin:])
            if count is None:
                return
            words = self._words[begin : begin + count]
            start_s = self._start(words[0])
            next_s = self._words[begin + count].time_s
            cue = self._cue(words, start_s, self._end_before(words, start_s, next_s))
            self._closed.append(_Closed(cue=cue, words=begin + count))

    def _full(self, words: list[Piece]) -> int | None:
        """How many words make a cue that the word after them cannot join; None while the cue is open."""
        for count in range(1, len(words)):
            nxt = words[count]
            text = _text(words[:count])
            if (
                nxt.time_s - words[count - 1].time_s > PAUSE_S
                or nxt.time_s - words[0].time_s > self.style.max_s - TAIL_S
            ):
                return count
            if _ends_sentence(text) and width(text) >= self.style.chars_per_line:
                return count
            if self._lines(_text(words[: count + 1])) is None:
                return count
        return None

    def _start(self, first: Piece) -> float:
        return max(first.time_s, self._closed[-1].cue.end_s if self._closed else 0.0)

    def _read_s(self, words: list[Piece], chars_per_second: float) -> float:
        return min(self.style.max_s, max(self.style.min_s, width(_text(words)) / chars_per_second))

    def _natural_end(self, words: list[Piece], start_s: float) -> float:
        end_s = max(start_s + self._read_s(words, self.style.chars_per_second), words[-1].time_s + TAIL_S)
        return min(end_s, start_s + self.style.max_s)

    def _end_before(self, words: list[Piece], start_s: float, next_s: float) -> float:
        """End of a cue whose successor wants to start at `next_s`."""
        needed = start_s + self._read_s(words, self.style.chars_per_second)
        latest = next_s + self.style.max_delay_s
        if needed > latest:
            needed = max(latest, start_s + self._read_s(words, self.style.max_chars_per_second))
        return max(needed, min(next_s, self._natural_end(words, start_s)))

    def _lines(self, text: str) -> tuple[str, ...] | None:
        return break_lines(text, self.style.chars_per_line, self.style.max_lines)

    def _cue(self, words: list[Piece], start_s: float, end_s: float) -> Cue:
        text = _text(words)
        return Cue(start_s=start_s, end_s=end_s, lines=self._lines(text) or (text,))


def _parts(piece: str, limit: int) -> list[str]:
    """The units of a piece without inner spaces, which may go to different cues: itself, or its wide characters singly.

    What is wider than a line is cut, or no cue could hold it.
    """
    wide = any(width(sign) == 2 for sign in piece)
    units = re.findall(rf"\s*(?:[!-\u10ff]+|.)[{re.escape(CLOSING)}]*", piece) if wide else [piece]
    half = limit // 2
    return [
        part
        for unit in units
        for part in ([unit] if width(unit) <= limit else [unit[at : at + half] for at in range(0, len(unit), half)])
    ]


def _wide_border(before: str, after: str) -> bool:
    return width(before[-1]) == 2 or width(after[0]) == 2


def _text(words: list[Piece]) -> str:
    return " ".join("".join(word.text for word in words).split())


def _ends_sentence(text: str) -> bool:
    return text.rstrip("\"'»”’)").endswith((".", "!", "?", "…", "。", "！", "？"))


def _clock(seconds: float, mark: str) -> str:
    ms = round(max(0.0, seconds) * 1000)
    return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02}{mark}{ms % 1000:03}"


def _printable(line: str) -> str:
    return "".join(sign for sign in line if sign.isprintable() or sign in "\u200d\u200c")


def srt_cue(number: int, cue: Cue) -> str:
    """One SubRip block; `number` counts from 1. Text that players take for markup is kept apart by U+2060."""
    lines = (
        re.sub(r"(<)(?=[A-Za-z/!])|(\{)(?=\\)|(--)(?=>)", rf"\g<0>{JOINER}", _printable(line)) for line in cue.lines
    )
    return f"{number}\n{_clock(cue.start_s, ',')} --> {_clock(cue.end_s, ',')}\n" + "\n".join(lines) + "\n\n"


VTT_HEADER = "WEBVTT\n\n"


def vtt_cue(cue: Cue) -> str:
    """One WebVTT block with `&`, `<` and `>` escaped."""
    lines = (_printable(line).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;") for line in cue.lines)
    return f"{_clock(cue.start_s, '.')} --> {_clock(cue.end_s, '.')}\n" + "\n".join(lines) + "\n\n"


def to_srt(cues: Iterable[Cue]) -> str:
    return "".join(srt_cue(number, cue) for number, cue in enumerate(cues, start=1))


def to_vtt(cues: Iterable[Cue]) -> str:
    return VTT_HEADER + "".join(map(vtt_cue, cues))
