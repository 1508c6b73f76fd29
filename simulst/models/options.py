"""Options of a model: settings that a command line, a file or Python may give."""

from collections.abc import Mapping
from typing import TypeVar

from simulst.core.settings import check, describe, read
from simulst.core.settings import setting as option
from simulst.errors import ModelError

__all__ = ["check_options", "describe_options", "option", "parse_options"]

T = TypeVar("T")


def describe_options(kind: type) -> dict[str, str]:
    """Name of every option of a dataclass and what it means, default included."""
    return {str(one["name"]): f"{one['help']} (default: {_shown(one['default'])})" for one in describe(kind)}


def parse_options(kind: type[T], given: Mapping[str, object], *, owner: str) -> T:
    """An instance of the dataclass `kind`; text is read as the field's type, "none" as None.

    Raises ModelError for a name that the dataclass does not have and for a value of the wrong type.
    """
    return read(kind, given, owner, ModelError, kind="option", label="Option '{key}' of {where}")


def check_options(options: object) -> None:
    """Judge options that were made directly as `parse_options` judges them, from `__post_init__`; ModelError."""
    check(options, "", ModelError, label="Option '{key}'")


def _shown(value: object) -> str:
    return "none" if value is None else str(value)
