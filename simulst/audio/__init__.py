"""Audio of any kind in, 16 kHz mono float32 blocks out, identical however the input was cut."""

import sys
from pathlib import Path

from simulst.audio.files import open_file as open_file
from simulst.audio.files import read_audio as read_audio
from simulst.audio.resample import SAMPLE_RATE as SAMPLE_RATE
from simulst.audio.resample import Resampler as Resampler
from simulst.audio.stream import AudioStream as AudioStream

__all__ = ["SAMPLE_RATE", "AudioStream", "Resampler", "open_audio", "open_file", "read_audio"]


def open_audio(source: str) -> AudioStream:
    """Open a file, `-` (stdin: wav or raw s16le 16 kHz), `mic`, `mic:DEVICE`, or a URL. Raises AudioError."""
    if source == "-":
        from simulst.audio.pipes import open_pipe

        return open_pipe(sys.stdin.buffer, "standard input")
    if source == "mic" or source.startswith("mic:"):
        from simulst.audio.microphone import open_microphone

        return open_microphone(source[4:])
    if source.startswith("file://"):
        return open_file(Path(source[7:]))
    if "://" in source:
        from simulst.audio.containers import open_url

        return open_url(source)
    return open_file(Path(source))
