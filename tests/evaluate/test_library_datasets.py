"""Test sets in the layouts of Hugging Face and Lhotse, made with those libraries and read back."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from simulst.errors import DataError
from simulst.eval.data import hub_folder, open_dataset
from simulst.testing import toy_audio, toy_text

datasets = pytest.importorskip("datasets")
lhotse = pytest.importorskip("lhotse")
Run = Callable[..., tuple[int, str, str]]
SAID = ([3, 7, 9], [12, 4], [30, 31, 32, 33])


@pytest.fixture
def wavs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    monkeypatch.setattr(hub_folder, "CACHE", tmp_path / "cache")
    paths = [tmp_path / f"talk{number}.wav" for number in range(len(SAID))]
    for path, words in zip(paths, SAID, strict=True):
        soundfile.write(path, toy_audio(words), 16_000, subtype="FLOAT")
    return paths


def table(wavs: list[Path], **columns: list[object]) -> object:
    audio = [{"bytes": path.read_bytes(), "path": path.name} for path in wavs]
    found = datasets.Dataset.from_dict({"audio": audio, **columns})
    return found.cast_column("audio", datasets.Audio(decode=False))


def german() -> list[object]:
    return [toy_text(words) for words in SAID]


def test_parquet_with_audio_in_it_is_a_test_set(wavs: list[Path], tmp_path: Path, run: Run) -> None:
    folder = tmp_path / "mcif"
    (folder / "data").mkdir(parents=True)
    found = table(wavs, target_text_de=german(), source_text=["a", "b", "c"])
    found.to_parquet(folder / "data" / "test-00000-of-00001.parquet")  # type: ignore[attr-defined]
    for path in wavs:
        path.unlink()
    dataset = open_dataset(folder)
    assert (dataset.name, dataset.target_lang, dataset.problems) == ("mcif", "de", ())
    assert [item.reference for item in dataset.items] == german()
    assert [item.text for item in dataset.items] == ["a", "b", "c"]
    np.testing.assert_array_equal(np.concatenate(list(dataset.items[1].open())), toy_audio(SAID[1]))
    assert {item.audio for item in open_dataset(folder).items} == {item.audio for item in dataset.items}
    status, _, said = run("evaluate", folder, "--model", "toy", "--policy", "offline", "--output", tmp_path / "out")
    assert status == 0, said
    assert (tmp_path / "out" / "scores.tsv").is_file()


def test_segments_of_a_talk_share_its_recording(wavs: list[Path], tmp_path: Path) -> None:
    seconds = soundfile.info(wavs[2]).duration
    found = table([wavs[2], wavs[2]], offset=[0.0, seconds / 2], duration=[seconds / 2] * 2, translation=["x", "y"])
    found.save_to_disk(tmp_path / "arrow")  # type: ignore[attr-defined]
    dataset = open_dataset(tmp_path / "arrow", lang="de")
    first, second = dataset.items
    assert first.audio == second.audio and second.offset_s == pytest.approx(seconds / 2)
    assert [item.audio_s for item in dataset.items] == pytest.approx([seconds / 2] * 2)
    assert (dataset.target_lang, second.reference) == ("de", "y")


def test_paths_in_a_table_are_read_where_they_are(wavs: list[Path], tmp_path: Path) -> None:
    found = datasets.Dataset.from_dict({"file": [str(path) for path in wavs], "reference": german()})
    found.save_to_disk(tmp_path / "arrow")
    assert [item.audio for item in open_dataset(tmp_path / "arrow").items] == wavs


@pytest.mark.parametrize(
    ("columns", "lang", "sentence"),
    [
        ({"target_text_de": ["x"] * 3, "target_text_it": ["y"] * 3}, "", "has references in de, it; choose one with"),
        ({"offset": [-1.0] * 3}, "", "row 1: `offset` must be seconds, 0 or more, but is -1.0"),
        ({"translation": [1, 2, 3]}, "", "row 1: `translation` must be text, but is 1"),
    ],
)
def test_what_a_table_cannot_mean_is_refused(
    wavs: list[Path], columns: dict[str, list[object]], lang: str, sentence: str, tmp_path: Path
) -> None:
    table(wavs, **columns).save_to_disk(tmp_path / "arrow")  # type: ignore[attr-defined]
    with pytest.raises(DataError, match=sentence):
        open_dataset(tmp_path / "arrow", lang=lang)


def test_a_table_without_audio_and_a_broken_one_are_refused(tmp_path: Path) -> None:
    datasets.Dataset.from_dict({"text": ["a"]}).save_to_disk(tmp_path / "text")
    with pytest.raises(DataError, match="has no column of audio; it has text"):
        open_dataset(tmp_path / "text")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "x.parquet").write_bytes(b"PAR1 and nothing more")
    with pytest.raises(DataError, match="cannot be read as a table: "):
        open_dataset(tmp_path / "broken")


def test_a_row_without_audio_is_a_problem_of_that_row(wavs: list[Path], tmp_path: Path) -> None:
    rows = {"audio": [{"bytes": wavs[0].read_bytes(), "path": "../../x.wav"}, {"bytes": b"noise", "path": None}]}
    found = datasets.Dataset.from_dict(rows).cast_column("audio", datasets.Audio(decode=False))
    found.save_to_disk(tmp_path / "arrow")
    dataset = open_dataset(tmp_path / "arrow")
    assert [problem.index for problem in dataset.problems if problem.fatal] == [1]
    assert dataset.items[0].audio.parent == tmp_path / "cache"  # whatever path the table claims


@pytest.fixture
def cuts(wavs: list[Path], tmp_path: Path) -> Path:
    made = []
    for number, path in enumerate(wavs):
        recording = lhotse.Recording.from_file(path)
        supervision = lhotse.SupervisionSegment(
            id=f"s{number}",
            recording_id=recording.id,
            start=0,
            duration=recording.duration,
            text=f"said {number}",
            custom={"translation": toy_text(SAID[number])},
        )
        made.append(lhotse.MonoCut(f"c{number}", 0, recording.duration, 0, [supervision], recording=recording))
    path = tmp_path / "cuts.jsonl.gz"
    lhotse.CutSet.from_cuts(made).to_file(path)
    return path


def test_lhotse_cuts_are_a_test_set(cuts: Path, wavs: list[Path], run: Run, tmp_path: Path) -> None:
    dataset = open_dataset(cuts)
    assert [(item.name, item.audio) for item in dataset.items] == [(f"c{n}", path) for n, path in enumerate(wavs)]
    assert [item.text for item in dataset.items] == ["said 0", "said 1", "said 2"]
    assert [item.reference for item in dataset.items] == german()
    status, _, said = run("evaluate", cuts, "--model", "toy", "--policy", "offline", "--output", tmp_path / "out")
    assert status == 0, said


def test_cuts_whose_recordings_are_gone_are_problems(cuts: Path, wavs: list[Path]) -> None:
    wavs[1].unlink()
    dataset = open_dataset(cuts)
    assert [(problem.index, problem.where) for problem in dataset.problems] == [(1, "cuts.jsonl.gz, line 2")]


def test_a_manifest_of_our_own_is_not_taken_for_cuts(wavs: list[Path], tmp_path: Path) -> None:
    path = tmp_path / "manifest.jsonl"
    path.write_text('{"audio": "talk0.wav", "reference": "x"}\n')
    assert open_dataset(path).items[0].audio == wavs[0]
