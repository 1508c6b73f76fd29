"""Test sets: what is read, and the sentence for what is wrong."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from simulst.errors import DataError
from simulst.eval.data import open_dataset
from simulst.eval.data.export import write_lists as export_lists
from simulst.testing import toy_audio

Edit = Callable[[Path, int, str | None], None]


def test_mustc_by_segment(mustc: Path) -> None:
    dataset = open_dataset(mustc)
    assert (dataset.form, dataset.source_lang, dataset.target_lang) == ("short", "en", "de")
    assert [item.name for item in dataset.items] == ["ted_0.wav"] * 3 + ["ted_1.wav"] * 3
    first, second = dataset.items[:2]
    assert (first.offset_s, first.index, first.where) == (0.64, 0, "tst.yaml, line 1")
    assert second.offset_s == pytest.approx(0.64 + (first.duration_s or 0) + 0.96)
    assert first.reference == (mustc / "txt" / "tst.de").read_text().splitlines()[0]
    assert first.text == (mustc / "txt" / "tst.en").read_text().splitlines()[0]
    words = [int(word) for word in first.text.split()]
    np.testing.assert_array_equal(np.concatenate(list(first.open())), toy_audio(words))
    assert dataset.segments is None and dataset.problems == ()


def test_mustc_by_talk(mustc: Path) -> None:
    dataset = open_dataset(mustc, long=True)
    assert [item.name for item in dataset.items] == ["ted_0.wav", "ted_1.wav"]
    assert [item.index for item in dataset.items] == [0, 1]
    assert dataset.segments is not None and [s.wav for s in dataset.segments] == ["ted_0.wav"] * 3 + ["ted_1.wav"] * 3
    whole = soundfile.info(mustc / "wav" / "ted_0.wav")
    assert dataset.items[0].audio_s == whole.duration
    assert len(np.concatenate(list(dataset.items[0].open()))) == whole.frames
    assert dataset.texts is not None and len(dataset.texts) == 6


def test_only_the_span_is_read(mustc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    original = soundfile.SoundFile.read

    def counting(self: soundfile.SoundFile, frames: int = -1, **options: object) -> object:
        read.append(frames)
        return original(self, frames, **options)

    monkeypatch.setattr(soundfile.SoundFile, "read", counting)
    item = open_dataset(mustc).items[4]
    assert read == []  # headers only
    list(item.open())
    wanted = round((item.duration_s or 0) * 16_000)
    assert wanted <= sum(read) < wanted + 16_000  # a block more at most


def test_flac_in_place_of_wav(mustc: Path) -> None:
    wav = mustc / "wav" / "ted_1.wav"
    samples, _ = soundfile.read(wav, dtype="float32")
    soundfile.write(wav.with_suffix(".flac"), samples, 16_000)
    wav.unlink()
    dataset = open_dataset(mustc, long=True)
    assert dataset.items[1].audio.name == "ted_1.flac" and dataset.problems == ()


def test_lists_are_meant_from_here_or_from_beside_them(lists: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in (lists, lists.parent):
        monkeypatch.chdir(folder)
        dataset = open_dataset(lists)
        assert [item.name for item in dataset.items] == ["0.wav", "1.wav", "2.wav", "3.wav"]
        assert dataset.problems == ()
    (lists / "source.txt").write_text("0.wav\n1.wav\n\n\n")
    (lists / "target.txt").write_text("a\nb\n\n")
    assert [item.reference for item in open_dataset(lists).items] == ["a", "b"]


def test_manifest(lists: Path) -> None:
    manifest = lists / "set.jsonl"
    lines = [{"audio": "0.wav", "reference": "w1", "text": "one"}, {"audio": "1.wav", "offset": 0.32, "duration": 0.64}]
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    first, second = open_dataset(manifest).items
    assert (first.reference, first.text, first.duration_s) == ("w1", "one", None)
    assert (second.offset_s, second.audio_s, second.reference) == (0.32, 0.64, None)
    assert len(np.concatenate(list(second.open()))) == 10_240


def test_keys_that_mean_nothing_are_noted_once(lists: Path) -> None:
    lines = ['{"audio": "0.wav", "referense": "x", "id": 3}\n'] * 2
    (lists / "m.jsonl").write_text("".join(lines))
    found = [str(problem) for problem in open_dataset(lists / "m.jsonl").problems]
    assert found == [f"m.jsonl, line 1: unknown key {key!r}, which is ignored" for key in ("id", "referense")]


def test_fingerprint_follows_content_not_place(mustc: Path, tmp_path: Path, edit: Edit) -> None:
    before = open_dataset(mustc).fingerprint
    assert open_dataset(mustc).first(2).fingerprint == before
    assert open_dataset(mustc, long=True).fingerprint != before
    moved = mustc.rename(tmp_path / "en-de" / "data" / "other")
    assert open_dataset(moved).fingerprint == before
    edit(moved / "txt" / "tst.de", 2, "anders")
    assert open_dataset(moved).fingerprint != before


def test_exported_lists_hold_the_same_samples(mustc: Path, tmp_path: Path) -> None:
    for wav in (mustc / "wav").iterdir():
        samples, _ = soundfile.read(wav, dtype="float32")
        soundfile.write(wav, np.round(samples * 32768).astype(np.int16), 16_000, subtype="PCM_16")
    dataset = open_dataset(mustc)
    assert export_lists(dataset, tmp_path / "out") == 6
    again = open_dataset(tmp_path / "out")
    assert [item.reference for item in again.items] == [item.reference for item in dataset.items]
    for old, new in zip(dataset.items, again.items, strict=True):
        np.testing.assert_array_equal(np.concatenate(list(new.open())), np.concatenate(list(old.open())))


def refusal(path: Path, *, long: bool = False) -> str:
    with pytest.raises(DataError) as error:
        open_dataset(path, long=long).usable(skip_bad=False)
    return str(error.value)


def test_text_that_does_not_match_the_yaml(mustc: Path, edit: Edit) -> None:
    edit(mustc / "txt" / "tst.de", 6, None)
    assert refusal(mustc) == "tst.yaml has 6 segments but tst.de has 5 lines; the counts must match."


def test_transcript_that_does_not_match(mustc: Path, edit: Edit) -> None:
    edit(mustc / "txt" / "tst.en", 1, None)
    assert refusal(mustc) == "tst.en has 5 lines but the segmentation has 6; the counts must match."


def test_missing_recording(mustc: Path) -> None:
    (mustc / "wav" / "ted_1.wav").unlink()
    assert refusal(mustc) == (
        f"tst.yaml, line 4: {mustc}/wav/ted_1.wav does not exist; fix it, or leave such items out with --skip-bad "
        f"(and 2 more, see `simulst data check {mustc}`)."
    )


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("offset: 99.0, duration: 1.0", "the segment begins at 99 s, but ted_0.wav ends at"),
        ("offset: 0.5, duration: 99.0", "the segment ends at 99.5 s, but ted_0.wav ends at"),
        ("offset: 0.5, duration: 0.0", "an empty segment: its duration is 0 s"),
    ],
)
def test_segments_that_cannot_be_cut(mustc: Path, edit: Edit, line: str, reason: str) -> None:
    edit(mustc / "txt" / "tst.yaml", 2, f"- {{{line}, wav: ted_0.wav}}")
    assert refusal(mustc).startswith(f"tst.yaml, line 2: {reason}")
    assert refusal(mustc, long=True).startswith(f"tst.yaml, line 2: {reason}")


def test_a_segment_that_overlaps_the_end_a_little_is_a_note(mustc: Path, edit: Edit) -> None:
    end = soundfile.info(mustc / "wav" / "ted_0.wav").duration
    edit(mustc / "txt" / "tst.yaml", 3, f"- {{offset: {end - 0.5}, duration: 0.7, wav: ted_0.wav}}")
    (problem,) = open_dataset(mustc).problems
    assert str(problem) == "tst.yaml, line 3: the segment ends 0.200 s after ted_0.wav"
    assert not problem.fatal


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty: it holds no audio"),
        (b"RIFF\xff\xff\xff\xffWAVEjunk\x00", "wav"),
        (b"hello\n", "holds text"),
    ],
)
def test_broken_recordings(lists: Path, content: bytes, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(lists)
    (lists / "1.wav").write_bytes(content)
    sentence = refusal(lists)
    assert sentence.startswith("source.txt, line 2: 1.wav ") and reason in sentence


def test_a_rate_that_is_none(lists: Path) -> None:
    soundfile.write(lists / "2.wav", np.zeros(100, np.float32), 100)
    assert f"source.txt, line 3: {lists}/2.wav has a sample rate of 100 Hz; it must lie in 1000 to 768000" in refusal(
        lists
    )


def test_wav_names_stay_inside(mustc: Path, edit: Edit) -> None:
    edit(mustc / "txt" / "tst.yaml", 1, "- {offset: 0.5, duration: 1.0, wav: ../../secret.wav}")
    assert refusal(mustc) == (
        f"tst.yaml, line 1: `wav` must be the name of a file in {mustc}/wav, not '../../secret.wav'."
    )


def test_lists_that_do_not_fit(lists: Path) -> None:
    (lists / "target.txt").write_text("a\nb\n")
    assert refusal(lists) == "source.txt has 4 recordings but target.txt has 2 lines; the counts must match."


def test_blank_line_in_a_list(lists: Path, edit: Edit) -> None:
    edit(lists / "source.txt", 2, "")
    assert refusal(lists).startswith("source.txt, line 2: an empty line; every line must name a recording")


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ('{"audio": 3}', "set.jsonl, line 1: `audio` must be text, but is 3."),
        ('{"reference": "x"}', "set.jsonl, line 1: no `audio`; every line needs the path of a recording."),
        ('{"audio": "0.wav", "offset": -1}', "set.jsonl, line 1: `offset` must be seconds, 0 or more, but is -1."),
        ("[]", "set.jsonl, line 1: not a JSON object; remove or repair the line."),
        ('{"audio": ', "set.jsonl, line 1: not a JSON object; remove or repair the line."),
    ],
)
def test_manifest_errors(lists: Path, line: str, sentence: str) -> None:
    (lists / "set.jsonl").write_text(f"{line}\n")
    assert refusal(lists / "set.jsonl") == sentence


def test_what_is_no_test_set(tmp_path: Path, mustc: Path) -> None:
    assert refusal(tmp_path / "nowhere").startswith(f"{tmp_path}/nowhere does not exist")
    (tmp_path / "empty").mkdir()
    assert "is not a test set" in refusal(tmp_path / "empty")
    assert refusal(tmp_path) == f"{tmp_path} holds whole MuST-C splits; give one of them: {mustc}."
    (mustc / "txt" / "tst.fr").write_text("x\n" * 6)
    assert open_dataset(mustc).target_lang == "de"  # the folder says en-de
    bare = mustc.rename(tmp_path / "bare")
    with pytest.raises(DataError, match=r"needs one target text tst.LANGUAGE but has de, fr; choose one with --lang"):
        open_dataset(bare)
    assert open_dataset(bare, lang="fr").target_lang == "fr"
