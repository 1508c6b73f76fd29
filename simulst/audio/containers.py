"""Everything FFmpeg's libraries decode (mp3, mp4, webm, mkv, transport streams, URLs), through PyAV."""

import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import av
import numpy as np
from av.audio.stream import AudioStream as AudioStreamOfFile
from av.container import InputContainer

from simulst.audio.samples import FloatArray
from simulst.audio.seeking import seek
from simulst.audio.stream import AudioStream, cut_short
from simulst.errors import AudioError

TIMEOUT_S = 15.0
BAD_PACKETS = 25
"""So many undecodable packets in a row mean damage; fewer are tags and transmission errors."""
KNOWN_LENGTH = frozenset({"mov", "matroska", "flac", "avi", "asf"})
"""Formats whose header states the duration; where it states bytes, simulst.audio.claims judges."""
GUESSED_LENGTH = frozenset({"aac", "ac3", "eac3", "dts", "loas", "mp3", "wav"})
"""Formats whose duration FFmpeg guesses from a bit rate (mp3 may state it nevertheless)."""


class Readable(Protocol):
    def read(self, count: int = -1, /) -> bytes: ...
    def close(self) -> None: ...


class SoughtFile(io.FileIO):
    """A file for FFmpeg: a place that no file has is its end; PyAV would print a traceback where Python raises."""

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        try:
            return super().seek(offset, whence)
        except (OSError, ValueError, OverflowError):
            return super().seek(0, os.SEEK_END)


def open_container(
    file: Readable, name: str, *, from_s: float = 0.0, present: Callable[[], float] | None = None
) -> AudioStream:
    """Decode an open file from `from_s` on; nothing that it refers to (playlists, segments) is ever followed.

    `present` says at the end what share of the data that the header claims was there. Raises AudioError.
    """
    try:
        container = av.open(file, options={"protocol_whitelist": "none"})
    except (av.FFmpegError, OSError, ValueError):
        file.close()
        raise AudioError(f"{name} is not audio in any known format (wav, flac, mp3, ogg, mp4, webm, ...).") from None

    def close() -> None:
        container.close()
        file.close()

    return stream_of(container, name, close, exact=_states_length(container, file), from_s=from_s, present=present)


def counted_s(path: Path) -> float:
    """Duration of the frames in a file that does not state it, in seconds; nothing is decoded. Raises AudioError."""
    try:
        with SoughtFile(path) as file, av.open(file, options={"protocol_whitelist": "none"}) as container:
            track = container.streams.audio[0]
            ticks = sum(packet.duration or 0 for packet in container.demux(track))
            return float(ticks * (track.time_base or 0))
    except (av.FFmpegError, OSError, ValueError, IndexError) as error:
        raise AudioError(f"{path} cannot be read: {reason(error)}.") from None


def _formats(container: InputContainer) -> frozenset[str]:
    return frozenset(container.format.name.split(","))


def _states_length(container: InputContainer, file: Readable) -> bool:
    """Whether the header says how long the audio is, so that less means a cut."""
    if "mp3" not in _formats(container):
        return not KNOWN_LENGTH.isdisjoint(_formats(container))
    if not isinstance(file, io.BufferedReader | SoughtFile):
        return False
    place = file.tell()
    file.seek(0)
    head = file.read(1 << 18)
    file.seek(place)
    return b"Xing" in head or b"Info" in head


def stream_of(
    container: InputContainer,
    name: str,
    close: Callable[[], None],
    *,
    exact: bool = False,
    from_s: float = 0.0,
    present: Callable[[], float] | None = None,
) -> AudioStream:
    if not container.streams.audio:
        close()
        raise AudioError(f"{name} has no audio track.")
    track = container.streams.audio[0]
    if track.codec_context is None:
        close()
        raise AudioError(f"{name} is damaged, or its audio is in a coding that FFmpeg cannot decode.")
    rate, channels = track.codec_context.sample_rate or 0, track.codec_context.channels
    duration_s = _stated_s(container, track) if exact or GUESSED_LENGTH.isdisjoint(_formats(container)) else None
    if not rate:
        close()
        raise AudioError(f"{name} is damaged: its audio track has no sample rate.")
    promised_s = duration_s if exact else None
    return AudioStream(
        name=name,
        sample_rate=rate,
        channels=channels,
        blocks=_blocks(container, track, name, rate, promised_s, round(from_s * rate), present or (lambda: 1.0)),
        duration_s=duration_s,
        close=close,
    )


def _stated_s(container: InputContainer, track: AudioStreamOfFile) -> float | None:
    if track.duration and track.time_base:
        return float(track.duration * track.time_base)
    return container.duration / av.time_base if container.duration else None


def _blocks(
    container: InputContainer,
    track: AudioStreamOfFile,
    name: str,
    rate: int,
    promised_s: float | None,
    first: int,
    present: Callable[[], float],
) -> Iterator[FloatArray]:
    """Everything from frame `first` on, [frames, channels]; AudioError at the end where that is less than promised."""
    done = seek(container, track, rate, first) if first else 0
    for frame in _frames(container, track, name):
        if frame.sample_rate != rate:
            raise AudioError(f"{name} changes its sample rate at {done / rate:.2f} s, which is not supported.")
        block = _to_float(frame)
        skipped = max(0, first - done)
        done += len(block)
        if skipped < len(block):
            yield block[skipped:]
    there = present()
    if not there:
        raise AudioError(f"{name} is cut short: it ends before its first sample.")
    if there < 1:
        raise cut_short(name, done / rate, done / rate / there)
    if promised_s is not None and done / rate < promised_s - max(0.2, 0.01 * promised_s):
        raise cut_short(name, done / rate, promised_s)


def _frames(container: InputContainer, track: AudioStreamOfFile, name: str) -> Iterator[av.AudioFrame]:
    bad, packets = 0, container.demux(track)
    while True:
        try:
            packet = next(packets, None)
            if packet is None:
                return
            frames = packet.decode()
        except (av.FFmpegError, OSError) as error:
            bad += 1
            if bad >= BAD_PACKETS or not isinstance(error, av.InvalidDataError):
                raise AudioError(f"{name} is damaged or broke off: {reason(error)}.") from None
            continue
        bad = 0
        yield from frames


def _to_float(frame: av.AudioFrame) -> FloatArray:
    """One decoded frame -> [samples, channels]."""
    data = frame.to_ndarray()
    channels = frame.layout.nb_channels
    data = data.T if frame.format.is_planar else data.reshape(-1, channels)
    if data.dtype == np.uint8:
        return np.asarray((data.astype(np.float32) - 128) / 128, np.float32)
    if data.dtype.kind == "i":
        return np.asarray(data.astype(np.float32) / -float(np.iinfo(data.dtype).min), np.float32)
    return np.asarray(data, np.float32)


def reason(error: Exception) -> str:
    if isinstance(error, av.error.ExitError | TimeoutError):
        return f"nothing came for {TIMEOUT_S:g} s"
    strerror = error.strerror if isinstance(error, av.error.FFmpegError | OSError) else None
    text = str(strerror or error)  # never the address: it may hold a password
    return text.rstrip(".").lower()
