"""Which weights a name stands for: a short hash of a model's files, of `file.py:FAMILY` the hash of that file."""

import hashlib
from pathlib import Path

from simulst.errors import ModelError
from simulst.models.weighing import BESIDE_WEIGHTS

_KINDS = (".json", ".model", ".safetensors")
_WHOLE_BYTES, _PIECES = 1_000_000, 16
"""Larger files count with their size and so many pieces of 64 KB, which takes no time even for many gigabytes."""


def fingerprint(name_or_dir: str) -> str:
    """16 hexadecimal digits, the same wherever the files are; "" for what cannot be found."""
    from simulst.models.registry import CASCADE, locate

    try:
        place = locate(name_or_dir)
    except ModelError:  # loading it will say so
        return ""
    if place.entry == CASCADE:
        return "+".join(fingerprint(part) for part in name_or_dir.split("+", 1))
    return _of([place.file] if place.file is not None else _files(place.directory, _KINDS))


def fingerprint_of_weights(directory: Path) -> str:
    """The same of the weights alone, whatever describes them and whatever was made for them; "" without any."""
    if not directory.is_dir():
        return ""
    files = [path for path in _files(directory, (".safetensors",)) if path.name not in BESIDE_WEIGHTS]
    return _of(files) if files else ""


def _files(directory: Path, kinds: tuple[str, ...]) -> list[Path]:
    return [path for path in directory.iterdir() if path.suffix in kinds and path.is_file()]


def _of(files: list[Path]) -> str:
    found = hashlib.sha256()
    for path in sorted(files):
        found.update(f"{path.name}\0{path.stat().st_size}\0".encode())
        _read(path, found)
    return found.hexdigest()[:16]


def _read(path: Path, into: "hashlib._Hash") -> None:
    size = path.stat().st_size
    with path.open("rb") as file:
        if size <= _WHOLE_BYTES:
            into.update(file.read())
            return
        for piece in range(_PIECES):
            file.seek((size - 65_536) * piece // (_PIECES - 1))
            into.update(file.read(65_536))
