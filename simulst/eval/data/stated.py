"""Lengths that compressed recordings state, read from a few bytes: opening a decoder takes ten times as long.

Each reader gives what it is sure of and None for everything else. What a file states is not counted: of recordings that
stand behind one another in one file only one is seen, so a stretch that lies beyond it has to be looked for.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

HEAD_BYTES = 4096
TAIL_BYTES = 1 << 16
"""An Ogg page is no longer."""
_MP3_RATES_HZ = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
"""By the two bits of the version: MPEG-1, 2 and 2.5."""


@dataclass(frozen=True, kw_only=True)
class Stated:
    """What a header says."""

    sample_rate: int
    channels: int
    duration_s: float


def read_stated(file: BinaryIO) -> Stated | None:
    """What a FLAC, Ogg Vorbis, Ogg Opus or MP3 file states; None for other files and where anything is odd."""
    head = file.read(HEAD_BYTES)
    for magic, reader in _READERS.items():
        if head.startswith(magic):
            found = reader(head, file)
            return found if found is not None and found.duration_s > 0 and found.channels else None
    return None


def _flac(head: bytes, file: BinaryIO) -> Stated | None:
    """The first block, which is STREAMINFO: 20 bits of rate, 3 of channels, 5 of width, 36 of samples."""
    if head[4] & 0x7F or head[5:8] != b"\x00\x00\x22" or len(head) < 42:
        return None
    bits = int.from_bytes(head[18:26], "big")
    rate, samples = bits >> 44, bits & (1 << 36) - 1
    if not rate:
        return None
    return Stated(sample_rate=rate, channels=(bits >> 41 & 7) + 1, duration_s=samples / rate)


def _ogg(head: bytes, file: BinaryIO) -> Stated | None:
    """Rate and channels of the first page, the time of the last one, both of one and the same stream."""
    packet = head[27 + head[26] :] if len(head) > 27 else b""
    if packet.startswith(b"\x01vorbis") and len(packet) >= 16:
        channels, rate, skipped = packet[11], int.from_bytes(packet[12:16], "little"), 0
        clock_hz = rate
    elif packet.startswith(b"OpusHead") and len(packet) >= 12:
        channels, rate, skipped = packet[9], 48_000, int.from_bytes(packet[10:12], "little")
        clock_hz = 48_000
    else:
        return None
    file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL_BYTES))
    tail = file.read(TAIL_BYTES)
    last = tail.rfind(b"OggS\x00")
    page = tail[last : last + 27]
    if last < 0 or len(page) < 27 or page[14:18] != head[14:18] or page[6:14] == b"\xff" * 8 or not rate:
        return None
    samples = int.from_bytes(page[6:14], "little") - skipped
    return Stated(sample_rate=rate, channels=channels, duration_s=samples / clock_hz)


def _mp3(head: bytes, file: BinaryIO) -> Stated | None:
    """The frames that a Xing or Info tag counts in the first frame, less what its encoder says it added."""
    if head.startswith(b"ID3"):
        length = 10 + (head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9])
        file.seek(length)
        head = file.read(HEAD_BYTES)
    version, layer, rate_code = head[1] >> 3 & 3, head[1] >> 1 & 3, head[2] >> 2 & 3
    if head[0] != 0xFF or head[1] >> 5 != 7 or version == 1 or layer != 1 or rate_code == 3:
        return None
    mono = head[3] >> 6 == 3
    tag = 4 + ((17 if mono else 32) if version == 3 else (9 if mono else 17))
    if head[tag : tag + 4] not in (b"Xing", b"Info") or not head[tag + 7] & 1:
        return None
    rate, samples = _MP3_RATES_HZ[version][rate_code], 1152 if version == 3 else 576
    samples *= int.from_bytes(head[tag + 8 : tag + 12], "big")
    if head[tag + 7] & 15 == 15 and head[tag + 120 : tag + 124] in (b"LAME", b"Lavf", b"Lavc"):
        added = int.from_bytes(head[tag + 141 : tag + 144], "big")
        samples -= (added >> 12) + (added & 0xFFF)
    return Stated(sample_rate=rate, channels=1 if mono else 2, duration_s=samples / rate)


_READERS: dict[bytes, Callable[[bytes, BinaryIO], Stated | None]] = {
    b"fLaC": _flac,
    b"OggS": _ogg,
    b"ID3": _mp3,
    b"\xff\xfb": _mp3,
    b"\xff\xfa": _mp3,
    b"\xff\xf3": _mp3,
    b"\xff\xf2": _mp3,
    b"\xff\xe3": _mp3,
    b"\xff\xe2": _mp3,
}
