"""Segments and references: formats, names, and what goes wrong with them."""

from pathlib import Path

import pytest

from simulst.errors import DataError
from simulst.eval.data.iwslt import read_iwslt, write_iwslt
from simulst.eval.data.segmentation import Segment, read_references, read_segmentation, write_segmentation
from simulst.eval.logs.instances import Instance
from simulst.eval.segment.recordings import match_recordings, recording_end_s

YAML = "- {duration: 2.5, offset: 1.0, rW: 1, uW: 0, speaker_id: spk.1, wav: a.wav}\n"


def segments(tmp_path: Path, text: str, references: list[str], name: str = "s.yaml") -> list[Segment]:
    (tmp_path / name).write_text(text)
    return read_segmentation(tmp_path / name, references)


def test_yaml_json_and_documents_mean_the_same(tmp_path: Path) -> None:
    (one,) = segments(tmp_path, YAML, ["Hallo"])
    (other,) = segments(tmp_path, '[{"wav": "a.wav", "offset": 1, "duration": "2.5"}]', ["Hallo"], "s.json")
    assert (one.wav, one.offset_s, one.duration_s) == (other.wav, other.offset_s, other.duration_s) == ("a.wav", 1, 2.5)
    (third,) = segments(tmp_path, "docid=0,segid=0\n", ["Hallo"], "s.txt")
    assert (third.wav, third.offset_s) == ("docid=0", None)


def test_written_yaml_is_read_back(tmp_path: Path) -> None:
    wanted = [Segment(index=0, wav="1.wav", offset_s=0.5, duration_s=2.0, reference="x", speaker="y: [")]
    write_segmentation(tmp_path / "o.yaml", wanted)
    assert read_segmentation(tmp_path / "o.yaml", ["x"]) == wanted


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (YAML * 2, "s.yaml has 2 segments but the references have 1 lines; the counts must match."),
        ("- {duration: 1, offset: 2}\n", "s.yaml, line 1: no `wav`; every segment needs wav, offset and duration."),
        ("- {wav: a, offset: 2}\n", "s.yaml, line 1: `duration` must be seconds, 0 or more, but is None."),
        (
            "- {wav: a, offset: -2, duration: 1}\n",
            "s.yaml, line 1: `offset` must be seconds, 0 or more, but is -2.",
        ),
        (
            "- {wav: a, offset: .nan, duration: 1}\n",
            "s.yaml, line 1: `offset` must be seconds, 0 or more, but is nan.",
        ),
        ("a: 1\n", "s.yaml must be a list of segments with wav, offset and duration."),
        ("- [\n", "s.yaml cannot be parsed: line 2: did not find expected node content."),
        ("!!python/object/apply:os.system [ls]\n", "s.yaml cannot be parsed: line 1: "),
    ],
)
def test_a_segmentation_that_cannot_be_used(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(DataError) as error:
        segments(tmp_path, text, ["Hallo"])
    assert str(error.value).startswith(sentence)


def test_only_a_line_feed_ends_a_reference(tmp_path: Path) -> None:
    (tmp_path / "r").write_bytes("a\u2028b \r\nc\u00a0d\n\n".encode())
    assert read_references(tmp_path / "r") == ["a\u2028b ", "c\u00a0d", ""]


def test_empty_references(tmp_path: Path) -> None:
    (tmp_path / "r").write_text("\n \n")
    with pytest.raises(DataError, match=r"r holds no reference text; give one reference per line\.$"):
        read_references(tmp_path / "r")


def stream(source: str, line: int = 1) -> Instance:
    return Instance(index=0, source=source, prediction="", where=f"log, line {line}")


def entry(wav: str, index: int, offset: float = 0.0) -> Segment:
    return Segment(index=index, wav=wav, offset_s=offset, duration_s=1.0)


@pytest.mark.parametrize(("source", "wav"), [("/x/a.wav", "a.wav"), ("a", "a.wav"), ("/x/a.flac", "y/a.wav")])
def test_recordings_are_found_by_name_or_stem(source: str, wav: str) -> None:
    (found,) = match_recordings([entry(wav, 0)], [stream(source)], "s.yaml")
    assert found.instance.source == source


def test_interleaved_segments_are_grouped() -> None:
    mixed = [entry("a", 0), entry("b", 1), entry("a", 2, 5.0)]
    a, b = match_recordings(mixed, [stream("b"), stream("a")], "s.yaml")
    assert ([s.index for s in a.segments], [s.index for s in b.segments]) == ([0, 2], [1])
    assert recording_end_s(a.segments) == 6.0


@pytest.mark.parametrize(
    ("logged", "sentence"),
    [
        (["a.wav", "c.wav"], "log, line 1: c.wav is not in s.yaml, which has a.wav, b.wav."),
        (["a.wav"], "The log has no line for b.wav of s.yaml; finish the run or leave its segments out of both files."),
        (["a.wav", "x/a.wav"], "log, line 1: a.wav was already translated in log, line 1; keep one of them."),
    ],
)
def test_recordings_that_do_not_match(logged: list[str], sentence: str) -> None:
    with pytest.raises(DataError) as error:
        match_recordings([entry("a.wav", 0), entry("b.wav", 1)], [stream(name) for name in logged], "s.yaml")
    assert str(error.value) == sentence


def test_iwslt_sets_go_there_and_back(tmp_path: Path) -> None:
    wanted = [entry("t1", 0), entry("t1", 1), entry("t2", 2)]
    texts = ["a < b & c", '</seg> "q"', "ü"]
    filled = [Segment(index=s.index, wav=s.wav, reference=t) for s, t in zip(wanted, texts, strict=True)]
    write_iwslt(tmp_path / "x.xml", filled, set_id="tst", lang="de")
    assert read_iwslt(tmp_path / "x.xml") == filled


def test_a_file_that_is_no_iwslt_set(tmp_path: Path) -> None:
    (tmp_path / "x.xml").write_text("<html/>")
    with pytest.raises(DataError, match=r"^x.xml has no <doc> with <seg> in it; is it an IWSLT test set\?$"):
        read_iwslt(tmp_path / "x.xml")
