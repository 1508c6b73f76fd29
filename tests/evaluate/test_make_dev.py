"""examples/make_dev.py: a folder that `simulst evaluate` takes, with sentences said once."""

from pathlib import Path
from random import Random
from types import ModuleType

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
import yaml

from simulst.errors import DataError, SimulstError
from simulst.eval.data import open_dataset
from simulst.plugins import module_from_file

SCRIPT = Path(__file__).parents[2] / "examples" / "make_dev.py"
PAIRS = [
    ("Yes.", "Ja."),
    ("Yes.", "Jawohl."),
    ("No.", "Nein."),
    ("Nope.", "Nein."),
    ("Go!", "Geh!"),
    ("Stop.", "Halt."),
]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = module_from_file(SCRIPT, what="example", error=SimulstError)

    def speak(text: str, voice: str, rng: Random) -> npt.NDArray[np.int16]:
        return np.full(1_600 * len(text), 1_000 + len(voice), dtype=np.int16)

    monkeypatch.setattr(module, "speak", speak)
    return module


def test_every_sentence_is_said_once(script: ModuleType) -> None:
    assert script.distinct(PAIRS, reverse=False) == [PAIRS[0], PAIRS[2], PAIRS[4], PAIRS[5]]
    assert script.distinct(PAIRS, reverse=True)[:2] == [("Ja.", "Yes."), ("Nein.", "No.")]


def test_recordings_are_a_test_set(script: ModuleType, tmp_path: Path) -> None:
    said = script.distinct(PAIRS, reverse=False)
    script.build(said, tmp_path, ("a", "b"), 2, 2)
    dataset = open_dataset(tmp_path, lang="de")
    assert not dataset.problems
    assert [item.reference for item in dataset.items] == ["Ja. Nein.", "Geh! Halt."]
    assert (tmp_path / "transcript.txt").read_text() == "Yes. No.\nGo! Stop.\n"
    first, rate = soundfile.read(tmp_path / "wav" / "000_a.flac")
    assert rate == 16_000 and np.abs(first).max() == pytest.approx(0.5, abs=1e-4)
    assert 0.2 + 0.7 + 2 * 0.3 <= len(first) / rate <= 0.2 + 0.7 + 2 * 0.6
    script.build(said, tmp_path / "again", ("a", "b"), 2, 2)
    assert (soundfile.read(tmp_path / "again" / "wav" / "000_a.flac")[0] == first).all()


def test_too_few_sentences(script: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="3 recordings need 6 sentences; there are 4"):
        script.build(script.distinct(PAIRS, reverse=False), tmp_path, ("a",), 3, 2)
    assert not list(tmp_path.iterdir())


def test_talks_are_a_split_of_must_c(script: ModuleType, tmp_path: Path) -> None:
    split = tmp_path / "en-de" / "data" / "tst-COMMON"
    script.build_talks(script.distinct(PAIRS, reverse=False), split, ("a", "b"), 2, 2)
    dataset = open_dataset(split, lang="de", long=True)
    assert not dataset.problems and len(dataset.items) == 2
    assert (split / "txt" / "tst-COMMON.de").read_text() == "Ja.\nNein.\nGeh!\nHalt.\n"
    assert (split / "txt" / "tst-COMMON.en").read_text() == "Yes.\nNo.\nGo!\nStop.\n"
    segments = yaml.safe_load((split / "txt" / "tst-COMMON.yaml").read_text())
    assert [segment["wav"] for segment in segments] == ["talk_1.flac"] * 2 + ["talk_2.flac"] * 2
    assert (segments[0]["offset"], segments[0]["duration"]) == (0.2, 0.4)
    talk, _ = soundfile.read(split / "wav" / "talk_1.flac")
    quiet = talk[round(0.61 * 16_000) : round(segments[1]["offset"] * 16_000) - 1]
    assert not quiet.any() and talk[round(segments[1]["offset"] * 16_000) + 1] != 0


def test_talks_the_other_way_round_name_their_languages(script: ModuleType, tmp_path: Path) -> None:
    split = tmp_path / "de-en" / "data" / "dev"
    script.build_talks(script.distinct(PAIRS, reverse=True), split, ("a",), 1, 2, languages=("de", "en"))
    assert (split / "txt" / "dev.de").read_text() == "Ja.\nNein.\n"
    assert (split / "txt" / "dev.en").read_text() == "Yes.\nNo.\n"
