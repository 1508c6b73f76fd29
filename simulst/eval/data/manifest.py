"""JSON-lines manifests: {"audio": path, "offset": s, "duration": s, "text": source, "reference": target} per line."""

from pathlib import Path

from simulst.errors import DataError
from simulst.eval.data.fields import seconds_of, text_of
from simulst.eval.data.item import Dataset, Item, Problem
from simulst.eval.data.kind import DatasetKind
from simulst.eval.data.probe import Header, Probe, stretch_error
from simulst.eval.logs.instances import read_json_lines

KEYS = {"audio", "offset", "duration", "text", "reference"}


class Manifest(DatasetKind):
    what = "a .jsonl manifest"

    def matches(self, place: Path) -> bool:
        return place.is_file() and place.suffix == ".jsonl"

    def read(self, place: Path, *, long: bool, lang: str) -> Dataset:
        return read_manifest(place, lang=lang)

    def hint(self, place: Path) -> str:
        ends = "a manifest ends in .jsonl, a recipe in .toml"
        return f"{place} is not a test set: {ends}." if place.is_file() else ""


def read_manifest(path: Path, *, lang: str = "") -> Dataset:
    """An item per line, paths relative to the manifest's folder; only `audio` must be there, unknown keys are noted.

    Raises DataError, naming the line, for a value of the wrong kind.
    """
    records, notes = read_json_lines(path)
    if notes:
        raise DataError(f"{notes[0].split(' is torn')[0]}: not a JSON object; remove or repair the line.")
    if not records:
        raise DataError(f"{path} is empty; give one JSON object per line.")
    probe = Probe(_audio(record, where, path.parent) for record, where in records)
    items, problems = list[Item](), list[Problem]()
    noted = set[str]()
    for index, (record, where) in enumerate(records):
        item, header = _item(index, record, where, path.parent, probe)
        if error := stretch_error(header, item.audio, item.offset_s, item.duration_s):
            problems.append(Problem(where=where, what=error, index=index))
        if item.reference is not None and not item.reference.strip():
            problems.append(Problem(where=where, what="no reference text", fatal=False))
        for key in sorted(set(record) - KEYS - noted):
            noted.add(key)
            problems.append(Problem(where=where, what=f"unknown key {key!r}, which is ignored", fatal=False))
        items.append(item)
    return Dataset(
        name=path.stem,
        path=path,
        form="short",
        items=tuple(items),
        target_lang=lang,
        problems=tuple(problems),
    )


def _item(index: int, record: dict[str, object], where: str, folder: Path, probe: Probe) -> tuple[Item, Header]:
    audio = _audio(record, where, folder)
    offset_s = seconds_of(record, "offset", where) or 0.0
    duration_s = seconds_of(record, "duration", where)
    header = probe(audio, offset_s + (duration_s or 0.0))
    item = Item(
        index=index,
        audio=audio,
        name=str(record["audio"]),
        offset_s=offset_s,
        duration_s=duration_s,
        audio_s=header.within_s(offset_s, duration_s),
        reference=text_of(record, "reference", where),
        text=text_of(record, "text", where),
        where=where,
    )
    return item, header


def _audio(record: dict[str, object], where: str, folder: Path) -> Path:
    name = text_of(record, "audio", where)
    if not name:
        raise DataError(f"{where}: no `audio`; every line needs the path of a recording.")
    return folder / name  # which is the name itself where that is absolute
