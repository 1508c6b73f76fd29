"""Lhotse manifests of cuts (`cuts.jsonl` or `cuts.jsonl.gz`), as NeMo uses them.

The text of the supervisions is what is said; the translation is `custom["translation"]`, `custom["target_text_de"]` or
`custom["de"]` of a supervision or of the cut. The library `lhotse` reads the manifest.
"""

import gzip
import json
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from simulst.errors import DataError
from simulst.eval.data.item import Dataset, Item, Problem
from simulst.eval.data.kind import DatasetKind
from simulst.eval.data.probe import Probe, stretch_error

if TYPE_CHECKING:
    from lhotse.cut import Cut

SUFFIXES = (".jsonl", ".jsonl.gz")
_FIRST_LINE = 1_000_000


class LhotseCuts(DatasetKind):
    what = "a Lhotse manifest of cuts"

    def matches(self, place: Path) -> bool:
        return place.is_file() and place.name.endswith(SUFFIXES) and _is_cut(_first(place))

    def read(self, place: Path, *, long: bool, lang: str) -> Dataset:
        cuts = _cuts(place)
        recordings = [_recording(cut, place, number) for number, cut in enumerate(cuts, 1)]
        probe = Probe(recordings)
        items, problems = list[Item](), list[Problem]()
        for index, (cut, audio) in enumerate(zip(cuts, recordings, strict=True)):
            item = _item(index, cut, audio, lang, place, probe)
            items.append(item)
            header = probe(audio, item.offset_s + (item.duration_s or 0.0))
            if error := stretch_error(header, audio, item.offset_s, item.duration_s):
                problems.append(Problem(where=item.where, what=error, index=index))
        return Dataset(
            name=place.name.partition(".")[0],
            path=place,
            form="short",
            items=tuple(items),
            target_lang=lang,
            problems=tuple(problems),
        )


def _first(place: Path) -> str:
    """The first line; "" where the file cannot be read."""
    try:
        with (
            gzip.open(place, "rt", encoding="utf-8") if place.suffix == ".gz" else place.open(encoding="utf-8") as file
        ):
            return file.readline(_FIRST_LINE)
    except (OSError, UnicodeDecodeError, EOFError, zlib.error):
        return ""


def _is_cut(line: str) -> bool:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and found.get("type") in ("MonoCut", "MultiCut")


def _cuts(place: Path) -> "list[Cut]":
    try:
        from lhotse import CutSet
    except ImportError:
        raise DataError("Lhotse manifests need the library lhotse: pip install 'simulst[lhotse]'.") from None
    try:
        found = list(CutSet.from_file(place))
    except Exception as problem:  # whatever the library finds wrong
        raise DataError(f"{place} cannot be read by lhotse: {str(problem).splitlines()[0].rstrip('.')}.") from None
    return found


def _recording(cut: "Cut", place: Path, number: int) -> Path:
    """The file of a cut; paths are relative to the manifest's folder."""
    sources = cut.recording.sources if cut.has_recording else []
    if len(sources) != 1 or sources[0].type != "file":
        raise DataError(f"{place.name}, line {number}: cut {cut.id} needs one recording of type file.")
    return place.parent / str(sources[0].source)  # which is the source itself where that is absolute


def _item(index: int, cut: "Cut", audio: Path, lang: str, place: Path, probe: Probe) -> Item:
    said = [one.text for one in cut.supervisions if one.text]
    return Item(
        index=index,
        audio=audio,
        name=str(cut.id),
        offset_s=float(cut.start),
        duration_s=float(cut.duration),
        audio_s=probe(audio).within_s(float(cut.start), float(cut.duration)),
        reference=_translation(cut, lang),
        text=" ".join(said) or None,
        where=f"{place.name}, line {index + 1}",
    )


def _translation(cut: "Cut", lang: str) -> str | None:
    """That of the supervisions one after the other, or of the cut; None where there is none."""
    keys = [*([f"target_text_{lang}", f"translation_{lang}", lang] if lang else []), "translation", "target_text"]
    holders = [one.custom for one in cut.supervisions] or [cut.custom]
    for custom in (holders, [cut.custom]):
        for key in keys:
            texts = [found.get(key) for found in custom if found]
            if texts and all(isinstance(text, str) for text in texts):
                return " ".join(str(text) for text in texts)
    return None
