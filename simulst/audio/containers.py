"""Everything FFmpeg's libraries decode (mp3, mp4, webm, mkv, transport streams, URLs), through PyAV."""

import io
import re
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import av
import numpy as np

from simulst.audio.resample import FloatArray
from simulst.audio.stream import AudioStream
from simulst.errors import AudioError

NETWORK = "http,https,tcp,tls,crypto,httpproxy,rtmp,rtmps,rtsp,rtp,udp,srt,hls,data"
"""Protocols a URL may lead to; never `file`, so that a remote playlist cannot read local files."""
TIMEOUT_S = 15.0
BAD_PACKETS = 25
"""So many undecodable packets in a row mean damage; fewer are tags and transmission errors."""
KNOWN_LENGTH = ("mov", "matroska", "wav", "flac", "aiff", "avi", "asf")
"""Formats whose header states the duration; elsewhere it is a guess from the bit rate."""


class Readable(Protocol):
    def read(self, count: int = -1, /) -> bytes: ...
    def close(self) -> None: ...


def open_url(url: str) -> AudioStream:
    """Open a network stream. Raises AudioError."""
    shown = re.sub(r"//[^/@]*@", "//", url)
    try:
        container = av.open(url, options={"protocol_whitelist": NETWORK}, timeout=(TIMEOUT_S, TIMEOUT_S))
    except (av.FFmpegError, OSError, ValueError) as error:
        raise AudioError(f"{shown} cannot be opened: {_reason(error)}.") from None
    return _stream(container, shown, container.close, exact=False)


def open_container(file: Readable, name: str) -> AudioStream:
    """Decode an open file; nothing that it refers to (playlists, segments) is ever followed. Raises AudioError."""
    try:
        container = av.open(file, options={"protocol_whitelist": "none"})
    except (av.FFmpegError, OSError, ValueError):
        file.close()
        raise AudioError(f"{name} is not audio in any known format (wav, flac, mp3, ogg, mp4, webm, ...).") from None
    exact = any(part in KNOWN_LENGTH for part in container.format.name.split(","))
    if container.format.name == "mp3" and isinstance(file, io.BufferedReader):
        place = file.tell()
        file.seek(0)
        head = file.read(1 << 18)
        file.seek(place)
        exact = b"Xing" in head or b"Info" in head

    def close() -> None:
        container.close()
        file.close()

    return _stream(container, name, close, exact=exact)


def _stream(container: Any, name: str, close: Callable[[], None], *, exact: bool) -> AudioStream:
    if not container.streams.audio:
        close()
        raise AudioError(f"{name} has no audio track.")
    track = container.streams.audio[0]
    rate, channels = track.codec_context.sample_rate or 0, track.codec_context.channels
    duration_s = float(track.duration * track.time_base) if track.duration else None
    if duration_s is None and container.duration:
        duration_s = container.duration / av.time_base
    if not rate:
        close()
        raise AudioError(f"{name} is damaged: its audio track has no sample rate.")
    return AudioStream(
        name=name,
        sample_rate=rate,
        channels=channels,
        blocks=_blocks(container, track, name, rate, duration_s if exact else None),
        duration_s=duration_s,
        close=close,
    )


def _blocks(container: Any, track: Any, name: str, rate: int, promised_s: float | None) -> Iterator[FloatArray]:
    done = 0
    for frame in _frames(container, track, name):
        if frame.sample_rate != rate:
            raise AudioError(f"{name} changes its sample rate at {done / rate:.2f} s, which is not supported.")
        block = _to_float(frame)
        done += len(block)
        yield block
    if promised_s is not None and done / rate < promised_s - max(0.2, 0.01 * promised_s):
        raise AudioError(f"{name} is cut short or damaged: {done / rate:.2f} s of {promised_s:.2f} s can be read.")


def _frames(container: Any, track: Any, name: str) -> Iterator[Any]:
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
                raise AudioError(f"{name} is damaged or broke off: {_reason(error)}.") from None
            continue
        bad = 0
        yield from frames


def _to_float(frame: Any) -> FloatArray:
    """One decoded frame -> [samples, channels]."""
    data = frame.to_ndarray()
    channels = frame.layout.nb_channels
    data = data.T if frame.format.is_planar else data.reshape(-1, channels)
    if data.dtype == np.uint8:
        return np.asarray((data.astype(np.float32) - 128) / 128, np.float32)
    if data.dtype.kind == "i":
        return np.asarray(data.astype(np.float32) / -float(np.iinfo(data.dtype).min), np.float32)
    return np.asarray(data, np.float32)


def _reason(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error)  # never the address: it may hold a password
    return text.rstrip(".").lower()
