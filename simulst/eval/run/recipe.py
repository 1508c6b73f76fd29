"""Evaluation recipes: a TOML file that names a test set, and one or more runs over it, with sweeps over parameters."""

import itertools
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from simulst.core.glossary import read_glossary
from simulst.core.settings import read, setting, settings
from simulst.defaults import DEFAULT_BOOST, DEFAULT_MODEL, DEFAULT_POLICY
from simulst.errors import DataError, PolicyError
from simulst.eval.data import Dataset, open_dataset, read_lists
from simulst.eval.logs.units import Unit
from simulst.eval.run.spec import RunSpec
from simulst.eval.score.scoring import Options
from simulst.policies import load_policy

_TABLES = ("options", "parameters", "history", "sweep")
_SCORE_KEYS = tuple(name for name in settings(Options) if name != "unit")
_MAX_BYTES = 1_000_000
_MAX_RUNS = 10_000


@dataclass(frozen=True, kw_only=True)
class RunKeys:
    """The plain keys of a run."""

    name: str = ""
    model: str = DEFAULT_MODEL
    policy: str = DEFAULT_POLICY
    chunk_ms: int | None = None
    device: str = "cpu"
    dtype: str | None = None
    seed: int = 0
    unit: Unit = "word"
    final_only: bool = False
    glossary: str = ""
    """File of terms that are favoured."""
    glossary_boost: float = setting(DEFAULT_BOOST, "what is added to the logits of their tokens", at_least=0)


_RUN_KEYS = tuple(settings(RunKeys))


@dataclass(frozen=True, kw_only=True)
class DataKeys:
    """The table [data]: a test set, or two lists."""

    path: str = ""
    source: str = ""
    target: str = ""
    segmentation: str = ""
    references: str = ""
    long: bool = False
    lang: str = ""
    kind: str = ""
    """The kind of test set at `path`: a name, or `file.py:Class`."""
    limit: int | None = setting(None, "items at the beginning that are taken; none: all", at_least=1)


@dataclass(frozen=True, kw_only=True)
class Plan(RunKeys):
    """One run before its policy is loaded; the command line may override any of it."""

    options: dict[str, Any] = field(default_factory=dict)
    parameters: dict[str, object] = field(default_factory=dict)
    """Parameters of the policy, and `history.KEY`."""
    where: str = ""
    """Recipe, and run in it, for messages."""

    def spec(self) -> RunSpec:
        """With the policy loaded; PolicyError for what it does not know."""
        overrides = dict(self.parameters)
        if self.chunk_ms is not None:
            overrides["chunk_ms"] = self.chunk_ms
        try:
            policy = load_policy(self.policy, **overrides)
        except PolicyError as error:
            raise PolicyError(f"{self.where}: {error}" if self.where else str(error)) from None
        return RunSpec(
            name=self.name,
            model=self.model,
            options=self.options,
            policy=policy,
            device=self.device,
            dtype=self.dtype,
            seed=self.seed,
            unit=self.unit,
            final_only=self.final_only,
            glossary=read_glossary(Path(self.glossary), boost=self.glossary_boost) if self.glossary else None,
        )


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What `simulst evaluate` does: runs over one test set."""

    dataset: Dataset
    plans: tuple[Plan, ...]
    scoring: dict[str, object] = field(default_factory=dict)


def read_recipe(path: Path, dataset: Dataset | None = None) -> Recipe:
    """Read and check a recipe; DataError, naming the file and the key, for whatever it should not hold.

    `dataset` is used instead of the recipe's own, which then need not be there.
    """
    table = read_toml(path, f"The recipe {path}")
    name = path.name
    _known(table, (*_RUN_KEYS, *_TABLES, "data", "score", "runs"), name, "")
    scoring = _table(table, "score", name)
    _known(scoring, _SCORE_KEYS, name, "score")
    runs = table.get("runs", [{}])
    if not isinstance(runs, list) or not runs or not all(isinstance(run, dict) for run in runs):
        raise DataError(f"{name}: `runs` must be tables, each opened with [[runs]].")
    common = {key: value for key, value in table.items() if key in (*_RUN_KEYS, *_TABLES)}
    plans: list[Plan] = []
    for number, run in enumerate(runs, 1):
        where = f"{name}, [[runs]] number {number}" if "runs" in table else name
        _known(run, (*_RUN_KEYS, *_TABLES), where, "")
        plans += _swept(_merged(common, run), where)
    if len(plans) > _MAX_RUNS:
        raise DataError(f"{name}: the sweep has {len(plans)} runs; at most {_MAX_RUNS} are allowed.")
    dataset = dataset or _dataset(_table(table, "data", name), path)
    return Recipe(dataset=dataset, plans=named(plans), scoring=scoring)


def read_toml(path: Path, called: str) -> dict[str, object]:
    """A TOML file of a user; DataError, in which it is `called` so, for one that cannot be read."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise DataError(f"{called} is larger than {_MAX_BYTES} bytes.")
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{called} cannot be read: {(error.strerror or str(error)).lower()}.") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DataError(f"{called} is not TOML: {error}.") from None


