"""Options of a model from a command line, a file or Python: checked against a dataclass, unknown names refused."""

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from simulst.errors import ModelError

T = TypeVar("T")


def option(default: Any, doc: str) -> Any:
    """A dataclass field with the sentence that `simulst models` prints for it."""
    return dataclasses.field(default=default, metadata={"doc": doc})


def describe_options(kind: type) -> dict[str, str]:
    """Name of every option of a dataclass and what it means, default included."""
    return {
        one.name: f"{one.metadata.get('doc', '')} (default: {_shown(one.default)})" for one in dataclasses.fields(kind)
    }


def parse_options(kind: type[T], given: Mapping[str, Any], *, owner: str) -> T:
    """An instance of the dataclass `kind`; text is read as the field's type, "none" as None.

    Raises ModelError for a name that the dataclass does not have and for a value of the wrong type.
    """
    hints = typing.get_type_hints(kind)
    names = [one.name for one in dataclasses.fields(kind)]  # type: ignore[arg-type]
    for name in given:
        if name not in names:
            raise ModelError(f"{owner} has no option '{name}'; it has: {', '.join(names)}.")
    return kind(**{name: _read(hints[name], value, f"Option '{name}' of {owner}") for name, value in given.items()})


def _shown(value: Any) -> str:
    return "none" if value is None else str(value)


def _read(hint: Any, value: Any, what: str) -> Any:
    origin = typing.get_origin(hint)
    if origin is Literal:
        choices = typing.get_args(hint)
        if value not in choices:
            raise ModelError(f"{what} must be one of {', '.join(map(str, choices))}, not {value!r}.")
        return value
    if origin in (typing.Union, types.UnionType):
        if value is None or (isinstance(value, str) and value.lower() == "none"):
            return None
        return _read(next(one for one in typing.get_args(hint) if one is not type(None)), value, what)
    return _plain(hint, value, what)


def _plain(hint: Any, value: Any, what: str) -> Any:
    if hint is bool:
        known = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
        if isinstance(value, bool):
            return value
        if str(value).lower() in known:
            return known[str(value).lower()]
        raise ModelError(f"{what} must be true or false, not {value!r}.")
    if hint in (int, float):
        try:
            number = hint(value) if not isinstance(value, bool) else None
        except (TypeError, ValueError, OverflowError):
            number = None
        if number is None or number != number or (hint is int and isinstance(value, float) and number != value):
            raise ModelError(f"{what} must be {'a whole number' if hint is int else 'a number'}, not {value!r}.")
        return number
    if hint is str and not isinstance(value, str):
        return str(value)
    return value
