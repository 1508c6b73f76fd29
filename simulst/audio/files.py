"""Local files: libsndfile for wav, flac, ogg, aiff and relatives, PyAV for everything else."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile

from simulst.audio.resample import SAMPLE_RATE, FloatArray
from simulst.audio.sniff import HEAD_BYTES, sniff
from simulst.audio.stream import AudioStream
from simulst.audio.wav import read_wav_header
from simulst.errors import AudioError


def open_file(path: Path) -> AudioStream:
    """Open one local recording of any common format. Raises AudioError."""
    name = str(path)
    head = _head(path)
    if head is None:
        from simulst.audio.pipes import open_pipe

        return open_pipe(path.open("rb"), name)
    kind = sniff(head)
    if kind == "text":
        raise AudioError(f"{name} holds text, not audio.")
    if kind in ("container", "unknown"):
        from simulst.audio.containers import open_container  # FFmpeg's libraries: only where they are needed

        return open_container(path.open("rb"), name)
    promised_s = _promised_s(path) if kind == "wav" else None
    file = _open_sndfile(path)
    frames = max(file.frames, round((promised_s or 0.0) * file.samplerate))
    if not file.frames and not frames:
        raise AudioError(f"{name} holds no samples: the recording is empty.")
    return AudioStream(
        name=name,
        sample_rate=file.samplerate,
        channels=file.channels,
        blocks=_blocks(file, name, frames),
        duration_s=frames / file.samplerate,
        close=file.close,
    )


def read_audio(path: str | Path, *, start_s: float = 0.0, duration_s: float | None = None) -> FloatArray:
    """Samples of one recording, or of a stretch of it, at 16 kHz mono: [samples], float32.

    A stretch is cut out before resampling where the format can seek. Raises AudioError, also for a stretch that lies
    outside the recording.
    """
    path = Path(path)
    stretch = start_s > 0 or duration_s is not None
    if stretch and sniff(_head(path) or b"") in ("wav", "sndfile"):
        cut = _seek(path, start_s, duration_s)
    else:
        first = round(start_s * SAMPLE_RATE)
        last = None if duration_s is None else first + round(duration_s * SAMPLE_RATE)
        with open_file(path) as stream:
            cut = _collect(stream, last)[first:last]
    if not len(cut):
        raise AudioError(f"{path} has no audio at {start_s:.3f} s.")
    return cut


def _seek(path: Path, start_s: float, duration_s: float | None) -> FloatArray:
    with _open_sndfile(path) as file:
        rate, first = file.samplerate, round(start_s * file.samplerate)
        if first >= file.frames:
            return np.zeros(0, np.float32)
        file.seek(first)
        count = file.frames - first if duration_s is None else min(file.frames - first, round(duration_s * rate))
        frames = file.read(count, dtype="float32", always_2d=True)
    stream = AudioStream(name=str(path), sample_rate=rate, channels=frames.shape[1], blocks=iter([frames]))
    return np.concatenate(list(stream))


def _collect(stream: AudioStream, until: int | None) -> FloatArray:
    blocks, total = [np.zeros(0, np.float32)], 0
    for block in stream:
        blocks.append(block)
        total += len(block)
        if until is not None and total >= until:
            break
    return np.concatenate(blocks)


def _head(path: Path) -> bytes | None:
    """First bytes of a regular file, None for a pipe or device. Raises AudioError."""
    if path.is_dir():
        raise AudioError(f"{path} is a directory: give one audio file.")
    if not path.exists():
        raise AudioError(
            f"{path} does not exist: give an audio file, a URL, - for standard input, or mic for the microphone."
        )
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError as error:
        raise AudioError(f"{path} cannot be read: {error.strerror}.") from None
    if not head:
        raise AudioError(f"{path} is empty: it holds no audio.")
    return head


def _promised_s(path: Path) -> float | None:
    """Duration that a wav header promises, None where it does not say."""
    try:
        with path.open("rb") as file:
            header = read_wav_header(file.read, str(path))
    except AudioError:
        return None  # libsndfile has the last word
    if header.data_bytes is None or not header.readable:
        return None
    return header.data_bytes // header.frame_bytes / header.sample_rate


def _open_sndfile(path: Path) -> soundfile.SoundFile:
    try:
        file = soundfile.SoundFile(path)
    except (soundfile.LibsndfileError, OSError) as error:
        raise AudioError(f"{path} cannot be decoded: {_reason(error)}.") from None
    return file


def _reason(error: Exception) -> str:
    text = error.error_string if isinstance(error, soundfile.LibsndfileError) else str(error)
    return text.removeprefix("Error : ").rstrip(".").lower()


def _blocks(file: soundfile.SoundFile, name: str, frames: int) -> Iterator[FloatArray]:
    """One second at a time; AudioError after the last one when fewer than `frames` could be decoded."""
    done = 0
    while True:
        try:
            block = file.read(file.samplerate, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError:
            break
        if not len(block):
            break
        done += len(block)
        yield block
    if done < frames:
        rate = file.samplerate
        raise AudioError(f"{name} is cut short or damaged: {done / rate:.2f} s of {frames / rate:.2f} s can be read.")
