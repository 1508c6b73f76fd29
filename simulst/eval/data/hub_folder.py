"""Folders in the layouts of the Hugging Face hub: parquet files, or an arrow folder of `save_to_disk`, with audio.

Known columns are those of MCIF-ST (`audio`, `offset`, `duration`, `target_text_de`, `source_text`) and other usual
names. The library `datasets` reads the tables; the recordings in them are written once into a folder of the cache, each
under a digest of its bytes, and are ordinary files from there on.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import TYPE_CHECKING

from simulst.errors import DataError
from simulst.eval.data.fields import seconds_of, text_of
from simulst.eval.data.item import Dataset, Item, Problem
from simulst.eval.data.kind import DatasetKind
from simulst.eval.data.probe import Probe, stretch_error

if TYPE_CHECKING:
    from datasets import Dataset as Table

AUDIO = ("audio", "wav", "file", "path")
TARGETS = ("target_text", "translation", "target", "tgt_text", "reference")
SOURCES = ("source_text", "transcript", "transcription", "text", "sentence", "src_text")
ARROW_FILES = ("state.json", "dataset_info.json")
CACHE = Path("~/.cache/simulst/recordings")
_MAX_SUFFIX = 6


class HubFolder(DatasetKind):
    what = "a folder of parquet or arrow files"
    signs = "*.parquet (Hugging Face)"

    def matches(self, place: Path) -> bool:
        return place.is_dir() and (bool(_parquet(place)) or all((place / name).is_file() for name in ARROW_FILES))

    def read(self, place: Path, *, long: bool, lang: str) -> Dataset:
        if long:
            raise DataError(f"{place} holds rows of a table, each of them an item; --long needs a MuST-C split.")
        with TemporaryDirectory(prefix="simulst-table-") as scratch:
            table = _table(place, scratch)
            columns = Columns.of(table.column_names, lang, place)
            rows = list(_rows(table, columns))
        if not rows:
            raise DataError(f"{place} has no rows.")
        probe = Probe([row.audio for row in rows if row.audio])
        found = [_item(index, row, probe) for index, row in enumerate(rows)]
        return Dataset(
            name=place.resolve().name,
            path=place,
            form="short",
            items=tuple(item for item, _ in found),
            target_lang=lang or columns.lang,
            problems=tuple(problem for _, problems in found for problem in problems),
        )


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Which columns mean what; "" for what the table does not have."""

    audio: str
    target: str
    source: str
    lang: str

    @classmethod
    def of(cls, names: list[str], lang: str, place: Path) -> "Columns":
        """DataError, naming the columns, where there is no audio or several languages to choose from."""
        audio = next((name for name in AUDIO if name in names), "")
        if not audio:
            raise DataError(f"{place} has no column of audio; it has {', '.join(names)}.")
        languages = {name.rpartition("_")[2]: name for name in names if name.startswith("target_text_")}
        if lang and lang in languages:
            target = languages[lang]
        elif len(languages) > 1:
            raise DataError(f"{place} has references in {', '.join(sorted(languages))}; choose one with --lang.")
        else:
            target = next(iter([*languages.values(), *(name for name in TARGETS if name in names)]), "")
        source = next((name for name in SOURCES if name in names and name != target), "")
        return cls(audio=audio, target=target, source=source, lang=next(iter(languages), "") if not lang else lang)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row as an item needs it."""

    where: str
    audio: Path | None
    name: str
    offset_s: float
    duration_s: float | None
    reference: str | None
    text: str | None
    error: str = ""


def _parquet(place: Path) -> list[Path]:
    return sorted([*place.glob("*.parquet"), *place.glob("data/*.parquet")])


def library() -> ModuleType:
    """The library `datasets`; DataError with a sentence where it is not installed."""
    try:
        import datasets
    except ImportError:
        raise DataError(
            "Parquet and arrow folders need the library datasets: pip install 'simulst[datasets]'."
        ) from None
    datasets.disable_progress_bars()
    found: ModuleType = datasets
    return found


def _table(place: Path, scratch: str) -> "Table":
    datasets = library()
    try:
        if files := _parquet(place):
            found: Table = datasets.Dataset.from_parquet([str(file) for file in files], cache_dir=scratch)
        else:
            found = datasets.load_from_disk(str(place))
    except Exception as problem:  # whatever pyarrow finds wrong with a file
        raise DataError(f"{place} cannot be read as a table: {str(problem).splitlines()[0].rstrip('.')}.") from None
    if not isinstance(found, datasets.Dataset):
        raise DataError(f"{place} holds several splits; name the folder of one of them.")
    for name, feature in found.features.items():
        if isinstance(feature, datasets.Audio):
            found = found.cast_column(name, datasets.Audio(decode=False))
    return found


def _rows(table: "Table", columns: Columns) -> Iterator[Row]:
    folder = CACHE.expanduser()
    for number, row in enumerate(table, 1):
        where = f"row {number}"
        audio, error = _recording(row[columns.audio], folder)
        yield Row(
            where=where,
            audio=audio,
            name=audio.name if audio else where,
            offset_s=seconds_of(row, "offset", where) or 0.0,
            duration_s=seconds_of(row, "duration", where),
            reference=text_of(row, columns.target, where),
            text=text_of(row, columns.source, where),
            error=error,
        )


def _recording(value: object, folder: Path) -> tuple[Path | None, str]:
    """(file of a recording, "") or (None, why there is none); bytes of a table become a file of the cache."""
    if isinstance(value, str) and value:
        return Path(value), ""
    if not isinstance(value, Mapping):
        return None, f"the audio is {type(value).__name__}, neither a path nor the bytes of a file"
    data, path = value.get("bytes"), value.get("path")
    if isinstance(data, bytes) and data:
        return _kept(data, Path(path).suffix if isinstance(path, str) else "", folder), ""
    return (Path(path), "") if isinstance(path, str) and path else (None, "there is no audio")


def _kept(data: bytes, suffix: str, folder: Path) -> Path:
    ending = suffix if suffix[1:].isalnum() and len(suffix) <= _MAX_SUFFIX else ""
    path = folder / f"{hashlib.sha256(data).hexdigest()[:32]}{ending}"
    if not path.is_file() or path.stat().st_size != len(data):
        folder.mkdir(parents=True, exist_ok=True)
        begun = path.with_name(f"{path.name}.{os.getpid()}.part")
        begun.write_bytes(data)
        begun.replace(path)
    return path


def _item(index: int, row: Row, probe: Probe) -> tuple[Item, list[Problem]]:
    audio, header = row.audio or Path(), probe(row.audio) if row.audio else None
    error = row.error or (stretch_error(header, audio, row.offset_s, row.duration_s) if header else "")
    problems = [Problem(where=row.where, what=error, index=index)] if error else []
    if row.reference is not None and not row.reference.strip():
        problems.append(Problem(where=row.where, what="no reference text", fatal=False))
    item = Item(
        index=index,
        audio=audio,
        name=row.name,
        offset_s=row.offset_s,
        duration_s=row.duration_s,
        audio_s=header.within_s(row.offset_s, row.duration_s) if header else 0.0,
        reference=row.reference,
        text=row.text,
        where=row.where,
    )
    return item, problems
