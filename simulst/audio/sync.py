"""Compressed audio without a header of its own: frames that follow each other, each with a sync word and its length.

MPEG audio (mp3, mp2), AAC (ADTS), AC-3, E-AC-3 and transport streams; in a pipe they must be told from raw samples.
"""

from collections.abc import Callable

HEAD_BYTES = 4096
"""What must be looked at: 128 ms of raw samples."""
MIN_FRAMES = 3

_MPEG1_KBPS = {
    3: (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    2: (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    1: (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
}
_MPEG2_KBPS = {
    3: (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    2: (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    1: (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_MPEG_HZ = (44_100, 48_000, 32_000)
_AC3_KBPS = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640)


def in_frames(head: bytes) -> bool:
    """Whether `head`, the first `HEAD_BYTES` of a source or all of it, consists of frames.

    The first may be cut, as where a broadcast is joined; raw samples look like this once in more than 2^30 times.
    """
    return any(_chain(head, place) for place in range(min(len(head), HEAD_BYTES // 2)))


def _chain(head: bytes, place: int) -> bool:
    """Whether frames of one kind follow each other from `place` to the end of `head`."""
    return any(_follow(head, place, length) for length in (_mpeg, _adts, _ac3, _transport))


def _follow(head: bytes, start: int, length: Callable[[bytes], tuple[int, bytes] | None]) -> bool:
    place, count, kind = start, 0, b""
    while place + 8 <= len(head):
        found = length(head[place : place + 8])
        if found is None or (count and found[1] != kind):
            return False
        kind, count, place = found[1], count + 1, place + found[0]
    return count >= MIN_FRAMES or (not start and count == 2)


def _mpeg(head: bytes) -> tuple[int, bytes] | None:
    """Bytes of the MPEG audio frame that begins with `head`, and what is the same in all frames of a stream."""
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
    rate, hz, padding = head[2] >> 4, head[2] >> 2 & 3, head[2] >> 1 & 1
    if head[0] != 0xFF or head[1] < 0xE0 or version == 1 or not layer or hz == 3 or rate in (0, 15):
        return None
    first = version == 3
    bits = 1000 * (_MPEG1_KBPS if first else _MPEG2_KBPS)[layer][rate - 1]
    sample_rate = _MPEG_HZ[hz] >> (0 if first else 1 if version == 2 else 2)
    if layer == 3:
        size = (12 * bits // sample_rate + padding) * 4
    else:
        size = (72 if layer == 1 and not first else 144) * bits // sample_rate + padding
    return size, bytes([head[1] & 0xFE, hz])


def _adts(head: bytes) -> tuple[int, bytes] | None:
    if head[0] != 0xFF or head[1] & 0xF6 != 0xF0 or head[2] >> 2 & 15 > 12:
        return None
    size = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    return (size, head[1:3]) if size > 7 else None


def _ac3(head: bytes) -> tuple[int, bytes] | None:
    if head[:2] != b"\x0b\x77":
        return None
    version, hz = head[5] >> 3, head[4] >> 6
    if 10 < version <= 16:
        return 2 * ((head[2] & 7) << 8 | head[3]) + 2, bytes([version])
    if version > 10 or hz == 3 or head[4] & 63 > 37:
        return None
    kbps, odd = _AC3_KBPS[(head[4] & 63) // 2], head[4] & 1
    words = {0: 2 * kbps, 1: 320 * kbps // 147 + odd, 2: 3 * kbps}[hz]
    return 2 * words, head[4:5]


def _transport(head: bytes) -> tuple[int, bytes] | None:
    """A packet of 188 bytes; one that says it is damaged or scrambled does not count."""
    return (188, b"") if head[0] == 0x47 and not head[1] & 0x80 and head[3] & 0x30 and not head[3] & 0xC0 else None
