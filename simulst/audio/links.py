"""Recordings that follow one another in one file (`cat a.ogg b.ogg`), each of which libsndfile reads alone."""

import functools
import mmap
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

import soundfile

from simulst.audio.claims import FARTHEST, read_claim

Span = tuple[int, int]
"""First byte and the one after the last."""

_FLAC = re.compile(rb"fLaC[\x00\x80]\x00\x00\x22")  # the magic word and the head of STREAMINFO, which must follow it
_OGG_PAGE = re.compile(rb"OggS\x00([\x00-\x07])", re.DOTALL)
_FIRST_PAGE = 2
_WAVE = (b"RIFF", b"RF64")


@dataclass(frozen=True, kw_only=True)
class Link:
    """One recording; `frames` is what its header says."""

    path: Path
    span: Span
    whole: bool
    """It is all that the file holds."""
    sample_rate: int = 0
    channels: int = 0
    frames: int = 0

    @contextmanager
    def open(self) -> Iterator[soundfile.SoundFile]:
        """Open for reading; raises LibsndfileError or OSError."""
        if self.whole:  # by its bytes, so that any name will do
            name = str(self.path) if os.name == "nt" else os.fsencode(self.path)
            with soundfile.SoundFile(name) as file:
                yield file
            return
        with self.path.open("rb") as data, soundfile.SoundFile(Window(data, self.span)) as file:
            yield file


class Window:
    """A stretch of a file as a file of its own, as far as soundfile uses one."""

    def __init__(self, file: BinaryIO, span: Span) -> None:
        self._file = file
        self._begin, self._end = span
        file.seek(self._begin)

    def tell(self) -> int:
        return self._file.tell() - self._begin

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self.tell(), os.SEEK_END: self._end - self._begin}[whence]
        return self._file.seek(self._begin + max(0, origin + offset)) - self._begin

    def read(self, count: int) -> bytes:
        return self._file.read(max(0, min(count, self._end - self._file.tell())))


def find_links(path: Path) -> list[Link]:
    """Every recording in the file, in order. Raises LibsndfileError or OSError where one cannot be opened."""
    stat = path.stat()
    return list(_links(path, stat.st_size, stat.st_mtime_ns))


@functools.lru_cache(maxsize=256)
def _links(path: Path, size: int, changed_ns: int) -> tuple[Link, ...]:
    starts = [*_starts(path), size]
    spans = list(pairwise(starts))
    found = []
    for span in spans:
        link = Link(path=path, span=span, whole=len(spans) == 1)
        with link.open() as file:
            found.append(
                Link(
                    path=path,
                    span=span,
                    whole=link.whole,
                    sample_rate=file.samplerate,
                    channels=file.channels,
                    frames=file.frames,
                )
            )
    return tuple(found)


def _starts(path: Path) -> list[int]:
    """Where recordings begin: at 0 and at every further one."""
    with path.open("rb") as file:
        head = file.read(4)
        if head in _WAVE:
            return [0, *_further_waves(file)]
        if head not in (b"fLaC", b"OggS"):
            return [0]
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            if head == b"fLaC":
                return [0, *(found.start() for found in _FLAC.finditer(data, 4))]
            pages = [(found.start(), bool(found[1][0] & _FIRST_PAGE)) for found in _OGG_PAGE.finditer(data)]
            # The first pages of multiplexed tracks stand together, at the beginning of their link.
            behind = pairwise(pages)
            return [0, *(place for (_, before), (place, first) in behind if first and not before)]


def _further_waves(file: BinaryIO) -> Iterator[int]:
    place = 0
    while True:
        file.seek(place)
        claim = read_claim(file)
        if claim is None or claim.end is None or claim.end >= FARTHEST:
            return
        place = claim.end + claim.end % 2
        file.seek(place)
        head = file.read(12)
        if not (head[:4] in _WAVE and head[8:] == b"WAVE"):
            return
        yield place
