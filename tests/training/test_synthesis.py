"""Synthesised speech: what stops it before anything is spoken, and how it goes on."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from simulst.errors import DataError
from simulst.training.synthesis import VOICES, read_index, synthesise

SENTENCES = [(k, f"Sentence number {k}.") for k in range(6)]


@pytest.fixture
def espeak(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program of that name alone on the path, which hands out one recording."""
    programs = tmp_path / "bin"
    programs.mkdir()
    noise = np.random.default_rng(0).uniform(-0.1, 0.1, 16_000)
    soundfile.write(tmp_path / "said.wav", noise, 16_000)
    one = programs / "espeak-ng"
    one.write_text(f'#!/bin/sh\nwhile [ "$1" != -w ]; do shift; done\n/bin/cat {tmp_path}/said.wav > "$2"\n')
    one.chmod(0o755)
    monkeypatch.setenv("PATH", str(programs))
    return one


@pytest.mark.parametrize(
    ("voices", "message"),
    [
        ({}, r"No voice is named; write NAME = WEIGHT under \[data\.voices\] and \[data\.dev_voices\]\."),
        ({"nobody": 1.0}, rf"Unknown voice 'nobody'; known: {', '.join(VOICES)}\."),
        (
            {"espeak-en-gb": 1.0, "flite-slt": 1.0},
            r"The voice 'flite-slt' needs flite; install it, or take the voice out",
        ),
    ],
)
def test_voices_that_cannot_speak_are_one_sentence(
    tmp_path: Path, espeak: Path, voices: dict[str, float], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        synthesise(SENTENCES, voices, tmp_path / "speech")
    assert not (tmp_path / "speech").exists()


def test_nothing_to_say_needs_no_voice(tmp_path: Path) -> None:
    synthesise([], {}, tmp_path / "speech")
    assert read_index(tmp_path / "speech") == []


def test_what_was_spoken_is_kept_and_the_rest_goes_on(tmp_path: Path, espeak: Path) -> None:
    voices = {"espeak-en-gb": 1.0, "mbrola-us1": 2.0}
    synthesise(SENTENCES[:4], voices, tmp_path, workers=1)
    first = read_index(tmp_path)
    assert {clip.sentence for clip in first} == {0, 1, 2, 3} and all(clip.samples == 16_000 for clip in first)
    with (tmp_path / "000.tsv").open("a") as index:
        index.write("4\tmbro")  # killed while it wrote
    synthesise(SENTENCES, dict.fromkeys({clip.voice for clip in first}, 1.0), tmp_path, workers=1)
    again = read_index(tmp_path)
    assert again[:4] == first and {4, 5} <= {clip.sentence for clip in again}
    assert [clip.start for clip in again] == [16_000 * k for k in range(len(again))]
