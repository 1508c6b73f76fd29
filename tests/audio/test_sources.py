"""Files, pipes and containers: what comes out, and the one sentence for everything that cannot be read."""

import http.server
import io
import struct
import threading
import tracemalloc
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile
import soxr

from simulst.audio import AudioStream, open_audio, read_audio
from simulst.audio.containers import open_container
from simulst.audio.pipes import open_pipe
from simulst.audio.samples import FloatArray
from simulst.errors import AudioError


def speechlike(seconds: float = 1.0, rate: int = 16_000, channels: int = 1) -> FloatArray:
    noise = np.random.default_rng(0).standard_normal((round(seconds * rate), channels))
    return np.asarray(0.1 * noise, np.float32)


def collect(stream: AudioStream) -> FloatArray:
    with stream:
        return np.concatenate(list(stream))


def save(path: Path, data: FloatArray, rate: int = 16_000, subtype: str | None = None) -> Path:
    soundfile.write(path, data, rate, subtype=subtype)
    return path


@pytest.mark.parametrize(
    ("suffix", "subtype", "tolerance"),
    [
        ("wav", "PCM_U8", 1 / 120),
        ("wav", "PCM_16", 1 / 32_000),
        ("wav", "PCM_24", 1e-6),
        ("wav", "PCM_32", 1e-7),
        ("wav", "FLOAT", 0),
        ("wav", "DOUBLE", 0),
        ("flac", "PCM_16", 1 / 32_000),
        ("flac", "PCM_24", 1e-6),
        ("aiff", "PCM_16", 1 / 32_000),
    ],
)
def test_lossless_formats_come_back_as_they_were(tmp_path: Path, suffix: str, subtype: str, tolerance: float) -> None:
    data = speechlike()
    path = save(tmp_path / f"a.{suffix}", data, subtype=subtype)
    np.testing.assert_allclose(collect(open_audio(str(path))), data[:, 0], rtol=0, atol=tolerance)


@pytest.mark.parametrize("suffix", ["mp3", "ogg"])
def test_lossy_formats_keep_length_and_shape(tmp_path: Path, suffix: str) -> None:
    time_s = np.arange(32_000) / 16_000
    tone = np.asarray(0.3 * np.sin(2 * np.pi * 440 * time_s)[:, None], np.float32)
    out = collect(open_audio(str(save(tmp_path / f"a.{suffix}", tone))))
    assert len(out) == pytest.approx(32_000, abs=1200)
    assert np.corrcoef(out[4_000:20_000], tone[4_000:20_000, 0])[0, 1] > 0.99


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000])
def test_any_rate_equals_resampling_the_whole_recording(tmp_path: Path, rate: int) -> None:
    data = speechlike(2.3, rate)
    path = save(tmp_path / "a.wav", data, rate, "FLOAT")
    np.testing.assert_array_equal(collect(open_audio(str(path))), soxr.resample(data[:, 0], rate, 16_000))


@pytest.mark.parametrize("channels", [2, 3, 6])
def test_channels_are_averaged(tmp_path: Path, channels: int) -> None:
    data = speechlike(0.5, channels=channels)
    path = save(tmp_path / "a.wav", data, subtype="FLOAT")
    np.testing.assert_allclose(collect(open_audio(str(path))), data.mean(axis=1), rtol=0, atol=1e-7)


@pytest.mark.parametrize(
    "codec", [("mp4", "aac"), ("matroska", "pcm_s16le"), ("webm", "libopus"), ("mp3", "libmp3lame")]
)
def test_containers_are_decoded(tmp_path: Path, codec: tuple[str, str]) -> None:
    time_s = np.arange(96_000) / 48_000
    tone = np.asarray(0.3 * np.sin(2 * np.pi * 440 * time_s), np.float32)
    path = encode(tmp_path / "media.bin", *codec, tone)
    out = collect(open_audio(str(path)))
    assert len(out) == pytest.approx(32_000, abs=1_800)
    expected = soxr.resample(tone, 48_000, 16_000)
    best = max(np.corrcoef(out[8_000 + shift : 16_000 + shift], expected[8_000:16_000])[0, 1] for shift in range(37))
    assert best > 0.98


def encode(path: Path, container: str, codec: str, samples: FloatArray) -> Path:
    with av.open(str(path), "w", format=container) as out:
        track = out.add_stream(codec, rate=48_000, layout="stereo")
        both = np.stack([samples, samples])
        frame = av.AudioFrame.from_ndarray(both, format="fltp", layout="stereo")
        frame.sample_rate = 48_000
        for packet in [*track.encode(frame), *track.encode(None)]:
            out.mux(packet)
    return path


def test_a_video_without_sound_is_named(tmp_path: Path) -> None:
    path = tmp_path / "silent.mp4"
    with av.open(str(path), "w") as out:
        track = out.add_stream("mpeg4", rate=24, options={})
        track.width = track.height = 32
        for packet in [*track.encode(av.VideoFrame(32, 32, "yuv420p")), *track.encode(None)]:
            out.mux(packet)
    with pytest.raises(AudioError, match=r"silent.mp4 has no audio track.$"):
        open_audio(str(path))


