"""Test sets of compressed recordings: what files state is believed for a start, and looked into where it matters."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from simulst.audio import open_file
from simulst.audio.stream import AudioStream
from simulst.eval.data import open_dataset, probe
from simulst.eval.data.stated import read_stated
from simulst.testing import toy_audio

Run = Callable[..., tuple[int, str, str]]
KINDS = [("flac", "PCM_16"), ("flac", "PCM_24"), ("ogg", "VORBIS"), ("ogg", "OPUS"), ("mp3", "MPEG_LAYER_III")]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Files that were opened by a decoder to look at them."""
    found: list[Path] = []

    def noted(path: Path) -> AudioStream:
        found.append(path)
        return open_file(path)

    monkeypatch.setattr(probe, "open_file", noted)
    return found


def save(path: Path, seconds: float = 2.0, rate: int = 16_000, channels: int = 1, subtype: str = "PCM_16") -> Path:
    noise = 0.1 * np.random.default_rng(0).standard_normal((round(seconds * rate), channels))
    soundfile.write(path, noise, rate, subtype=subtype, format="MP3" if path.suffix == ".mp3" else None)
    return path


@pytest.mark.slow
@pytest.mark.parametrize(("ending", "subtype"), KINDS)
@pytest.mark.parametrize(("rate", "channels"), [(16_000, 1), (48_000, 2), (24_000, 1), (8_000, 1)])
def test_what_is_stated_is_what_there_is(tmp_path: Path, ending: str, subtype: str, rate: int, channels: int) -> None:
    path = save(tmp_path / f"a.{ending}", 3.1, rate, channels, subtype)
    with path.open("rb") as file:
        stated = read_stated(file)
    assert stated is not None and stated.channels == channels
    assert stated.sample_rate == (48_000 if subtype == "OPUS" else rate)
    with open_file(path) as stream:
        decoded = sum(map(len, stream)) / 16_000
    assert stated.duration_s == pytest.approx(decoded, abs=0.08)


@pytest.mark.slow
def test_no_decoder_is_opened_for_thousands_of_recordings(tmp_path: Path, opened: list[Path]) -> None:
    first = [save(tmp_path / f"{number}.{ending}", subtype=sub) for number, (ending, sub) in enumerate(KINDS)]
    first.append(save(tmp_path / "5.wav"))
    lines = []
    for number in range(3_000):
        file = first[number % len(first)]
        os.link(file, tmp_path / f"more{number}{file.suffix}")
        lines.append(json.dumps({"audio": f"more{number}{file.suffix}", "reference": "x"}))
    (tmp_path / "many.jsonl").write_text("\n".join(lines))
    dataset = open_dataset(tmp_path / "many.jsonl")
    assert (len(dataset.items), dataset.problems, opened) == (3_000, (), [])
    assert dataset.audio_s == pytest.approx(6_000, rel=0.02)


def test_a_stretch_behind_what_the_first_recording_states_is_found(tmp_path: Path, opened: list[Path]) -> None:
    one = save(tmp_path / "one.flac")
    chain = tmp_path / "chain.flac"
    chain.write_bytes(one.read_bytes() + save(tmp_path / "two.flac", 3.0).read_bytes())
    manifest = tmp_path / "m.jsonl"

    def problems(*records: dict[str, Any]) -> list[str]:
        manifest.write_text("\n".join(json.dumps(record) for record in records))
        return [str(problem) for problem in open_dataset(manifest).problems]

    inside, behind = ({"audio": "chain.flac", "offset": at, "duration": 1.0} for at in (0.5, 3.5))
    assert problems(inside) == [] and opened == []
    assert problems(inside, behind) == [] and opened == [chain]
    assert problems({**behind, "offset": 5.5}) == [
        "m.jsonl, line 1: the segment begins at 5.5 s, but chain.flac ends at 5.00 s"
    ]


@pytest.mark.parametrize("bad", ["cut", "endless", "nothing"])
def test_a_header_that_says_what_cannot_be_is_not_believed(tmp_path: Path, opened: list[Path], bad: str) -> None:
    path = save(tmp_path / "a.flac")
    data = bytearray(path.read_bytes())
    if bad == "cut":
        data = data[:30]
    elif bad == "endless":
        data[21:26] = b"\xff" * 5
    else:
        data[21:26] = bytes([data[21] & 0xF0]) + bytes(4)
    path.write_bytes(data)
    (tmp_path / "m.jsonl").write_text(json.dumps({"audio": "a.flac"}))
    open_dataset(tmp_path / "m.jsonl")
    assert opened == [path]


@pytest.mark.slow
def test_a_recording_that_breaks_off_fails_alone(run: Run, tmp_path: Path) -> None:
    """Its header is whole, so that it is found out when its turn comes."""
    for number in range(3):
        soundfile.write(tmp_path / f"{number}.flac", toy_audio([3, 5, 7, 9, 11, 13]), 16_000, subtype="PCM_24")
    data = (tmp_path / "1.flac").read_bytes()
    (tmp_path / "1.flac").write_bytes(data[: len(data) // 3])
    lines = (json.dumps({"audio": f"{number}.flac", "reference": "x"}) for number in range(3))
    (tmp_path / "m.jsonl").write_text("\n".join(lines))
    status, _, errors = run("evaluate", tmp_path / "m.jsonl", "--model", "toy", "--output", tmp_path / "out")
    assert status == 3 and "m.jsonl, line 2" in errors and "is cut short or damaged" in errors
