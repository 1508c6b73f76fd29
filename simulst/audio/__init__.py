"""Audio of any kind in, 16 kHz mono float32 blocks out, identical however the input was cut."""

import os
import sys
from pathlib import Path
from urllib.parse import unquote_to_bytes

from simulst.audio.files import open_file as open_file
from simulst.audio.files import read_audio as read_audio
from simulst.audio.resample import Resampler as Resampler
from simulst.audio.samples import SAMPLE_RATE as SAMPLE_RATE
from simulst.audio.samples import FloatArray as FloatArray
from simulst.audio.stream import AudioStream as AudioStream
from simulst.errors import AudioError

__all__ = [
    "SAMPLE_RATE",
    "AudioStream",
    "FloatArray",
    "Resampler",
    "file_of_url",
    "open_audio",
    "open_file",
    "read_audio",
]


def open_audio(source: str) -> AudioStream:
    """Open a file, `-` (stdin: wav or raw s16le 16 kHz), `mic`, `mic:DEVICE`, or a URL. Raises AudioError."""
    if source == "-":
        from simulst.audio.pipes import open_pipe

        if sys.stdin is None:
            raise AudioError("Standard input is closed: give an audio file or a URL.")
        return open_pipe(sys.stdin.buffer, "standard input")
    if source == "mic" or source.startswith("mic:"):
        from simulst.audio.microphone import open_microphone

        return open_microphone(source[4:])
    if source[:7].lower() == "file://":
        return open_file(file_of_url(source))
    if "://" in source:
        from simulst.audio.urls import open_url

        return open_url(source)
    return open_file(Path(source))


def file_of_url(url: str) -> Path:
    """The file that a file:// address names, with %20 and the like read. Raises AudioError for another machine's."""
    host, slash, rest = url[7:].partition("/")
    if host.lower() not in ("", "localhost"):
        raise AudioError(f"{url} names a file on the machine {host}: write file:///PATH for one on this machine.")
    return Path(os.fsdecode(unquote_to_bytes(slash + rest)))
