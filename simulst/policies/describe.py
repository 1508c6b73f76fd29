"""What `simulst policies` says about a rule: parameters with units and published values, needs, presets, models."""

import dataclasses
from collections.abc import Iterable
from typing import Any

from simulst.core.policy import Policy
from simulst.core.translator import Evidence, ModelInfo, Translator
from simulst.policies.loading import load_policy, policy_class, preset_names, preset_path, read_preset


def describe_policies(
    names: Iterable[str] | None = None, *, model: Translator | ModelInfo | None = None
) -> list[dict[str, Any]]:
    """One JSON-ready description per policy (default: every registered one).

    With `model` each says in `runs` whether that model can run it and in `missing` what evidence it lacks.
    """
    from simulst.policies import POLICIES

    return [describe_policy(name, model=model) for name in (POLICIES if names is None else names)]


def describe_policy(name: str, *, model: Translator | ModelInfo | None = None) -> dict[str, Any]:
    """The description of a policy, preset or class of one's own; raises PolicyError where there is none."""
    from simulst.models import describe_models
    from simulst.policies import POLICIES

    loaded = load_policy(name)
    cls = type(loaded.policy)
    needs = loaded.policy.needs()
    described = {
        "name": name,
        "policy": next((key for key, target in POLICIES.items() if target == f"{cls.__module__}:{cls.__name__}"), name),
        "summary": (cls.__doc__ or "").strip().split("\n\n")[0].replace("\n    ", " "),
        "parameters": [_parameter(loaded.policy, one) for one in dataclasses.fields(cls)],  # type: ignore[arg-type]
        "chunk_ms": loaded.chunk_ms,
        "history": dataclasses.asdict(loaded.history),
        "requires": sorted(needs),
        "paper": cls.paper,
        "source": loaded.source,
        "presets": presets_of(cls),
        "models": [info.name for info in describe_models() if needs <= info.provides],
    }
    if model is None:
        return described
    missing: list[Evidence] = sorted(needs - model.provides)
    return {**described, "model": model.name, "runs": not missing, "missing": missing}


def presets_of(cls: type[Policy]) -> list[str]:
    """Names of the presets that configure a policy class."""
    paths = {name: preset_path(name) for name in preset_names()}
    return [name for name, path in paths.items() if path and policy_class(read_preset(path)["policy"]) is cls]


def _parameter(policy: Policy, one: "dataclasses.Field[Any]") -> dict[str, Any]:
    return {
        "name": one.name,
        "value": getattr(policy, one.name),
        "default": None if one.default is dataclasses.MISSING else one.default,
        "unit": one.metadata.get("unit", ""),
        "help": one.metadata.get("help", ""),
        "published": one.metadata.get("published", ""),
    }
