"""Settings: fields of a dataclass that say what they mean and accept, and the one reader that fills them.

A decision rule, a history selection, the options of a model, the tables of a recipe: each is a dataclass. `setting`
declares a field, `read` makes an instance of what a file, a command line or Python says, `check` judges an instance
that was made directly, and `describe` lists the fields.
"""

import dataclasses
import math
import tomllib
import types
import typing
from collections.abc import Callable, Mapping
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin
from weakref import WeakKeyDictionary

T = TypeVar("T")

_NAMES: dict[object, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    type(None): "none",
    Path: "a path",
    tuple: "a list",
    list: "a list",
    dict: "a table",
}
_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def setting(
    default: T,
    help: str,  # noqa: A002
    *,
    unit: str = "",
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
    choices: tuple[object, ...] = (),
    why: str = "",
    published: str = "",
) -> T:
    """A field of a dataclass: its default, what it means, its unit, its range, and the values that a paper has.

    A number is finite, `at_least` or `above` a bound, `at_most` or `below` another; `choices` are for what is not a
    Literal. `why` is the reason for the bounds, for the sentence that refuses a value.
    """
    limits = {"at_least": at_least, "above": above, "at_most": at_most, "below": below, "choices": choices, "why": why}
    return dataclasses.field(default=default, metadata={"help": help, "unit": unit, "published": published, **limits})


def settings(cls: type) -> dict[str, "dataclasses.Field[object]"]:
    """The fields that a dataclass can be made with, by name."""
    return {one.name: one for one in dataclasses.fields(cls) if one.init}


def describe(cls: type, values: object | None = None) -> list[dict[str, object]]:
    """One JSON-ready description of each field; `value` is that of the instance `values`, else the default."""
    found = []
    for name, one in settings(cls).items():
        default = None if one.default is dataclasses.MISSING else one.default
        value = default if values is None else vars(values)[name]
        words = {key: one.metadata.get(key, "") for key in ("unit", "help", "published")}
        found.append({"name": name, "value": value, "default": default, **words})
    return found


def read(
    cls: type[T],
    values: Mapping[str, object],
    where: str,
    error: type[Exception],
    *,
    kind: str = "",
    label: str = "{where}: {key}",
) -> T:
    """An instance of a dataclass, nested ones from tables; text is read as the type of its field, `none` as None.

    `where` is what messages name: a file, a policy, a model. `kind` is what its fields are called there (parameter,
    option; plain keys without it) and `label` how a message names a field. Raises `error`, one sentence, for an unknown
    name, a missing one, a value of the wrong type and one out of its range.
    """
    return _Reader(where, error, kind, label).table(cls, values)


def check(instance: object, where: str, error: type[Exception], *, label: str = "{where}: {key}") -> None:
    """Judge the values of an instance that was made directly as `read` judges them; text stays text.

    Call it from `__post_init__`.
    """
    reader = _Reader(where, error, label=label, text=False)
    hints = _hints(type(instance))
    for name, one in settings(type(instance)).items():
        reader.field(one, hints[name], vars(instance)[name])


def parse_value(text: str) -> object:
    """What `--set key=VALUE` means: a TOML value where it reads as one, else the text itself; `none` is None."""
    if text.lower() == "none":
        return None
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


class _Mismatch(Exception):
    """A value is not of the type that was asked for."""


