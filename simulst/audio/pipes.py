"""Streams that cannot seek: wav or raw s16le 16 kHz mono, told apart by the header; other formats go to PyAV."""

from collections.abc import Iterator
from typing import BinaryIO

from simulst.audio.containers import open_container
from simulst.audio.resample import SAMPLE_RATE, FloatArray
from simulst.audio.sniff import sniff
from simulst.audio.stream import AudioStream
from simulst.audio.wav import PCM, WavHeader, read_wav_header
from simulst.errors import AudioError

HEAD = 16
TEXT_HEAD = 256
RAW = WavHeader(sample_rate=SAMPLE_RATE, channels=1, coding=PCM, bits=16, data_bytes=None, data_offset=0)


class PushBack:
    """A binary stream whose first bytes have been looked at and are read again."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._front = b""

    def peek(self, count: int) -> bytes:
        self._front = self.read_exactly(count)
        return self._front

    def read(self, count: int = -1) -> bytes:
        """What is there already, at least one byte and at most `count`; b"" at the end."""
        if self._front:
            count = len(self._front) if count < 0 else count
            front, self._front = self._front[:count], self._front[count:]
            return front
        read1 = getattr(self._file, "read1", self._file.read)
        data: bytes = read1(count)
        return data

    def read_exactly(self, count: int) -> bytes:
        """`count` bytes, fewer only at the end."""
        data = b""
        while len(data) < count and (more := self.read(count - len(data))):
            data += more
        return data

    def close(self) -> None:
        self._file.close()


def open_pipe(file: BinaryIO, name: str) -> AudioStream:
    """Audio from a pipe, without waiting for more than is needed. Raises AudioError."""
    pipe = PushBack(file)
    head = pipe.peek(HEAD)
    kind = sniff(head)
    if not head:
        raise AudioError(f"{name} is empty: it holds no audio.")
    if kind == "text" and sniff(pipe.peek(TEXT_HEAD)) == "text":
        raise AudioError(f"{name} holds text, not audio.")
    if kind in ("sndfile", "container"):
        return open_container(pipe, name)
    header = read_wav_header(pipe.read_exactly, name) if kind == "wav" else RAW
    if not header.readable:
        raise AudioError(
            f"{name} is a wav of {header.bits}-bit samples in coding {header.coding}, which only a file can hold: "
            "save it first, or send PCM."
        )
    return AudioStream(
        name=name,
        sample_rate=header.sample_rate,
        channels=header.channels,
        blocks=_blocks(pipe, header, name),
        duration_s=None,
        close=file.close,
    )


def _blocks(pipe: PushBack, header: WavHeader, name: str) -> Iterator[FloatArray]:
    step, left, rest = header.frame_bytes, header.data_bytes, b""
    size = max(1, header.sample_rate // 10) * step  # 100 ms, so that a live pipe is not kept waiting
    while left is None or left > 0:
        data = pipe.read(size if left is None else min(size, left))
        if not data:
            break
        left = None if left is None else left - len(data)
        data = rest + data
        whole = len(data) // step * step
        rest = data[whole:]
        if whole:
            yield header.decode(data[:whole])
    if left:
        missing_s = left / step / header.sample_rate
        raise AudioError(f"{name} is cut short: its last {missing_s:.2f} s are missing.")
    if rest:
        raise AudioError(f"{name} is cut short: it ends in the middle of a sample.")
