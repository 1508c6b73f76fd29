"""Kinds of test sets by name, and the way from a path to a test set. A kind is one file and one line in DATASETS."""

import importlib
from pathlib import Path

from simulst.bundled import bundled_path
from simulst.errors import DataError
from simulst.eval.data.item import Dataset
from simulst.eval.data.kind import DatasetKind
from simulst.plugins import brief, module_from_file

DATASETS: dict[str, str] = {
    "mustc": "simulst.eval.data.mustc:MustC",
    "lists": "simulst.eval.data.lists:Lists",
    "hub": "simulst.eval.data.hub_folder:HubFolder",
    "lhotse": "simulst.eval.data.lhotse_cuts:LhotseCuts",
    "manifest": "simulst.eval.data.manifest:Manifest",
}
"""Names to `module:Class`, in the order in which they are tried."""


def open_dataset(path: str | Path, *, long: bool = False, lang: str = "", kind: str = "") -> Dataset:
    """The test set in a folder or file, of a kind of DATASETS, `file.py:Class`, or recognised by what is there.

    Only headers of recordings are read. Raises DataError for what is not a test set or contradicts itself; see
    `Dataset.problems` for single items.
    """
    place = Path(path)
    own = dataset_kind(kind) if kind else None
    if not place.exists():
        known = [own.what] if own and own.what else [one.what for one in _kinds()]
        raise DataError(f"{place} does not exist: give {', or '.join(_joined(known))}.")
    if ".py:" in kind and own:
        return _read_own(own, kind, place, long=long, lang=lang)
    return (own or _recognised(place)).read(place, long=long, lang=lang)


def dataset_kind(spec: str) -> DatasetKind:
    """A name of DATASETS or `file.py:Class`; DataError with the known names for anything else."""
    path, _, name = spec.rpartition(":")
    if path.endswith(".py"):
        found = vars(module_from_file(bundled_path(path), what="dataset", error=DataError)).get(name)
    elif spec in DATASETS:
        module, _, name = DATASETS[spec].partition(":")
        found = vars(importlib.import_module(module)).get(name)
    else:
        raise DataError(f"Unknown kind of test set {spec!r}; known: {', '.join(DATASETS)}, or file.py:Class.")
    if not (isinstance(found, type) and issubclass(found, DatasetKind)):
        raise DataError(f"{spec} is not a kind of test set: {name} must extend simulst.eval.data.DatasetKind.")
    try:
        return found()
    except TypeError as problem:  # what is abstract is missing, or it wants arguments
        raise DataError(f"{spec} cannot be used: {brief(problem)}") from problem


def _kinds() -> list[DatasetKind]:
    return [dataset_kind(name) for name in DATASETS]


def _recognised(place: Path) -> DatasetKind:
    kinds = _kinds()
    found = next((kind for kind in kinds if kind.matches(place)), None)
    if found is not None:
        return found
    if hint := next((hint for kind in kinds if (hint := kind.hint(place))), ""):
        raise DataError(hint)
    signs = " nor ".join(_joined([kind.signs for kind in kinds if kind.signs]))
    raise DataError(f"{place} is not a test set: it has neither {signs}.")


def _joined(texts: list[str]) -> list[str]:
    """The last one apart from the others."""
    return [", ".join(texts[:-1]), texts[-1]] if len(texts) > 1 else texts


def _read_own(kind: DatasetKind, spec: str, place: Path, *, long: bool, lang: str) -> Dataset:
    """What fails in it becomes one sentence."""
    try:
        found: object = kind.read(place, long=long, lang=lang)
    except DataError:
        raise
    except Exception as problem:
        raise DataError(f"The kind of test set {spec} fails on {place}: {brief(problem)}") from problem
    if not isinstance(found, Dataset):
        raise DataError(f"The kind of test set {spec} gives {type(found).__name__}, not a simulst.eval.data.Dataset.")
    if not found.items:
        raise DataError(f"The kind of test set {spec} finds no items in {place}.")
    if [item.index for item in found.items] != list(range(len(found.items))):
        raise DataError(f"The kind of test set {spec} must number its items 0, 1, 2 and so on, in `index`.")
    return found
