"""RIFF/WAVE headers, read from the front of a stream that cannot seek (standard input, sockets)."""

import struct
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from simulst.audio.claims import believed
from simulst.audio.samples import FloatArray
from simulst.errors import AudioError

PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
MAX_HEADER_CHUNK = 1 << 20


@dataclass(frozen=True, kw_only=True)
class WavHeader:
    """Layout of the samples; `data_bytes` is None where the header does not say how many follow."""

    sample_rate: int
    channels: int
    coding: int
    bits: int
    data_bytes: int | None
    data_offset: int

    @property
    def frame_bytes(self) -> int:
        return self.channels * self.bits // 8

    @property
    def readable(self) -> bool:
        """Whether `decode` knows the coding; A-law, ADPCM and the like need a real decoder."""
        return (self.coding, self.bits) in {(PCM, 8), (PCM, 16), (PCM, 24), (PCM, 32), (FLOAT, 32), (FLOAT, 64)}

    def decode(self, data: bytes) -> FloatArray:
        """Whole frames of little-endian samples -> [frames, channels] in [-1, 1)."""
        samples: FloatArray
        if self.coding == FLOAT:
            with np.errstate(over="ignore"):  # an infinity is reported by the stream
                samples = np.frombuffer(data, "<f4" if self.bits == 32 else "<f8").astype(np.float32)
        elif self.bits == 8:
            samples = (np.frombuffer(data, np.uint8).astype(np.float32) - np.float32(128)) * np.float32(2**-7)
        elif self.bits == 16:
            samples = np.frombuffer(data, "<i2").astype(np.float32) * np.float32(2**-15)
        else:
            if self.bits == 24:
                padded = np.zeros((len(data) // 3, 4), np.uint8)
                padded[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
                data = padded.tobytes()
            samples = np.frombuffer(data, "<i4").astype(np.float32) * np.float32(2**-31)
        return samples.reshape(-1, self.channels)


def read_wav_header(read: Callable[[int], bytes], name: str) -> WavHeader:
    """Read up to the first sample; `read(n)` must return n bytes unless the stream ends. Raises AudioError."""
    cut = AudioError(f"{name} is cut short: it ends inside the wav header.")
    riff = read(12)
    if len(riff) < 12:
        raise cut
    offset, layout, data64 = 12, None, None
    while True:
        head = read(8)
        if len(head) < 8:
            raise cut
        kind, size = head[:4], struct.unpack("<I", head[4:])[0]
        offset += 8
        if kind == b"data":
            break
        if size > MAX_HEADER_CHUNK:
            raise AudioError(f"{name} has a damaged wav header.")
        body = read(size + size % 2)
        if len(body) < size:
            raise cut
        offset += len(body)
        if kind == b"fmt " and size >= 16:
            layout = _layout(body)
        elif kind == b"ds64" and size >= 16:
            data64 = struct.unpack("<Q", body[8:16])[0]
    if layout is None or not layout[1] or not layout[2]:
        raise AudioError(f"{name} has a damaged wav header.")
    coding, channels, rate, bits = layout
    length = believed(size) if riff[:4] == b"RIFF" or size != 0xFFFFFFFF else believed(data64 or 0, 64)
    return WavHeader(
        sample_rate=rate, channels=channels, coding=coding, bits=bits, data_bytes=length, data_offset=offset
    )


def _layout(body: bytes) -> tuple[int, int, int, int]:
    """coding, channels, rate, bits of a "fmt " chunk."""
    coding, channels, rate, _, _, bits = struct.unpack("<HHIIHH", body[:16])
    if coding == EXTENSIBLE and len(body) >= 26:
        coding = struct.unpack("<H", body[24:26])[0]
    return coding, channels, rate, bits
