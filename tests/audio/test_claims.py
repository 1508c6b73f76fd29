"""Sizes that headers claim, recordings behind one another, frames in pipes, stretches: what reaches the translator."""

import functools
import http.server
import io
import os
import re
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

import simulst.audio.containers
from simulst.audio import open_audio, open_file, read_audio
from simulst.audio.claims import believed
from simulst.audio.pipes import open_pipe
from simulst.audio.samples import FloatArray
from simulst.errors import AudioError
from simulst.eval.data.probe import Probe


def noise(seconds: float = 1.0, seed: int = 0) -> FloatArray:
    return np.asarray(0.1 * np.random.default_rng(seed).standard_normal(round(16_000 * seconds)), np.float32)


def save(path: Path, data: FloatArray, **options: str) -> Path:
    soundfile.write(path, data, 16_000, **options)
    return path


def encode(path: Path, data: FloatArray, codec: str, container: str, **options: str) -> Path:
    """`data`, 16 kHz mono, through FFmpeg."""
    with av.open(str(path), "w", format=container, options=options) as out:
        track = out.add_stream(codec, rate=16_000 if "ac3" not in codec else 32_000, layout="mono")
        form = track.codec_context.format.name if track.codec_context.format else "fltp"
        resampler = av.AudioResampler(form, "mono", track.rate, frame_size=track.codec_context.frame_size or None)
        frame = av.AudioFrame.from_ndarray(data[None], format="fltp", layout="mono")
        frame.sample_rate, frame.time_base, frame.pts = 16_000, Fraction(1, 16_000), 0
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            for packet in track.encode(piece):
                out.mux(packet)
        for packet in track.encode(None):
            out.mux(packet)
    return path


def whole(source: str | Path) -> FloatArray:
    with open_audio(str(source)) as stream:
        return np.concatenate(list(stream))


def piped(data: bytes) -> FloatArray:
    with open_pipe(io.BytesIO(data), "pipe") as stream:
        return np.concatenate(list(stream))


def refusal(source: str | Path) -> str:
    with pytest.raises(AudioError) as caught:
        whole(source)
    return str(caught.value)


def with_data_size(data: bytes, size: int) -> bytes:
    at = data.index(b"data") + 4
    return data[:4] + struct.pack("<I", (size + 36) % 2**32) + data[8:at] + struct.pack("<I", size) + data[at + 4 :]


@pytest.mark.parametrize("size", [0, 0x7FFFF000, 0x7FFFFF00, 0x7FFFFFDB, 0x80000000, 0xFFFFFF00, 0xFFFFFFDB, 2**32 - 1])
def test_sizes_that_writers_into_pipes_make_up_are_not_believed(tmp_path: Path, size: int) -> None:
    path = save(tmp_path / "a.wav", noise(0.5))
    expected, data = whole(path), with_data_size(path.read_bytes(), size)
    np.testing.assert_array_equal(piped(data), expected)
    path.write_bytes(data)
    np.testing.assert_array_equal(whole(path), expected)
    np.testing.assert_array_equal(read_audio(path, start_s=0.25), expected[4_000:])
    assert Probe()(path).duration_s == 0.5


def test_a_size_of_a_recording_is_believed() -> None:
    for size in (2, 3_600 * 32_000, 3_000_000_000):
        assert believed(size) == believed(size, 64) == size
    assert believed(2**63 - 1, 64) is None


@pytest.mark.parametrize("suffix", ["wav", "aiff", "au", "w64", "caf", "rf64"])
def test_a_cut_is_reported_whatever_the_header(tmp_path: Path, suffix: str) -> None:
    path = save(tmp_path / f"a.{suffix}", noise(3.0), subtype="PCM_16")
    assert len(whole(path)) == 48_000
    path.write_bytes(path.read_bytes()[:48_000])
    assert re.search(r" is cut short or damaged: 1\.[345]\d s of 3\.00 s can be read\.$", refusal(path))
    if suffix != "caf":  # of which FFmpeg reads nothing from a pipe
        with pytest.raises(AudioError, match="cut short"):
            piped(path.read_bytes())


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(tmp_path)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_cut_wav_behind_an_address_is_reported(tmp_path: Path, address: str) -> None:
    path = save(tmp_path / "a.wav", noise(2.0))
    np.testing.assert_array_equal(whole(f"{address}/a.wav"), whole(path))
    path.write_bytes(path.read_bytes()[:-16_000])
    assert refusal(f"{address}/a.wav") == f"{address}/a.wav is cut short: its last 0.50 s are missing."


