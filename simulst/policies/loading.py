"""From what a person names (a policy, a preset, a class of their own) to a policy with its chunk and history."""

import copyreg
import dataclasses
import importlib
import logging
import sys
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from pkgutil import resolve_name

from simulst.bundled import bundled_path
from simulst.core.history import HistoryConfig
from simulst.core.loaded import LoadedPolicy, as_loaded
from simulst.core.policy import AnyPolicy, Policy
from simulst.core.settings import read, setting, settings
from simulst.errors import PolicyError
from simulst.plugins import module_from_file
from simulst.policies.names import POLICIES

logger = logging.getLogger(__name__)

_MAX_PRESET_BYTES = 100_000
_MAX_NAME = 200

Restored = tuple[Callable[[str, dict[str, object]], AnyPolicy], tuple[str, dict[str, object]]]
"""What pickle makes a policy of again: a function and its arguments."""


@dataclass(frozen=True, kw_only=True)
class Preset:
    """The content of a preset file: a policy with values for its parameters."""

    name: str = ""
    policy: str = ""
    """A key of POLICIES or `file.py:Class`."""
    chunk_ms: int | None = setting(
        None, "audio per decision; none: the policy's own", unit="ms", at_least=1, at_most=600_000
    )
    source: str = ""
    """The published setting that this mirrors."""
    parameters: dict[str, object] = field(default_factory=dict)
    history: dict[str, object] = field(default_factory=dict)


def load_policy(spec: "str | Path | AnyPolicy | LoadedPolicy", **overrides: object) -> LoadedPolicy:
    """The policy that `spec` names, with parameters, `chunk_ms` or `history.KEY` overridden.

    `spec` is a name, a preset (name, or path that ends in .toml), `file.py:Class`, `package.Class`, or a policy object.
    Values given as text are read as TOML values. Raises PolicyError with the known names for whatever is unknown.
    """
    if isinstance(spec, LoadedPolicy | Policy):
        loaded = as_loaded(spec)
        return _changed(loaded, overrides) if overrides else loaded
    text = str(spec)
    path = Path(text) if text.endswith(".toml") else preset_path(text)
    preset = Preset(name=text, policy=text) if path is None else read_preset(path)
    return _build(policy_class(preset.policy), preset, overrides)


def _changed(loaded: LoadedPolicy, overrides: Mapping[str, object]) -> LoadedPolicy:
    preset = Preset(
        name=loaded.name,
        chunk_ms=loaded.chunk_ms,
        source=loaded.source,
        parameters=vars(loaded.policy),
        history=vars(loaded.history),
    )
    return _build(type(loaded.policy), preset, overrides)


def _build(cls: type[AnyPolicy], preset: Preset, overrides: Mapping[str, object]) -> LoadedPolicy:
    own = {k: v for k, v in overrides.items() if k != "chunk_ms" and not k.startswith("history.")}
    history = {k.removeprefix("history."): v for k, v in overrides.items() if k.startswith("history.")}
    table = {"method": cls.default_history, "segment_s": cls.default_segment_s, **preset.history, **history}
    where, chunk = preset.name, {"chunk_ms": overrides.get("chunk_ms", preset.chunk_ms)}
    chunk_ms = read(Preset, chunk, where, PolicyError).chunk_ms
    return LoadedPolicy(
        name=where,
        policy=read(cls, {**preset.parameters, **own}, where, PolicyError, kind="parameter"),
        chunk_ms=cls.default_chunk_ms if chunk_ms is None else chunk_ms,
        history=read(HistoryConfig, table, where, PolicyError, kind="history key", label="{where}: history.{key}"),
        source=preset.source,
    )


def policy_class(spec: str) -> type[AnyPolicy]:
    """The class behind a registered name, `file.py:Class` or `package.Class`."""
    if spec in POLICIES:
        found = resolve_name(POLICIES[spec])
    elif ".py:" in spec:
        path, _, name = spec.rpartition(":")
        found = vars(module_from_file(bundled_path(path), what="policy", error=PolicyError)).get(name)
        if isinstance(found, type):
            copyreg.pickle(found, _to_another_process)
    elif "." in spec and all(part.isidentifier() for part in spec.replace(":", ".").split(".")):
        module, _, name = spec.replace(":", ".").rpartition(".")
        try:
            found = vars(importlib.import_module(module)).get(name)
        except ImportError as error:
            raise PolicyError(f"The policy {spec} cannot be imported: {error}.") from error
    else:
        known = ", ".join([*POLICIES, *(name for name in preset_names() if name not in POLICIES)])
        raise PolicyError(f"Unknown policy {spec!r}; known: {known}, a .toml preset, file.py:Class or package.Class.")
    if not (isinstance(found, type) and issubclass(found, Policy)):
        raise PolicyError(f"{spec} is not a policy: it must name a subclass of simulst.core.policy.Policy.")
    if not dataclasses.is_dataclass(found):
        raise PolicyError(f"{spec} must be a frozen dataclass: its fields are its parameters.")
    return found


def _to_another_process(
    policy: AnyPolicy,
) -> Restored:
    """Pickles a policy from a file as that file and its values: there the module has no name yet."""
    kind = type(policy)
    values = {name: vars(policy)[name] for name in settings(kind)}
    return _from_file, (f"{Path(sys.modules[kind.__module__].__file__ or '').resolve()}:{kind.__qualname__}", values)


def _from_file(spec: str, values: dict[str, object]) -> AnyPolicy:
    return policy_class(spec)(**values)


def preset_folders() -> list[Path]:
    """Where presets are: the checkout's folder `policies`, and what an installed package carries."""
    package = Path(__file__).resolve().parent
    folders = [package.parent.parent / "policies", package / "presets"]
    found = [folder for folder in folders if folder.is_dir() and (folder / "stream_att.toml").is_file()]
    if not found:
        _warn_of_plain_policies(folders[0])
    return found


@cache
def _warn_of_plain_policies(missing: Path) -> None:
    """Once: a copy of the package alone has other scores under the same names."""
    logger.warning(
        "The presets that come with simulst are not in %s; policies are not set as their papers have them.", missing
    )


def preset_names() -> list[str]:
    return sorted({path.stem for folder in preset_folders() for path in folder.glob("*.toml")})


def preset_path(name: str) -> Path | None:
    if len(name) > _MAX_NAME or not name.replace("-", "").replace("_", "").replace(".", "").isalnum():
        return None
    return next((p for folder in preset_folders() if (p := folder / f"{name}.toml").is_file()), None)


def read_preset(path: Path) -> Preset:
    """The checked content of a preset file; the file of a policy of one's own is relative to the preset's folder."""
    try:
        if path.stat().st_size > _MAX_PRESET_BYTES:
            raise PolicyError(f"The preset {path} is larger than {_MAX_PRESET_BYTES} bytes.")
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise PolicyError(f"The preset {path} cannot be read: {str(error).rstrip('.')}.") from error
    preset = read(Preset, table, f"The preset {path}", PolicyError)
    file, own, kind = preset.policy.rpartition(".py:")
    if not own and preset.policy not in POLICIES:
        known = ", ".join(POLICIES)
        given = f", not {preset.policy!r}" if preset.policy else "; it names none"
        raise PolicyError(f"The preset {path} must name a policy, one of {known} or file.py:Class{given}.")
    policy = f"{path.parent / file}.py:{kind}" if own else preset.policy
    return replace(preset, name=preset.name or path.stem, policy=policy)
