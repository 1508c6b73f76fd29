"""What is searched: policies with ranges of their parameters, from a TOML file such as eval/tune.toml."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from simulst.core.settings import read
from simulst.errors import DataError
from simulst.eval.run.recipe import read_toml

if TYPE_CHECKING:
    from optuna import Trial

Value = int | float | str | bool


@dataclass(frozen=True, kw_only=True)
class Span:
    """Numbers from `low` to `high`, both included; whole ones where both are."""

    low: int | float
    high: int | float
    log: bool = False
    """Whether small values are looked at as closely as large ones."""


Range = tuple[Value, ...] | Span


@dataclass(frozen=True, kw_only=True)
class Search:
    """One policy, with the values that its parameters may take."""

    policy: str
    ranges: Mapping[str, Range]
    """Parameters of the policy, `history.KEY` and `chunk_ms`."""
    options: Mapping[str, Value] = field(default_factory=dict)
    """Options of the model that go with it."""

    def suggest(self, trial: "Trial") -> dict[str, Value]:
        """Values for one trial; their names in the study begin with the policy's."""
        return {name: _suggested(trial, f"{self.policy}.{name}", found) for name, found in self.ranges.items()}


def read_space(path: Path, wanted: tuple[str, ...] = ()) -> list[Search]:
    """Searches of a file, or those of `wanted` policies in it; DataError for whatever it should not hold."""
    table = read_toml(path, str(path))
    if set(table) != {"search"} or not isinstance(found := table["search"], list) or not found:
        raise DataError(f"{path.name} must hold tables [[search]] and nothing else.")
    searches = [_search(one, f"{path.name}, [[search]] number {number}") for number, one in enumerate(found, 1)]
    names = [search.policy for search in searches]
    if twice := {name for name in names if names.count(name) > 1}:
        raise DataError(f"{path.name} searches {sorted(twice)[0]} twice; put its parameters into one [[search]].")
    if unknown := [name for name in wanted if name not in names]:
        raise DataError(f"{path.name} does not search {unknown[0]}; it searches {', '.join(names)}.")
    return [search for search in searches if not wanted or search.policy in wanted]


def _search(table: object, where: str) -> Search:
    if not isinstance(table, dict) or not isinstance(table.get("policy"), str):
        raise DataError(f"{where} must name a policy.")
    if unknown := sorted(set(table) - {"policy", "ranges", "options"}):
        raise DataError(f"{where}: unknown key {unknown[0]!r}; known: policy, ranges, options.")
    ranges, options = table.get("ranges", {}), table.get("options", {})
    if not isinstance(ranges, dict) or not isinstance(options, dict):
        raise DataError(f"{where}: `ranges` and `options` must be tables.")
    checked = {name: _range(found, f"{where}: {name}") for name, found in ranges.items()}
    return Search(policy=table["policy"], ranges=checked, options=options)


def _range(found: object, where: str) -> Range:
    if isinstance(found, list) and found and all(isinstance(value, int | float | str | bool) for value in found):
        return tuple(found)
    if not isinstance(found, dict):
        raise DataError(f"{where} must be a list of values, or a table with low and high.")
    span = read(Span, found, where, DataError)
    if span.low >= span.high or (span.log and span.low <= 0):
        raise DataError(f"{where}: low must be below high{', and above 0' if span.log else ''}.")
    return span


def _suggested(trial: "Trial", name: str, found: Range) -> Value:
    if isinstance(found, tuple):
        chosen = trial.suggest_categorical(name, found)
        assert chosen is not None  # no list of TOML holds it
        return chosen
    if isinstance(found.low, int) and isinstance(found.high, int):
        return trial.suggest_int(name, found.low, found.high, log=found.log)
    return trial.suggest_float(name, found.low, found.high, log=found.log)
