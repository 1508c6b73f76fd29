"""Streams that cannot seek: wav or raw s16le 16 kHz mono, told apart by the header; other formats go to PyAV."""

import io
from collections.abc import Iterator
from typing import Protocol

from simulst.audio import sync
from simulst.audio.claims import read_claim
from simulst.audio.containers import open_container
from simulst.audio.samples import SAMPLE_RATE, FloatArray
from simulst.audio.sniff import sniff
from simulst.audio.stream import AudioStream
from simulst.audio.wav import PCM, WavHeader, read_wav_header
from simulst.errors import AudioError

HEAD = 16
TEXT_HEAD = 256
CLAIM_HEAD = 4096
RAW = WavHeader(sample_rate=SAMPLE_RATE, channels=1, coding=PCM, bits=16, data_bytes=None, data_offset=0)


class Source(Protocol):
    def read(self, count: int = -1, /) -> bytes: ...
    def close(self) -> None: ...


class PushBack:
    """A binary stream whose first bytes have been looked at and are read again; counts what came from the stream."""

    def __init__(self, file: Source) -> None:
        self._file = file
        self._front = b""
        self.count = 0

    def peek(self, count: int) -> bytes:
        self._front = self.read_exactly(count)
        return self._front

    def push(self, data: bytes) -> None:
        """Put bytes back in front of the rest."""
        self._front = data + self._front

    def read(self, count: int = -1) -> bytes:
        """What is there already, at least one byte and at most `count`; b"" at the end."""
        if self._front:
            count = len(self._front) if count < 0 else count
            front, self._front = self._front[:count], self._front[count:]
            return front
        data = self._file.read1(count) if isinstance(self._file, io.BufferedIOBase) else self._file.read(count)
        self.count += len(data)
        return data

    def read_exactly(self, count: int) -> bytes:
        """`count` bytes, fewer only at the end."""
        data = b""
        while len(data) < count and (more := self.read(count - len(data))):
            data += more
        return data

    def close(self) -> None:
        self._file.close()


def open_pipe(file: Source, name: str, *, length: int | None = None) -> AudioStream:
    """Audio from a pipe, without waiting for more than is needed; `length` in bytes where it is known.

    Raises AudioError, also where the stream cannot be read.
    """
    pipe = PushBack(file)
    try:
        return _open(pipe, name, length)
    except OSError as error:
        raise _broken(name, error) from None


def _open(pipe: PushBack, name: str, length: int | None) -> AudioStream:
    head = pipe.peek(HEAD)
    if not head:
        raise AudioError(f"{name} is empty: it holds no audio.")
    kind = sniff(head)
    if kind == "text" and sniff(pipe.peek(TEXT_HEAD)) == "text":
        raise AudioError(f"{name} holds text, not audio.")
    if kind == "wav":
        return _open_wav(pipe, name, length)
    if kind == "sndfile":
        return _open_claimed(pipe, name, pipe.peek(CLAIM_HEAD))
    if kind == "container" or sync.in_frames(pipe.peek(sync.HEAD_BYTES)):
        return open_container(pipe, name)
    return _stream(pipe, RAW, name, None)


def _open_wav(pipe: PushBack, name: str, length: int | None) -> AudioStream:
    head = b""

    def read(count: int) -> bytes:
        nonlocal head
        data = pipe.read_exactly(count)
        head += data
        return data

    header = read_wav_header(read, name)
    if not header.readable:
        pipe.push(head)
        return _open_claimed(pipe, name, head)
    return _stream(pipe, header, name, length)


def _open_claimed(pipe: PushBack, name: str, head: bytes) -> AudioStream:
    """Through PyAV, with what `head` claims about the length checked at the end."""
    claim = read_claim(io.BytesIO(head))
    return open_container(pipe, name, present=lambda: 1.0 if claim is None else claim.present(pipe.count))


def _stream(pipe: PushBack, header: WavHeader, name: str, length: int | None) -> AudioStream:
    size = header.data_bytes
    if size is None and length is not None:
        size = length - header.data_offset
    return AudioStream(
        name=name,
        sample_rate=header.sample_rate,
        channels=header.channels,
        blocks=_blocks(pipe, header, name),
        duration_s=None if size is None else size / header.frame_bytes / header.sample_rate,
        close=pipe.close,
    )


def _blocks(pipe: PushBack, header: WavHeader, name: str) -> Iterator[FloatArray]:
    rate, done = header.sample_rate, 0
    while True:
        for block in _samples(pipe, header, name):
            done += len(block)
            yield block
        if header.data_bytes is None:
            return
        if header.data_bytes % 2:
            pipe.read_exactly(1)
        if sniff(pipe.peek(HEAD)) != "wav":  # what else follows the samples is not audio
            return
        header = read_wav_header(pipe.read_exactly, name)
        if header.sample_rate != rate or not header.readable:
            raise AudioError(
                f"{name} changes its sample rate or coding at {done / rate:.2f} s, which is not supported."
            )


def _samples(pipe: PushBack, header: WavHeader, name: str) -> Iterator[FloatArray]:
    """The samples of one recording."""
    step, left, rest = header.frame_bytes, header.data_bytes, b""
    size = max(1, header.sample_rate // 10) * step  # 100 ms, so that a live pipe is not kept waiting
    while left is None or left > 0:
        try:
            data = pipe.read(size if left is None else min(size, left))
        except OSError as error:
            raise _broken(name, error) from None
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


def _broken(name: str, error: OSError) -> AudioError:
    return AudioError(f"{name} cannot be read: {(error.strerror or str(error)).rstrip('.').lower()}.")
