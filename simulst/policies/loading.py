"""From what a person names (a policy, a preset, a class of their own) to a policy with its chunk and history."""

import copyreg
import dataclasses
import importlib
import sys
import tomllib
import types
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from simulst.bundled import bundled_path
from simulst.core.history import HistoryConfig
from simulst.core.policy import Policy
from simulst.core.translator import Evidence, Translator
from simulst.errors import PolicyError
from simulst.plugins import module_from_file

T = TypeVar("T")

PRESET_KEYS = ("name", "policy", "chunk_ms", "source", "parameters", "history")
_MAX_PRESET_BYTES = 100_000
_MAX_NAME = 200


@dataclass(frozen=True, kw_only=True)
class LoadedPolicy:
    """A policy with everything a Session needs besides the model."""

    name: str
    policy: Policy
    chunk_ms: int = 640
    history: HistoryConfig = field(default_factory=HistoryConfig)
    source: str = ""
    """The published setting that this mirrors."""


def load_policy(spec: "str | Path | Policy | LoadedPolicy", **overrides: Any) -> LoadedPolicy:
    """The policy that `spec` names, with parameters, `chunk_ms` or `history.KEY` overridden.

    `spec` is a name, a preset (name, or path that ends in .toml), `file.py:Class`, `package.Class`, or a policy object.
    Values given as text are read as TOML values. Raises PolicyError with the known names for whatever is unknown.
    """
    if isinstance(spec, LoadedPolicy):
        if not overrides:
            return spec
        current = dataclasses.asdict(spec.history)
        return _build(
            type(spec.policy), spec.name, spec.source, spec.chunk_ms, dict(vars(spec.policy)), current, overrides
        )
    if isinstance(spec, Policy):
        loaded = LoadedPolicy(
            name=type(spec).__name__,
            policy=spec,
            chunk_ms=spec.default_chunk_ms,
            history=HistoryConfig(method=spec.default_history, segment_s=spec.default_segment_s),
        )
        return load_policy(loaded, **overrides)
    text = str(spec)
    path = Path(text) if text.endswith(".toml") else preset_path(text)
    if path is not None:
        return _from_preset(path, overrides)
    return _build(policy_class(text), text, "", None, {}, {}, overrides)


def check_fits(loaded: LoadedPolicy, model: Translator) -> None:
    """Raise PolicyError unless the model provides the evidence that the policy needs."""
    missing = loaded.policy.needs() - model.provides
    if not missing:
        return
    unlocks: dict[Evidence, str] = getattr(model, "unlocks", {})
    if missing <= set(unlocks):
        options = ", ".join(sorted(unlocks[one] for one in missing))
        raise PolicyError(
            f"Policy {loaded.name} needs {', '.join(sorted(missing))}, which model {model.name} does not provide as it "
            f"was loaded; load it with {options}."
        )
    from simulst.models import describe_models

    having = sorted(info.name for info in describe_models() if missing <= info.provides)
    advice = f"models that do: {', '.join(having)}" if having else "no known model does"
    raise PolicyError(
        f"Policy {loaded.name} needs {', '.join(sorted(missing))}, which model {model.name} does not provide; {advice}."
    )


def policy_class(spec: str) -> type[Policy]:
    """The class behind a registered name, `file.py:Class` or `package.Class`."""
    from simulst.policies import POLICIES

    if spec in POLICIES:
        module, _, name = POLICIES[spec].partition(":")
        found = getattr(importlib.import_module(module), name)
    elif ".py:" in spec:
        path, _, name = spec.rpartition(":")
        found = vars(module_from_file(bundled_path(path), what="policy", error=PolicyError)).get(name)
        if isinstance(found, type):
            copyreg.pickle(found, _to_another_process)
    elif "." in spec and all(part.isidentifier() for part in spec.replace(":", ".").split(".")):
        module, _, name = spec.replace(":", ".").rpartition(".")
        try:
            found = getattr(importlib.import_module(module), name, None)
        except ImportError as error:
            raise PolicyError(f"The policy {spec} cannot be imported: {error}.") from error
    else:
        known = ", ".join([*POLICIES, *(name for name in preset_names() if name not in POLICIES)])
        raise PolicyError(
            f"Unknown policy {spec!r}; known are {known}, a .toml preset, file.py:Class or package.Class."
        )
    if not (isinstance(found, type) and issubclass(found, Policy)):
        raise PolicyError(f"{spec} is no policy: it must name a subclass of simulst.core.policy.Policy.")
    if not dataclasses.is_dataclass(found):
        raise PolicyError(f"{spec} must be a frozen dataclass: its fields are its parameters.")
    return found


def _to_another_process(policy: Policy) -> tuple[Any, ...]:
    """Pickles a policy from a file as that file and its values: there the module has no name yet."""
    kind: Any = type(policy)
    values = {item.name: getattr(policy, item.name) for item in dataclasses.fields(kind) if item.init}
    return _from_file, (f"{Path(sys.modules[kind.__module__].__file__ or '').resolve()}:{kind.__qualname__}", values)


