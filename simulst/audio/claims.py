"""What headers claim about the length of the audio: the one place that decides whether such a size is believed."""

import struct
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

MARKS = (0x7F000000, 0x80000000, 0x1_0000_0000)
"""Near these lie the sizes that programs write into a pipe, where they cannot go back to fix them (arecord, sox)."""
SLACK = 4096


def believed(size: int, bits: int = 32) -> int | None:
    """The size that a header of `bits`-bit sizes claims, None where it only says that the writer did not know."""
    if bits == 64:
        return size if 0 < size < 1 << 62 else None
    return None if not size or any(abs(size - mark) <= SLACK for mark in MARKS) else size


@dataclass(frozen=True, kw_only=True)
class Claim:
    """Where the audio data begins, and how many bytes its header claims; `size` is None where it is not known."""

    begin: int
    size: int | None

    @property
    def end(self) -> int | None:
        return None if self.size is None else self.begin + self.size

    def present(self, length: int) -> float:
        """The share of the claimed data that a source of `length` bytes holds, at most 1."""
        return 1.0 if self.size is None else max(0.0, min(1.0, (length - self.begin) / self.size))


class _Layout(NamedTuple):
    first: int
    """Bytes before the first chunk."""
    head: str
    """Name and size of a chunk."""
    align: int
    data: bytes
    """What the name of the chunk of samples begins with."""
    own: int = 0
    """Bytes of its own head that a size includes."""


_LAYOUTS = {
    b"RIFF": _Layout(12, "<4sI", 2, b"data"),
    b"RF64": _Layout(12, "<4sI", 2, b"data"),
    b"BW64": _Layout(12, "<4sI", 2, b"data"),
    b"RIFX": _Layout(12, ">4sI", 2, b"data"),
    b"FORM": _Layout(12, ">4sI", 2, b"SSND"),
    b"caff": _Layout(8, ">4sq", 1, b"data"),
    b"riff": _Layout(40, "<16sQ", 8, b"data", own=24),
}


FARTHEST = 1 << 60
"""No file is this long: a place beyond it is an invention, and the system could not go there."""


def read_claim(file: BinaryIO) -> Claim | None:
    """The claim of a WAV, RF64, W64, AIFF, CAF or AU header that begins at the file's position; None for others."""
    start, magic = file.tell(), file.read(4)
    if magic == b".snd":
        head = file.read(8)
        return None if len(head) < 8 else Claim(begin=start + _be32(head), size=believed(_be32(head[4:])))
    layout = _LAYOUTS.get(magic)
    return None if layout is None else _data_chunk(file, start + layout.first, layout)


def _data_chunk(file: BinaryIO, place: int, layout: _Layout) -> Claim | None:
    head_bytes, size64 = struct.calcsize(layout.head), 0
    bits = 64 if head_bytes > 8 else 32
    while place < FARTHEST:
        file.seek(place)
        head = file.read(head_bytes)
        if len(head) < head_bytes:
            return None
        name, size = struct.unpack(layout.head, head)
        if name.startswith(layout.data):
            if size64 and size == 0xFFFFFFFF:
                size, bits = size64, 64
            return Claim(begin=place + head_bytes, size=believed(size - layout.own, bits))
        if name == b"ds64":
            size64 = int.from_bytes(file.read(16)[8:], "little")
        if size < layout.own:
            return None
        body = size - layout.own
        place += head_bytes + body + -body % layout.align
    return None


def _be32(data: bytes) -> int:
    return int.from_bytes(data[:4], "big")