def wav_bytes(data: FloatArray, rate: int = 16_000, subtype: str = "PCM_16") -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, data, rate, format="WAV", subtype=subtype)
    return buffer.getvalue()


class Dribble(io.RawIOBase):
    """A pipe that hands out a few bytes at a time."""

    def __init__(self, data: bytes, step: int) -> None:
        self.rest, self.step = data, step

    def readable(self) -> bool:
        return True

    def read(self, count: int = -1) -> bytes:
        count = self.step if count < 0 else min(count, self.step)
        out, self.rest = self.rest[:count], self.rest[count:]
        return out


@pytest.mark.slow
@pytest.mark.parametrize("step", [1, 7, 1_000, 10**6])
@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_wav_on_a_pipe_equals_the_file(tmp_path: Path, step: int, subtype: str) -> None:
    data = speechlike(0.2, 22_050, 2)
    path = save(tmp_path / "a.wav", data, 22_050, subtype)
    piped = collect(open_pipe(Dribble(path.read_bytes(), step), "pipe"))
    np.testing.assert_array_equal(piped, collect(open_audio(str(path))))


@pytest.mark.parametrize("length", [0, 0xFFFFFFFF])
def test_a_pipe_of_unknown_length_is_read_to_its_end(length: int) -> None:
    data = wav_bytes(speechlike(0.5))
    at = data.index(b"data") + 4
    endless = data[:at] + struct.pack("<I", length) + data[at + 4 :]
    assert len(collect(open_pipe(io.BytesIO(endless), "pipe"))) == 8_000


@pytest.mark.parametrize("first", [0, -1, 257, -32_768])
def test_bytes_without_a_header_are_raw_samples(first: int) -> None:
    samples = np.array([first, 3, -5, 32_767] * 100, "<i2")
    out = collect(open_pipe(Dribble(samples.tobytes(), 3), "pipe"))
    np.testing.assert_array_equal(out, samples.astype(np.float32) / 32_768)


def test_flac_on_a_pipe_is_decoded(tmp_path: Path) -> None:
    data = speechlike(0.5)
    path = save(tmp_path / "a.flac", data)
    np.testing.assert_allclose(collect(open_pipe(io.BytesIO(path.read_bytes()), "pipe")), data[:, 0], atol=1 / 32_000)


def test_a_stretch_is_the_same_as_cutting_the_whole(tmp_path: Path) -> None:
    data = speechlike(3.0)
    for name in ("a.wav", "a.flac"):
        path = save(tmp_path / name, data, subtype="PCM_16")
        whole = read_audio(path)
        np.testing.assert_array_equal(read_audio(path, start_s=1.25, duration_s=0.5), whole[20_000:28_000])
        np.testing.assert_array_equal(read_audio(path, start_s=2.5), whole[40_000:])
        with pytest.raises(AudioError, match=r"has no audio at 3.500 s.$"):
            read_audio(path, start_s=3.5, duration_s=1.0)


def refusal(source: Path | str) -> str:
    with pytest.raises(AudioError) as caught:
        collect(open_audio(str(source)))
    return str(caught.value)