def _from_file(spec: str, values: dict[str, Any]) -> Policy:
    return policy_class(spec)(**values)


def preset_folders() -> list[Path]:
    """Where presets are: the checkout's folder `policies`, and what an installed package carries."""
    package = Path(__file__).resolve().parent
    folders = [package.parent.parent / "policies", package / "presets"]
    return [folder for folder in folders if folder.is_dir() and (folder / "stream_att.toml").is_file()]


def preset_names() -> list[str]:
    return sorted({path.stem for folder in preset_folders() for path in folder.glob("*.toml")})


def preset_path(name: str) -> Path | None:
    if len(name) > _MAX_NAME or not name.replace("-", "").replace("_", "").replace(".", "").isalnum():
        return None
    return next((p for folder in preset_folders() if (p := folder / f"{name}.toml").is_file()), None)


def read_preset(path: Path) -> dict[str, Any]:
    """The checked content of a preset file."""
    from simulst.policies import POLICIES

    try:
        if path.stat().st_size > _MAX_PRESET_BYTES:
            raise PolicyError(f"The preset {path} is larger than {_MAX_PRESET_BYTES} bytes.")
        preset = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise PolicyError(f"The preset {path} cannot be read: {str(error).rstrip('.')}.") from error
    unknown = sorted(set(preset) - set(PRESET_KEYS))
    if unknown:
        raise PolicyError(f"The preset {path} has unknown keys {', '.join(unknown)}; known: {', '.join(PRESET_KEYS)}.")
    if preset.get("policy") not in POLICIES:
        raise PolicyError(
            f"The preset {path} must name a policy, one of {', '.join(POLICIES)}, not {preset.get('policy')!r}."
        )
    for key in ("parameters", "history"):
        if not isinstance(preset.get(key, {}), dict):
            raise PolicyError(f"The preset {path} has a value at {key} where a table [{key}] must stand.")
    return preset


def _from_preset(path: Path, overrides: Mapping[str, Any]) -> LoadedPolicy:
    preset = read_preset(path)
    return _build(
        policy_class(preset["policy"]),
        str(preset.get("name", path.stem)),
        str(preset.get("source", "")),
        preset.get("chunk_ms"),
        preset.get("parameters", {}),
        preset.get("history", {}),
        overrides,
    )


def _build(
    cls: type[Policy],
    name: str,
    source: str,
    chunk_ms: Any,
    parameters: Mapping[str, Any],
    history: Mapping[str, Any],
    overrides: Mapping[str, Any],
) -> LoadedPolicy:
    own = {k: v for k, v in overrides.items() if k != "chunk_ms" and not k.startswith("history.")}
    table = {**history, **{k.removeprefix("history."): v for k, v in overrides.items() if k.startswith("history.")}}
    table.setdefault("method", cls.default_history)
    table.setdefault("segment_s", cls.default_segment_s)
    chunk = overrides.get("chunk_ms", chunk_ms)
    chunk = cls.default_chunk_ms if chunk is None else _typed(f"{name}: chunk_ms", int, chunk)
    if not 1 <= chunk <= 600_000:
        raise PolicyError(f"{name}: chunk_ms is {chunk}; it must be between 1 and 600000")
    return LoadedPolicy(
        name=name,
        policy=_construct(cls, name, "parameter", {**parameters, **own}),
        chunk_ms=chunk,
        history=_construct(HistoryConfig, name, "history key", table),
        source=source,
    )


def _construct(cls: type[T], name: str, what: str, values: Mapping[str, Any]) -> T:
    hints = get_type_hints(cls)
    known = [f.name for f in dataclasses.fields(cls) if f.init]  # type: ignore[arg-type]
    for key in values:
        if key not in known:
            listed = ", ".join(known) or "none"
            raise PolicyError(f"{name} has no {what} {key!r}; known: {listed}.")
    return cls(**{key: _typed(f"{name}: {key}", hints[key], value) for key, value in values.items()})


def parse_value(text: str) -> Any:
    """What `--set key=VALUE` means: a TOML value where it reads as one, else the text itself; `none` is None."""
    if text.lower() == "none":
        return None
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _typed(what: str, hint: Any, value: Any) -> Any:
    """The value as the type that a field declares, text from the command line read first; PolicyError if it is none."""
    accepted = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    if any(get_origin(kind) is Literal and value in get_args(kind) for kind in accepted):
        return value
    if isinstance(value, str) and str not in accepted:
        value = parse_value(value)
    for kind in accepted:
        if get_origin(kind) is Literal:
            continue
        if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        elif isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
            return value
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text", type(None): "none"}
    wanted = " or ".join(
        ", ".join(map(str, get_args(kind))) if get_origin(kind) is Literal else names.get(kind, str(kind))
        for kind in accepted
    )
    raise PolicyError(f"{what} must be {wanted}, not {value!r}.")