def test_a_server_that_says_nothing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulst.audio.containers, "TIMEOUT_S", 0.3)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/x.mp3"
        assert refusal(url) == f"{url} cannot be opened: nothing came for 0.3 s."


@pytest.mark.slow
@pytest.mark.parametrize(("suffix", "options"), [
    ("ogg", {}), ("ogg", {"subtype": "OPUS"}), ("flac", {}), ("wav", {}),
])  # fmt: skip
def test_recordings_behind_one_another_are_all_heard(tmp_path: Path, suffix: str, options: dict[str, str]) -> None:
    parts = [save(tmp_path / f"{i}.{suffix}", noise(1.0 + 0.5 * i, i), **options) for i in range(3)]
    chain = tmp_path / f"chain.{suffix}"
    chain.write_bytes(b"".join(part.read_bytes() for part in parts))
    rate = soundfile.info(str(parts[0])).samplerate
    assert rate == 16_000
    expected = np.concatenate([whole(part) for part in parts])
    np.testing.assert_array_equal(whole(chain), expected)
    np.testing.assert_allclose(read_audio(chain, start_s=0.9, duration_s=2.0), expected[14_400:46_400], atol=2e-4)
    assert Probe()(chain).duration_s == 4.5
    assert len(piped(chain.read_bytes())) == pytest.approx(len(expected), abs=1_600)


