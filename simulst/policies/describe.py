"""What `simulst policies` says about a rule: parameters with units and published values, needs, presets, models."""

from collections.abc import Iterable, Sequence
from typing import Any

from simulst.core.history import HistoryConfig
from simulst.core.policy import AnyPolicy
from simulst.core.settings import describe
from simulst.core.translator import Evidence, ModelInfo, Translator
from simulst.policies.loading import load_policy, policy_class, preset_names, preset_path, read_preset
from simulst.policies.names import POLICIES


def describe_policies(
    names: Iterable[str] | None = None,
    *,
    models: Sequence[ModelInfo] = (),
    model: Translator | ModelInfo | None = None,
) -> list[dict[str, Any]]:
    """One JSON-ready description per policy (default: every registered one).

    Each says in `models` which of `models` can run it. With `model` it says in `runs` whether that model can, and in
    `missing` what evidence that lacks.
    """
    return [describe_policy(name, models=models, model=model) for name in (POLICIES if names is None else names)]


def describe_policy(
    name: str, *, models: Sequence[ModelInfo] = (), model: Translator | ModelInfo | None = None
) -> dict[str, Any]:
    """The description of a policy, preset or class of one's own; raises PolicyError where there is none."""
    loaded = load_policy(name)
    cls = type(loaded.policy)
    needs = loaded.policy.needs()
    described = {
        "name": name,
        "policy": next((key for key, target in POLICIES.items() if target == f"{cls.__module__}:{cls.__name__}"), name),
        "summary": (cls.__doc__ or "").strip().split("\n\n")[0].replace("\n    ", " "),
        "parameters": describe(cls, loaded.policy),
        "chunk_ms": loaded.chunk_ms,
        "history": vars(loaded.history),
        "history_keys": [{**one, "name": f"history.{one['name']}"} for one in describe(HistoryConfig, loaded.history)],
        "requires": sorted(needs),
        "paper": cls.paper,
        "source": loaded.source,
        "presets": presets_of(cls),
        "models": [info.name for info in models if needs <= info.provides],
    }
    if model is None:
        return described
    missing: list[Evidence] = sorted(needs - model.provides)
    return {**described, "model": model.name, "runs": not missing, "missing": missing}


def presets_of(cls: type[AnyPolicy]) -> list[str]:
    """Names of the presets that configure a policy class."""
    paths = {name: preset_path(name) for name in preset_names()}
    return [name for name, path in paths.items() if path and policy_class(read_preset(path).policy) is cls]
