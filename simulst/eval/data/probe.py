"""What the headers of recordings tell before anything is decoded."""

import stat
import struct
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from simulst.audio import open_file
from simulst.audio.resample import MAX_RATE_HZ, MIN_RATE_HZ
from simulst.audio.samples import SAMPLE_RATE
from simulst.errors import AudioError
from simulst.eval.data.stated import read_stated

THREADS = 8
"""Most of the time to open a decoder is waiting for the disk."""
_WAV = struct.Struct("<4sI4s4sIHHIIHH4sI")
"""RIFF, size, WAVE, fmt, 16, coding, channels, rate, bytes a second, bytes a frame, bits, data, size."""
TOLERANCE_S = 0.5
"""A segment may end this much after its recording (MuST-C's ends are rounded); what is there is used."""


@dataclass(frozen=True, kw_only=True)
class Header:
    """`error` says what is wrong with the file, "" if nothing is."""

    duration_s: float = 0.0
    sample_rate: int = SAMPLE_RATE
    channels: int = 1
    error: str = ""
    counted: bool = True
    """False where the duration is what the file states, and more recordings may stand behind the first."""

    def within_s(self, offset_s: float, duration_s: float | None) -> float:
        """How much of a stretch is there; `duration_s` None: to the end."""
        rest_s = max(0.0, self.duration_s - offset_s)
        return rest_s if duration_s is None else min(rest_s, duration_s)


class Probe:
    """Headers by path, each read once."""

    def __init__(self, paths: Iterable[Path] = ()) -> None:
        """`paths` are those that will be asked for: wherever a decoder must be opened, several are at a time."""
        self._known = {path: _read_quickly(path) for path in dict.fromkeys(paths)}
        rest = [path for path, header in self._known.items() if header is None]
        with ThreadPoolExecutor(THREADS) as pool:
            self._known |= dict(zip(rest, pool.map(_read, rest), strict=True))

    def __call__(self, path: Path, end_s: float = 0.0) -> Header:
        """A file that states less than is wanted of it, to `end_s`, is opened and looked through."""
        header = self._known.get(path)
        if header is None or not (header.counted or end_s < header.duration_s):
            header = self._known[path] = _read(path)
        return header


def _read_quickly(path: Path) -> Header | None:
    """What the first bytes tell, for less than it takes to open a decoder; None where one must be opened."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            return None
        with path.open("rb", buffering=0) as file:
            if file.read(4) == b"RIFF":
                file.seek(0)
                return _wav_header(path, file.read(_WAV.size), status.st_size)
            file.seek(0)
            stated = read_stated(file)
    except (OSError, ValueError, IndexError):  # ValueError: a name with a zero byte; IndexError: an end too early
        return None
    if stated is None or stated.duration_s > status.st_size:  # a second takes more than a byte
        return None
    return replace(_judged(path, stated.sample_rate, stated.channels, stated.duration_s), counted=False)


def _wav_header(path: Path, head: bytes, size: int) -> Header | None:
    """What the shortest wav header tells; None unless all of it agrees."""
    if len(head) < _WAV.size:
        return None
    *layout, channels, rate, rate_bytes, frame_bytes, bits, data, data_bytes = _WAV.unpack(head)
    plain = layout == [b"RIFF", size - 8, b"WAVE", b"fmt ", 16, 1] and data == b"data" and bits == 16
    sound = channels in (1, 2) and frame_bytes == 2 * channels and rate_bytes == rate * frame_bytes
    if not plain or not sound or not 0 < data_bytes <= size - _WAV.size or data_bytes % frame_bytes:
        return None
    return _judged(path, rate, channels, data_bytes / frame_bytes / max(1, rate))


def _read(path: Path) -> Header:
    if not path.is_file():
        return Header(error=f"{path} does not exist" if not path.exists() else f"{path} is not a file")
    if not path.stat().st_size:
        return Header(error=f"{path} is empty: it holds no audio")
    try:
        with open_file(path) as stream:
            rate, channels, duration_s = stream.sample_rate, stream.channels, stream.duration_s
        if duration_s is None:
            from simulst.audio.containers import counted_s

            duration_s = counted_s(path)
    except AudioError as error:
        return Header(error=str(error).rstrip("."))
    return _judged(path, rate, channels, duration_s)


def _judged(path: Path, rate: int, channels: int, duration_s: float) -> Header:
    if not MIN_RATE_HZ <= rate <= MAX_RATE_HZ:
        return Header(error=f"{path} has a sample rate of {rate} Hz; it must lie in {MIN_RATE_HZ} to {MAX_RATE_HZ}")
    empty = "" if duration_s > 0 else f"{path} holds no samples: the recording is empty"
    return Header(duration_s=duration_s, sample_rate=rate, channels=channels, error=empty)


def stretch_error(header: Header, path: Path, offset_s: float, duration_s: float | None) -> str:
    """Why a stretch of a recording cannot be read, "" if it can."""
    if header.error:
        return header.error
    if duration_s is not None and duration_s <= 0:
        return f"an empty segment: its duration is {duration_s:g} s"
    if offset_s >= header.duration_s:
        return f"the segment begins at {offset_s:g} s, but {path.name} ends at {header.duration_s:.2f} s"
    end_s = offset_s + (duration_s or 0.0)
    if end_s > header.duration_s + TOLERANCE_S:
        return f"the segment ends at {end_s:g} s, but {path.name} ends at {header.duration_s:.2f} s"
    return ""
