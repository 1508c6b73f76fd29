"""Test sets: MuST-C folders (by segment or by talk), SimulEval's lists, JSON-lines manifests, those of one's own."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from simulst.eval.data.item import Dataset as Dataset
    from simulst.eval.data.item import Item as Item
    from simulst.eval.data.item import Problem as Problem
    from simulst.eval.data.kind import DatasetKind as DatasetKind
    from simulst.eval.data.kinds import open_dataset as open_dataset
    from simulst.eval.data.lists import read_lists as read_lists
    from simulst.eval.data.manifest import read_manifest as read_manifest
    from simulst.eval.data.mustc import read_mustc as read_mustc

_HOMES = {
    "Dataset": "item",
    "Item": "item",
    "Problem": "item",
    "DatasetKind": "kind",
    "open_dataset": "kinds",
    "read_lists": "lists",
    "read_manifest": "manifest",
    "read_mustc": "mustc",
}
__all__ = ["Dataset", "DatasetKind", "Item", "Problem", "open_dataset", "read_lists", "read_manifest", "read_mustc"]


def __getattr__(name: str) -> object:
    """Import the names on first use: scoring a log needs reference segments, but no audio."""
    if name in _HOMES:
        return vars(importlib.import_module(f"simulst.eval.data.{_HOMES[name]}"))[name]
    raise AttributeError(f"module 'simulst.eval.data' has no attribute {name!r}")
