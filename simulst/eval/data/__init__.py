"""Test sets: MuST-C folders (by segment or by talk), SimulEval's lists, JSON-lines manifests."""

from pathlib import Path

from simulst.errors import DataError
from simulst.eval.data.item import Dataset as Dataset
from simulst.eval.data.item import Item as Item
from simulst.eval.data.item import Problem as Problem
from simulst.eval.data.lists import read_lists as read_lists
from simulst.eval.data.manifest import read_manifest as read_manifest
from simulst.eval.data.mustc import is_mustc, read_mustc, split_folders

__all__ = ["Dataset", "Item", "Problem", "open_dataset", "read_lists", "read_manifest", "read_mustc"]


def open_dataset(path: str | Path, *, long: bool = False, lang: str = "") -> Dataset:
    """The test set in a folder or manifest, recognised by what is there; only headers of recordings are read.

    Raises DataError for what is no test set or contradicts itself; see `Dataset.problems` for single items.
    """
    place = Path(path)
    if not place.exists():
        raise DataError(f"{place} does not exist: give a MuST-C split, a folder with source.txt, or a .jsonl manifest.")
    if place.is_file():
        if place.suffix != ".jsonl":
            raise DataError(f"{place} is no test set: a manifest ends in .jsonl, a recipe in .toml.")
        return read_manifest(place, lang=lang)
    if is_mustc(place):
        return read_mustc(place, long=long, lang=lang)
    if (place / "source.txt").is_file():
        if long:
            raise DataError(f"{place} holds lists; --long needs a MuST-C split, or `segmentation` in a recipe.")
        target = place / "target.txt"
        return read_lists(place / "source.txt", target if target.is_file() else None, lang=lang)
    if splits := split_folders(place):
        listed = ", ".join(str(split) for split in splits[:6])
        raise DataError(f"{place} holds whole MuST-C splits; give one of them: {listed}.")
    raise DataError(
        f"{place} is no test set: it has neither wav/ and txt/SPLIT.yaml (MuST-C) nor source.txt (SimulEval)."
    )
