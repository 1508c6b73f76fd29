"""What the headers of recordings tell before anything is decoded."""

from dataclasses import dataclass
from pathlib import Path

from simulst.audio import open_file
from simulst.audio.resample import MAX_RATE_HZ, MIN_RATE_HZ, SAMPLE_RATE
from simulst.errors import AudioError

TOLERANCE_S = 0.5
"""A segment may end this much after its recording (MuST-C's ends are rounded); what is there is used."""


@dataclass(frozen=True, kw_only=True)
class Header:
    """`error` says what is wrong with the file, "" if nothing is."""

    duration_s: float = 0.0
    sample_rate: int = SAMPLE_RATE
    channels: int = 1
    error: str = ""


class Probe:
    """Headers by path, each read once."""

    def __init__(self) -> None:
        self._known: dict[Path, Header] = {}

    def __call__(self, path: Path) -> Header:
        if path not in self._known:
            self._known[path] = _read(path)
        return self._known[path]


def _read(path: Path) -> Header:
    if not path.is_file():
        return Header(error=f"{path} does not exist" if not path.exists() else f"{path} is no file")
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