def test_sources_that_are_no_audio_get_one_sentence_each(tmp_path: Path) -> None:
    def file(name: str, data: bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(data)
        return path

    unknown = "is not audio in any known format (wav, flac, mp3, ogg, mp4, webm, ...)."
    assert refusal(path := file("empty.wav", b"")) == f"{path} is empty: it holds no audio."
    assert refusal(path := file("text.wav", b"hello")) == f"{path} holds text, not audio."
    assert refusal(path := file("utf8.wav", "Grüße ".encode() * 400)) == f"{path} holds text, not audio."
    assert refusal(path := file("list.m3u8", b"#EXTM3U\n#EXTINF:5,\nother.wav\n")) == f"{path} holds text, not audio."
    assert refusal(path := file("zeros.mp3", bytes(5_000))) == f"{path} {unknown}"
    assert refusal(path := file("junk.flac", bytes(range(30)))).startswith(f"{path} ")
    assert refusal(tmp_path) == f"{tmp_path} is a directory: give one audio file."
    assert refusal(tmp_path / "no.wav") == (
        f"{tmp_path / 'no.wav'} does not exist: "
        "give an audio file, a URL, - for standard input, or mic for the microphone."
    )
    none = save(tmp_path / "none.wav", speechlike(0))
    assert refusal(none) == f"{none} holds no samples: the recording is empty."


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_samples_that_are_not_finite_are_refused_at_their_place(tmp_path: Path, bad: float) -> None:
    data = speechlike(2.0, 8_000)
    data[12_000] = bad
    path = save(tmp_path / "nan.wav", data, 8_000, "FLOAT")
    assert refusal(path) == f"{path} holds NaN or infinite samples (the first at 1.500 s): export it again."
    with pytest.raises(AudioError, match=r"the first at 1.500 s"):
        collect(open_pipe(io.BytesIO(path.read_bytes()), "pipe"))


def test_integers_stored_as_floats_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "big.wav", speechlike() * 0 + 20_000, subtype="FLOAT")
    assert refusal(path) == f"{path} holds float samples up to 20000, but full scale is 1: divide them before saving."


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
def test_a_cut_file_gives_what_it_has_and_then_says_so(tmp_path: Path, name: str) -> None:
    whole = save(tmp_path / name, speechlike(10.0), subtype="PCM_16")
    cut = tmp_path / f"cut-{name}"
    data = whole.read_bytes()
    cut.write_bytes(data[: len(data) // 2])
    got: list[FloatArray] = []
    with pytest.raises(AudioError, match=r"is cut short or damaged: [45]\.\d\d s of 10\.00 s can be read\.$"):
        got.extend(open_audio(str(cut)))
    np.testing.assert_array_equal(np.concatenate(got), read_audio(whole)[: sum(map(len, got))])
    assert sum(map(len, got)) >= 4 * 16_000


def test_a_cut_mp3_is_noticed(tmp_path: Path) -> None:
    data = save(tmp_path / "a.mp3", speechlike(10.0)).read_bytes()
    cut = tmp_path / "cut.mp3"
    cut.write_bytes(data[: len(data) // 2])
    assert "is cut short or damaged: " in refusal(cut)


def test_a_cut_pipe_gives_what_it_has_and_then_says_so() -> None:
    data = wav_bytes(speechlike(1.0))
    got: list[FloatArray] = []
    with pytest.raises(AudioError, match=r"^pipe is cut short: its last 0\.50 s are missing\.$"):
        got.extend(open_pipe(io.BytesIO(data[:-16_000]), "pipe"))
    assert sum(map(len, got)) == 8_000
    with pytest.raises(AudioError, match=r"^pipe is cut short: it ends in the middle of a sample\.$"):
        collect(open_pipe(io.BytesIO(bytes(101)), "pipe"))
    with pytest.raises(AudioError, match=r"^pipe holds text, not audio\.$"):
        open_pipe(io.BytesIO(b"hello"), "pipe")
    with pytest.raises(AudioError, match=r"^pipe is cut short: it ends inside the wav header\.$"):
        open_pipe(io.BytesIO(data[:30]), "pipe")


def test_damaged_wav_headers_are_refused_or_read(tmp_path: Path) -> None:
    data = wav_bytes(speechlike(0.1))
    rng = np.random.default_rng(3)
    for _ in range(200):
        broken = bytearray(data[:200])
        for place in rng.integers(0, 48, 3):
            broken[place] = rng.integers(0, 256)
        try:
            collect(open_pipe(io.BytesIO(bytes(broken)), "pipe"))
        except AudioError as error:
            assert "\n" not in str(error)


def test_containers_never_follow_references(tmp_path: Path) -> None:
    save(tmp_path / "secret.wav", speechlike())
    playlist = io.BytesIO(f"ffconcat version 1.0\nfile '{tmp_path}/secret.wav'\n".encode())
    with pytest.raises(AudioError, match=r"is not audio in any known format"):
        open_container(playlist, "list")


@pytest.mark.slow
def test_an_hour_is_never_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    with soundfile.SoundFile(path, "w", 8_000, 1, "PCM_16") as file:
        for _ in range(600):
            file.write(np.zeros(8_000 * 6, np.int16))
    tracemalloc.start()
    samples = sum(len(block) for block in open_audio(str(path)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert samples == 3_600 * 16_000
    assert peak < 4 << 20


def test_addresses_are_streamed(tmp_path: Path) -> None:
    data = speechlike(2.0)
    save(tmp_path / "talk.flac", data)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(tmp_path))

        def log_message(self, *_: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        address = f"http://127.0.0.1:{server.server_port}"
        np.testing.assert_allclose(collect(open_audio(f"{address}/talk.flac")), data[:, 0], atol=1 / 32_000)
        assert refusal(f"{address}/no.flac") == f"{address}/no.flac cannot be opened: server returned 404 not found."
        (tmp_path / "list.m3u8").write_text(f"#EXTM3U\n#EXTINF:5,\nfile://{tmp_path}/talk.flac\n#EXT-X-ENDLIST\n")
        assert "cannot be opened" in refusal(f"{address}/list.m3u8")  # it may not lead to local files
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_unreachable_and_unknown_addresses_are_named() -> None:
    assert (
        refusal("http://user:secret@127.0.0.1:9/x.mp3")
        == "http://127.0.0.1:9/x.mp3 cannot be opened: connection refused."
    )
    assert refusal("nosuch://x") == "nosuch://x cannot be opened: protocol not found."