def test_a_cut_last_link_is_reported(tmp_path: Path) -> None:
    parts = [save(tmp_path / f"{i}.flac", noise(2.0, i)).read_bytes() for i in range(2)]
    path = tmp_path / "chain.flac"
    path.write_bytes(parts[0] + parts[1][: len(parts[1]) // 2])
    assert " of 4.00 s can be read." in refusal(path)


FRAMES = [
    ("libmp3lame", "mp3", {"id3v2_version": "0", "write_xing": "0"}),
    ("libmp3lame", "mp3", {"id3v2_version": "0"}),
    ("mp2", "mp2", {}), ("aac", "adts", {}), ("ac3", "ac3", {}), ("eac3", "eac3", {}), ("aac", "mpegts", {}),
]  # fmt: skip


@pytest.mark.parametrize(("codec", "container", "options"), FRAMES)
def test_frames_in_a_pipe_are_decoded_not_taken_for_samples(
    tmp_path: Path, codec: str, container: str, options: dict[str, str]
) -> None:
    path = encode(tmp_path / "a.bin", noise(2.0), codec, container, **options)
    assert len(piped(path.read_bytes())) == pytest.approx(32_000, abs=3_500)
    if codec != "eac3" and container != "mp2":  # whose frames are too long to be told when the first is cut
        assert len(piped(path.read_bytes()[77:])) == pytest.approx(32_000, abs=4_500)


def test_raw_samples_stay_raw_samples() -> None:
    rng = np.random.default_rng(1)
    for start in (b"\xff\xfb\x90\x00", b"\x0b\x77\x00\x00\x10", b"\x47\x40\x11\x10", b"\xff\xf1\x50\x80", b""):
        data = start + rng.integers(0, 256, 8_000 - len(start) // 2 * 2, np.uint8).tobytes()
        data = data[: len(data) // 2 * 2]
        np.testing.assert_array_equal(piped(data), np.frombuffer(data, "<i2").astype(np.float32) / 32_768)


@pytest.mark.parametrize("codec", ["ac3", "aac", "g726", "libmp3lame", "pcm_alaw", "adpcm_ima_wav"])
def test_a_wav_may_hold_any_coding(tmp_path: Path, codec: str) -> None:
    if codec == "g726":
        path = tmp_path / "a.wav"
        with av.open(str(path), "w", format="wav") as out:
            track = out.add_stream("g726", rate=8_000, layout="mono")
            track.bit_rate = 32_000
            frame = av.AudioFrame.from_ndarray(
                (noise(1.0) * 32_768).astype(np.int16)[None], format="s16", layout="mono"
            )
            frame.sample_rate = 8_000
            for packet in [*track.encode(frame), *track.encode(None)]:
                out.mux(packet)
    elif codec == "aac":
        data = encode(tmp_path / "a.aac", noise(2.0), codec, "adts").read_bytes()
        layout = struct.pack("<HHIIHH", 0xFF, 1, 16_000, 8_000, 1, 16)
        size = struct.pack("<I", len(data))
        path = tmp_path / "a.wav"
        path.write_bytes(
            b"RIFF" + struct.pack("<I", 36 + len(data)) + b"WAVEfmt \x10\0\0\0" + layout + b"data" + size + data
        )
    else:
        path = encode(tmp_path / "a.wav", noise(2.0), codec, "wav")
    assert len(whole(path)) == pytest.approx(32_000, abs=3_500)
    assert len(piped(path.read_bytes())) == pytest.approx(32_000, abs=3_500)


@pytest.mark.slow
@pytest.mark.parametrize(("codec", "container"), [
    ("libmp3lame", "mp3"), ("aac", "adts"), ("aac", "mp4"), ("libopus", "webm"), ("aac", "mpegts"),
])  # fmt: skip
def test_a_stretch_is_sought_not_decoded_to(
    tmp_path: Path, codec: str, container: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = encode(tmp_path / "a.bin", noise(60.0), codec, container)
    expected = whole(path)[50 * 16_000 : 51 * 16_000]
    decoded = []
    convert = simulst.audio.containers._to_float
    monkeypatch.setattr(simulst.audio.containers, "_to_float", lambda frame: decoded.append(1) or convert(frame))  # type: ignore[func-returns-value]
    found = read_audio(path, start_s=50.0, duration_s=1.0)
    assert len(decoded) < 500  # of some 3,000
    place = max(
        range(-16, 17), key=lambda by: float(np.dot(found[100:-100], expected[100 + by : len(expected) - 100 + by]))
    )
    assert abs(place) <= (0 if container != "webm" else 8)
    with pytest.raises(AudioError, match=r"has no audio at 90\.000 s\.$"):
        read_audio(path, start_s=90.0, duration_s=1.0)


def test_a_guessed_duration_is_counted_instead(tmp_path: Path) -> None:
    quiet_then_loud = np.concatenate([np.zeros(16_000 * 20, np.float32), noise(20.0)])
    path = encode(tmp_path / "a.aac", quiet_then_loud, "aac", "adts")
    with open_file(path) as stream:
        assert stream.duration_s is None
    assert Probe()(path).duration_s == pytest.approx(40.0, abs=0.2)


def test_stretches_of_a_cut_flac_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.flac", noise(10.0))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert len(read_audio(path, start_s=1.0, duration_s=1.0)) == 16_000
    for start_s in (4.5, 8.0):
        with pytest.raises(AudioError, match=r"is cut short or damaged: .* of 10\.00 s can be read\.$"):
            read_audio(path, start_s=start_s, duration_s=1.0)


def test_names_of_any_kind_are_read_or_refused_in_a_sentence(tmp_path: Path) -> None:
    path = save(tmp_path / "a.wav", noise())
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/n\xff.wav"))
    path.rename(odd)
    assert len(whole(odd)) == 16_000
    assert refusal(tmp_path / ("n" * 300)).endswith(" cannot be read: file name too long.")
    assert "\ufffd" in refusal(odd.with_name(os.fsdecode(b"\xfe.wav")))
    assert "does not exist" in refusal(odd / "below")


def test_file_addresses_are_unquoted(tmp_path: Path) -> None:
    path = save(tmp_path / "a b\u00fc.wav", noise())
    assert len(whole(f"file://{tmp_path}/a%20b%C3%BC.wav")) == 16_000
    assert len(whole(f"file://localhost{path}")) == 16_000
    assert "names a file on the machine elsewhere" in refusal("file://elsewhere/a.wav")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/usr/bin/arecord").exists(), reason="needs arecord of alsa-utils")
def test_a_real_arecord_is_heard_to_its_end(tmp_path: Path) -> None:
    command = "arecord -q -D null -f S16_LE -r 16000 -c 1 | head -c 64044"
    environment = {**os.environ, "HOME": str(tmp_path)}
    code = "from simulst.audio import open_audio; print(sum(map(len, open_audio('-'))))"
    done = subprocess.run(
        f"{command} | {sys.executable} -c \"{code}\"",
        shell=True, capture_output=True, text=True, timeout=60, env=environment,
    )  # fmt: skip
    assert done.stdout.strip() == "32000", done.stderr
