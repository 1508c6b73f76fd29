"""Local files, all opened here: libsndfile for wav, flac, ogg, aiff and relatives, PyAV for everything else."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile

from simulst.audio.claims import Claim, read_claim
from simulst.audio.links import Link, find_links
from simulst.audio.samples import SAMPLE_RATE, FloatArray
from simulst.audio.sniff import HEAD_BYTES, Kind, sniff
from simulst.audio.stream import AudioStream, NoSamples, cut_short
from simulst.audio.wav import read_wav_header
from simulst.errors import AudioError

SNDFILE_CODINGS = frozenset({1, 2, 3, 6, 7, 0x11, 0x31})
"""Codings of wav that libsndfile reads to the last sample: PCM, float, A-law, mu-law, ADPCM, GSM."""


def open_file(path: Path) -> AudioStream:
    """Open one local recording of any common format. Raises AudioError."""
    return _open(path, 0.0)


def read_audio(path: str | Path, *, start_s: float = 0.0, duration_s: float | None = None) -> FloatArray:
    """Samples of one recording, or of a stretch of it, at 16 kHz mono: [samples], float32.

    A stretch is cut out before resampling. Raises AudioError, also for a stretch that lies outside the recording.
    """
    count = None if duration_s is None else round(duration_s * SAMPLE_RATE)
    samples = []
    try:
        with _open(Path(path), start_s) as stream:
            for block in stream:
                samples.append(block)
                if count is not None and sum(map(len, samples)) >= count:
                    break
    except NoSamples:
        if not start_s:
            raise
    found = np.concatenate([np.zeros(0, np.float32), *samples])[:count]
    if not len(found):
        raise AudioError(f"{shown(path)} has no audio at {start_s:.3f} s.")
    return found


def shown(path: str | Path) -> str:
    """A path as text that can be printed; bytes that are not UTF-8 are replaced."""
    return os.fsencode(path).decode("utf-8", "replace")


def _open(path: Path, start_s: float) -> AudioStream:
    name, head = shown(path), _head(path)
    if head is None:
        return _open_pipe(path, name, start_s, None)
    kind = sniff(head)
    if kind == "text":
        raise AudioError(f"{name} holds text, not audio.")
    claim = _claim(path)
    if claim is not None and _endless(path, claim):
        return _open_pipe(path, name, start_s, path.stat().st_size)
    present = 1.0 if claim is None else claim.present(path.stat().st_size)
    links = _links(path, kind)
    if links:
        return _open_links(name, links, start_s, present)
    from simulst.audio.containers import SoughtFile, open_container  # FFmpeg's libraries: only where they are needed

    return open_container(SoughtFile(path), name, from_s=start_s, present=lambda: present)


def _open_pipe(path: Path, name: str, start_s: float, length: int | None) -> AudioStream:
    from simulst.audio.pipes import open_pipe

    try:
        file = path.open("rb")
    except OSError as error:
        raise _unreadable(name, error) from None
    stream = open_pipe(file, name, length=length)
    stream.skip(start_s)
    return stream


def _head(path: Path) -> bytes | None:
    """First bytes of a regular file, None for a pipe or device. Raises AudioError."""
    name = shown(path)
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise AudioError(f"{name} is a directory: give one audio file.")
        if not stat.S_ISREG(mode):
            return None
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        raise AudioError(
            f"{name} does not exist: give an audio file, a URL, - for standard input, or mic for the microphone."
        ) from None
    except OSError as error:
        raise _unreadable(name, error) from None
    if not head:
        raise AudioError(f"{name} is empty: it holds no audio.")
    return head


def _unreadable(name: str, error: OSError) -> AudioError:
    return AudioError(f"{name} cannot be read: {(error.strerror or str(error)).lower()}.")


def _claim(path: Path) -> Claim | None:
    with path.open("rb") as file:
        return read_claim(file)


def _endless(path: Path, claim: Claim) -> bool:
    """Whether a wav says 0 for a length that its writer never came back to fill in; libsndfile would believe it."""
    with path.open("rb") as file:
        magic, riff_bytes = file.read(4), int.from_bytes(file.read(4), "little")
        file.seek(claim.begin - 4)
        stated = int.from_bytes(file.read(4), "little")
    size = path.stat().st_size
    return magic == b"RIFF" and stated == 0 and size > claim.begin and riff_bytes + 8 != size


def _links(path: Path, kind: Kind) -> list[Link]:
    """What libsndfile can read in the file; none: another decoder must."""
    if kind not in ("wav", "sndfile"):
        return []
    try:
        return find_links(path) if kind != "wav" or _coding(path) in SNDFILE_CODINGS else []
    except (soundfile.LibsndfileError, OSError):
        return []


def _coding(path: Path) -> int | None:
    """How the samples of a wav are coded, None where its header is beyond us."""
    try:
        with path.open("rb") as file:
            return read_wav_header(file.read, "").coding
    except AudioError:
        return None


def _open_links(name: str, links: list[Link], start_s: float, present: float) -> AudioStream:
    rate = links[0].sample_rate
    last = links[-1].frames
    promised = sum(link.frames for link in links[:-1]) + (int(last / present + 1e-6) if present else last)
    if not present:
        raise AudioError(f"{name} is cut short: it ends before its first sample.")
    if not promised:
        raise NoSamples(f"{name} holds no samples: the recording is empty.")
    return AudioStream(
        name=name,
        sample_rate=rate,
        channels=links[0].channels,
        blocks=_blocks(name, links, round(start_s * rate), promised),
        duration_s=promised / rate,
    )


def _blocks(name: str, links: list[Link], first: int, promised: int) -> Iterator[FloatArray]:
    """One second at a time from frame `first` on; AudioError after the last where fewer than `promised` are there."""
    rate, begin, done = links[0].sample_rate, 0, first
    for link in links:
        if link.sample_rate != rate:
            raise AudioError(f"{name} changes its sample rate at {begin / rate:.2f} s, which is not supported.")
        end = begin + link.frames
        if first < end:
            for block in _read(link, max(0, first - begin)):
                done += len(block)
                yield block
            if done < end:
                break
        begin = end
    if done < promised:
        raise cut_short(name, done / rate, promised / rate)


def _read(link: Link, first: int) -> Iterator[FloatArray]:
    """What can be decoded of one recording, from its frame `first` on."""
    try:
        with link.open() as file:
            if first:
                file.seek(first)
            while len(block := file.read(file.samplerate, dtype="float32", always_2d=True)):
                yield block
    except (soundfile.LibsndfileError, OSError):
        return  # the caller knows how much there should have been