def _table(owner: Mapping[str, object], key: str, name: str) -> dict[str, object]:
    value = owner.get(key, {})
    if not isinstance(value, dict):
        raise DataError(f"{name}: `{key}` must be a table, opened with [{key}].")
    return dict(value)


def _known(table: Mapping[str, object], known: Sequence[str], name: str, section: str) -> None:
    if unknown := sorted(set(table) - set(known)):
        place = f" in [{section}]" if section else ""
        raise DataError(f"{name}: unknown key {unknown[0]!r}{place}; known: {', '.join(known)}.")


def _merged(common: Mapping[str, object], run: Mapping[str, object]) -> dict[str, object]:
    """The keys of a run over those at the top; parameters at the top hold only for the policy at the top."""
    own_policy = run.get("policy", common.get("policy")) != common.get("policy")
    merged = {**common, **run}
    for key in _TABLES:
        inherited = {} if own_policy and key in ("parameters", "sweep") else common.get(key, {})
        own = run.get(key, {})
        if isinstance(inherited, dict) and isinstance(own, dict):
            merged[key] = {**inherited, **own}
        else:  # refused where it is read
            merged[key] = own if isinstance(inherited, dict) else inherited
    return merged


def _swept(run: dict[str, object], where: str) -> list[Plan]:
    """One plan, or one per combination of the values in [sweep]."""
    sweep = dict[str, list[object]]()
    for key, values in _table(run, "sweep", where).items():
        if not isinstance(values, list) or not values:
            raise DataError(f"{where}: [sweep] {key} must be a list of values, but is {values!r}.")
        sweep[key] = values
    plans = []
    for combination in itertools.product(*sweep.values()):
        chosen = dict(zip(sweep, combination, strict=True))
        label = ",".join(f"{key}={value}" for key, value in chosen.items() if key not in ("policy", "model"))
        plans.append(_plan({**run, "sweep": {}}, chosen, label, where))
    return plans


def _plan(run: dict[str, object], chosen: dict[str, object], label: str, where: str) -> Plan:
    history = {f"history.{key}": value for key, value in _table(run, "history", where).items()}
    parameters = {**_table(run, "parameters", where), **history}
    options = _table(run, "options", where)
    plain = {key: run[key] for key in _RUN_KEYS if key in run}
    for key, value in chosen.items():
        if key in _RUN_KEYS:
            plain[key] = value
        elif key.startswith("options."):
            options[key.removeprefix("options.")] = value
        else:
            parameters[key] = value
    keys = read(RunKeys, plain, where, DataError)
    base = keys.name or keys.policy
    name = re.sub(r"[^\w.,=+-]+", "-", f"{base}-{label}" if label else base)
    return Plan(**{**vars(keys), "name": name}, options=options, parameters=parameters, where=where)


def named(plans: Sequence[Plan]) -> tuple[Plan, ...]:
    """With names that differ, as they become folders."""
    seen: dict[str, int] = {}
    distinct = []
    for plan in plans:
        seen[plan.name] = seen.get(plan.name, 0) + 1
        distinct.append(plan if seen[plan.name] == 1 else replace(plan, name=f"{plan.name}-{seen[plan.name]}"))
    return tuple(distinct)


def _dataset(table: dict[str, object], recipe: Path) -> Dataset:
    data = read(DataKeys, table, recipe.name, DataError, label="{where}: data.{key}")
    if bool(data.path) == bool(data.source):
        raise DataError(f"{recipe.name}: [data] needs either `path`, a test set, or `source` and `target`, two lists.")
    if data.path:
        file, colon, name = data.kind.rpartition(":")
        kind = f"{_find(file, recipe)}:{name}" if colon else data.kind
        dataset = open_dataset(_find(data.path, recipe), long=data.long, lang=data.lang, kind=kind)
    elif data.kind:
        raise DataError(f"{recipe.name}: `kind` in [data] goes with `path`, not with `source`.")
    else:
        dataset = read_lists(
            _find(data.source, recipe),
            _find(data.target, recipe) if data.target else None,
            segmentation=_find(data.segmentation, recipe) if data.segmentation else None,
            references=_find(data.references, recipe) if data.references else None,
            lang=data.lang,
        )
    return dataset.first(data.limit)


def _find(name: str, recipe: Path) -> Path:
    """Relative to the recipe's folder, or else to the current one."""
    path = Path(name).expanduser()
    beside = recipe.parent / path
    return beside if beside.exists() else path