@dataclasses.dataclass(frozen=True)
class _Reader:
    where: str
    error: type[Exception]
    kind: str = ""
    label: str = "{where}: {key}"
    text: bool = True
    """Numbers and the like may be given as text."""

    def table(self, cls: type[T], values: Mapping[str, object]) -> T:
        known, hints = settings(cls), _hints(cls)
        for key in values:
            if key not in known:
                raise self.error(self._unknown(key, list(known)))
        given = {key: self.field(known[key], hints[key], value) for key, value in values.items()}
        for name, one in known.items():
            if name not in given and one.default is one.default_factory is dataclasses.MISSING:
                raise self.error(f"{self._name(name)} is missing; it must be {_wanted(hints[name])}.")
        return cls(**given)

    def field(self, one: "dataclasses.Field[object]", hint: object, value: object) -> object:
        """The value of one field in its type and range."""
        value = self._item(hint, value, one.name)
        if value is not None and (wanted := _violated(one.metadata, value)):
            why = f" ({reason})" if (reason := one.metadata.get("why")) else ""
            raise self.error(f"{self._name(one.name)} is {value!r}; it must be {wanted}{why}.")
        return value

    def _converted(self, hint: object, value: object, key: str) -> object:
        origin = get_origin(hint)
        if origin in (Union, types.UnionType):
            return self._one_of(get_args(hint), value, key)
        if origin is Literal:
            return _literal(get_args(hint), value)
        if dataclasses.is_dataclass(hint) and isinstance(hint, type):
            return self._nested(hint, value, key)
        if isinstance(value, str) and self.text and hint in (bool, int, float):
            value = _BOOLEANS.get(value.lower(), value) if hint is bool else parse_value(value)
        if origin in (tuple, list, dict):
            return self._items(origin, get_args(hint), value, key)
        return _plain(hint, value)

    def _one_of(self, kinds: tuple[object, ...], value: object, key: str) -> object:
        """The first kind of a union that takes the value; a literal goes before, so that it may be called none."""
        literals = [one for one in kinds if get_origin(one) == Literal]
        rest = [one for one in kinds if one not in literals]
        for kind in (*literals, *rest):
            if kind in rest and type(None) in rest and self.text and isinstance(value, str) and value.lower() == "none":
                return None
            try:
                return self._converted(kind, value, key)
            except _Mismatch:
                continue
        raise _Mismatch

    def _nested(self, cls: type, value: object, key: str) -> object:
        if isinstance(value, cls):
            return value
        if not isinstance(value, Mapping):
            raise _Mismatch
        return dataclasses.replace(self, label=self.label.replace("{key}", f"{key}.{{key}}")).table(cls, value)

    def _items(self, origin: type, kinds: tuple[object, ...], value: object, key: str) -> object:
        """A table of values, or a list whose items are all of one type (others are left as they are)."""
        if origin is dict:
            if not isinstance(value, Mapping):
                raise _Mismatch
            return {name: self._item(kinds[1], one, f"{key}.{name}") for name, one in value.items()}
        if not isinstance(value, list | tuple):
            raise _Mismatch
        alike = origin is list or kinds[1:] == (Ellipsis,)
        return origin(self._item(kinds[0], one, f"{key}[{i}]") if alike else one for i, one in enumerate(value))

    def _item(self, hint: object, value: object, key: str) -> object:
        """The value of a field, or one inside it, in its type."""
        try:
            return self._converted(hint, value, key)
        except _Mismatch:
            raise self.error(self._refusal(key, hint, value)) from None

    def _refusal(self, key: str, hint: object, value: object) -> str:
        """The sentence for a value of the wrong type; a word among others is wrong, not of the wrong type."""
        chosen = any(get_origin(one) is Literal for one in (hint, *get_args(hint)))
        says = "is {}; it must be {}." if chosen and isinstance(value, str) else "must be {1}, not {0}."
        return f"{self._name(key)} {says.format(repr(value), _wanted(hint))}"

    def _name(self, key: str) -> str:
        return self.label.format(where=self.where, key=key)

    def _unknown(self, key: str, known: list[str]) -> str:
        names = ", ".join(known) or "none"
        if self.kind:
            return f"{self.where}: unknown {self.kind} {key!r}; known: {names}."
        full = self.label.removeprefix("{where}: ").format(where=self.where, key=key)
        return f"{self.where}: unknown key {full!r}; known: {names}."


def _literal(known: tuple[object, ...], value: object) -> object:
    if value in known:
        return value
    raise _Mismatch


def _plain(kind: object, value: object) -> object:
    """A value of a type without items; a number of any library counts, a whole one also as float."""
    if kind is Any or kind is object:
        return value
    if kind in (int, float):
        return _number(kind, value)
    if kind in (str, Path) and isinstance(value, str | Path):
        return kind(value)
    accepted = get_origin(kind) or kind
    if isinstance(accepted, type) and not isinstance(value, accepted):
        raise _Mismatch
    return value


def _number(kind: type[int] | type[float], value: object) -> int | float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise _Mismatch
    if kind is float:
        return float(value)
    if isinstance(value, Integral):
        return int(value)
    if not float(value).is_integer():
        raise _Mismatch
    return int(float(value))


def _violated(limits: Mapping[str, object], value: object) -> str:
    """What a value must be that lies outside its limits; "" where it lies inside."""
    choices = limits.get("choices")
    if isinstance(choices, tuple) and choices:
        return "" if value in choices else _either(choices)
    if not isinstance(value, int | float) or isinstance(value, bool):
        return ""
    kept = [math.isfinite(value)]
    bounds = ((holds, limits.get(name)) for name, holds in _HOLDS.items())
    kept += [holds(value, bound) for holds, bound in bounds if isinstance(bound, int | float)]
    return "" if all(kept) else (_bounds(limits) or "finite")


_HOLDS: dict[str, Callable[[float, float], bool]] = {
    "at_least": lambda value, bound: value >= bound,
    "above": lambda value, bound: value > bound,
    "at_most": lambda value, bound: value <= bound,
    "below": lambda value, bound: value < bound,
}


def _bounds(limits: Mapping[str, object]) -> str:
    given = {name: limits[name] for name in _HOLDS if limits.get(name) is not None}
    if set(given) == {"at_least", "at_most"}:
        return f"between {given['at_least']} and {given['at_most']}"
    return " and ".join(f"{name.replace('_', ' ')} {bound}" for name, bound in given.items())


def _either(names: tuple[object, ...]) -> str:
    *first, last = map(str, names)
    return f"{', '.join(first)} or {last}" if first else last


def _wanted(hint: object) -> str:
    """A type as a person says it: `a whole number or none`."""
    return _either(tuple(dict.fromkeys(_kinds(hint))))


def _kinds(hint: object) -> list[str]:
    if get_origin(hint) in (Union, types.UnionType):
        return [name for one in get_args(hint) for name in _kinds(one)]
    if get_origin(hint) is Literal:
        return [str(one) for one in get_args(hint)]
    return ["a table" if dataclasses.is_dataclass(hint) else _NAMES.get(get_origin(hint) or hint, str(hint))]


_HINTS: WeakKeyDictionary[type, Mapping[str, object]] = WeakKeyDictionary()


def _hints(cls: type) -> Mapping[str, object]:
    if cls not in _HINTS:
        _HINTS[cls] = typing.get_type_hints(cls)
    return _HINTS[cls]
