"""What a test set is made of: items (one stream each), their references, and what is wrong with them."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

from simulst.audio import open_file, read_audio
from simulst.audio.samples import FloatArray
from simulst.errors import DataError
from simulst.eval.data.segmentation import Segment

Form = Literal["short", "long"]


@dataclass(frozen=True, kw_only=True)
class Item:
    """One stream to translate: a recording, or a stretch of one."""

    index: int
    audio: Path
    name: str
    """How the test set calls the recording; logs carry it as `source`."""
    offset_s: float = 0.0
    duration_s: float | None = None
    """None: to the end of the recording."""
    audio_s: float = 0.0
    """Length of the stream as the file's header tells it."""
    reference: str | None = None
    text: str | None = None
    """What is said, in the source language."""
    where: str = ""
    """File and line, for messages."""

    def open(self) -> Iterator[FloatArray]:
        """16 kHz mono blocks of the item and no more; AudioError where the audio is damaged."""
        if self.offset_s or self.duration_s is not None:
            yield read_audio(self.audio, start_s=self.offset_s, duration_s=self.duration_s)
            return
        with open_file(self.audio) as stream:
            yield from stream


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Something wrong with a test set; `fatal` where it cannot be evaluated as it is."""

    where: str
    what: str
    fatal: bool = True
    index: int | None = None
    """The item that cannot be used, where it is only one."""
    segment: int | None = None
    """The reference segment of a long recording that cannot be scored, although the recording can be translated."""

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Items in order, with the segments that long recordings are scored by."""

    name: str
    path: Path
    form: Form
    items: tuple[Item, ...]
    segments: tuple[Segment, ...] | None = None
    """Reference segments of long recordings; None where every item has its own reference."""
    texts: tuple[str, ...] | None = None
    """What is said in each of `segments`, where it is known."""
    source_lang: str = ""
    target_lang: str = ""
    problems: tuple[Problem, ...] = field(default=(), repr=False)

    @property
    def audio_s(self) -> float:
        return sum(item.audio_s for item in self.items)

    @cached_property
    def fingerprint(self) -> str:
        """A digest of what is to be translated and against what; the place on the disk does not count."""
        lines = [f"{i.name}\t{i.offset_s:.6f}\t{i.duration_s}\t{i.reference}\n" for i in self.items]
        lines += [f"{s.wav}\t{s.offset_s}\t{s.duration_s}\t{s.reference}\n" for s in self.segments or ()]
        return hashlib.sha256("".join([self.form, *lines]).encode()).hexdigest()[:16]

    def first(self, count: int | None) -> "Dataset":
        """The first items alone; the fingerprint stays that of the whole set, so a limit may be raised later."""
        if count is None or count >= len(self.items):
            return self
        smaller = replace(self, items=self.items[:count])
        smaller.__dict__["fingerprint"] = self.fingerprint
        return smaller

    def usable(self, *, skip_bad: bool) -> tuple["Dataset", list[Problem]]:
        """The set without what cannot be used, and why each item is missing; DataError unless allowed and enough.

        A bad segment of a long recording costs that segment, and the recording only where it has no other.
        """
        fatal = [problem for problem in self.problems if problem.fatal]
        general = any(problem.index is None for problem in fatal)
        if fatal and (not skip_bad or general):
            more = f" (and {len(fatal) - 1} more, see `simulst data check {self.path}`)" if len(fatal) > 1 else ""
            what = "segments" if fatal[0].segment is not None else "items"
            advice = "" if general else f"; fix it, or leave such {what} out with --skip-bad"
            raise DataError(f"{str(fatal[0]).rstrip('.')}{advice}{more}.")
        segments = self._usable_segments({problem.segment for problem in fatal})
        fatal = [problem for problem in fatal if problem.segment is None or self._is_bare(problem.index, segments)]
        known = {problem.index for problem in fatal}
        kept = tuple(item for item in self.items if item.index not in known)
        if not kept:
            raise DataError(f"{self.path} has no usable item; `simulst data check {self.path}` lists what is wrong.")
        smaller = replace(self, items=kept, segments=segments)
        smaller.__dict__["fingerprint"] = self.fingerprint
        return smaller, fatal

    def _usable_segments(self, bad: set[int | None]) -> tuple[Segment, ...] | None:
        if self.segments is None:
            return None
        return tuple(segment for segment in self.segments if segment.index not in bad)

    def _is_bare(self, index: int | None, segments: tuple[Segment, ...] | None) -> bool:
        """Whether none of the segments is of that recording."""
        names = {item.name for item in self.items if item.index == index}
        return not any(segment.wav in names for segment in segments or ())


def check_count(what: str, found: int, other: str, expected: int) -> None:
    if found != expected:
        raise DataError(f"{what} has {found} lines but {other} has {expected}; the counts must match.")


def blank_references(lines: Sequence[str], name: str) -> list[Problem]:
    """A note for each empty line."""
    return [
        Problem(
            where=f"{name}, line {number}", what="no reference text; it counts as an empty translation", fatal=False
        )
        for number, line in enumerate(lines, 1)
        if not line.strip()
    ]
