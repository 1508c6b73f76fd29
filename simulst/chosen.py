"""A model and a policy with what `--set key=value` says: a parameter, a key of the history, an option of the model."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from simulst.core.history import HistoryConfig
from simulst.core.settings import settings
from simulst.core.translator import DECODING
from simulst.defaults import DEFAULT_MODEL, MODEL_FOR_PEOPLE
from simulst.errors import SimulstError
from simulst.policies import LoadedPolicy, load_policy


@dataclass(frozen=True, kw_only=True)
class Settings:
    policy: dict[str, str] = field(default_factory=dict)
    """Parameters, `chunk_ms` and `history.KEY`, as `load_policy` takes them."""
    model: dict[str, str] = field(default_factory=dict)
    """Options, as `load_model` takes them."""


def read_settings(pairs: Sequence[str], *, policy: str, model: str) -> Settings:
    """Sort `key=value` pairs by owner. Raises SimulstError, with the known keys, for an unknown one.

    A key that policy and model share goes to the policy; `policy.KEY` and `model.KEY` say it outright. Options that a
    model must have for the policy to run (group positions) are added.
    """
    from simulst.models import option_names, options_for

    rule = load_policy(policy).policy
    parameters = list(settings(type(rule)))
    history = [f"history.{name}" for name in settings(HistoryConfig)]
    options = sorted(option_names(model)) if pairs else []
    chosen = Settings()
    for pair in pairs:
        key, separator, value = pair.partition("=")
        if not separator or not key:
            raise SimulstError(f"--set takes KEY=VALUE, not {pair!r}.")
        owner, _, short = key.partition(".")
        if key == "history":
            chosen.policy["history.method"] = value
        elif key in parameters or key in history or key == "chunk_ms":
            chosen.policy[key] = value
        elif owner == "policy" and short in parameters:
            chosen.policy[short] = value
        elif key in options:
            chosen.model[key] = value
        elif owner == "model" and short in options:
            chosen.model[short] = value
        else:
            raise SimulstError(
                f"Unknown setting {key!r}; known for policy {policy}: {_listed(parameters)}; "
                f"for model {model}: {_listed(options)}; for the history: {_listed(history)}."
            )
    for key, value in options_for(model, rule.needs()).items():
        chosen.model.setdefault(key, value)
    return chosen


def usual_model(policies: Sequence[str], pairs: Sequence[str] = ()) -> str:
    """The model where none is named: the one that understands people, unless a policy or a setting needs the other.

    Raises PolicyError for an unknown policy.
    """
    return MODEL_FOR_PEOPLE if all(_fits_people(one, pairs) for one in policies) else DEFAULT_MODEL


def _fits_people(policy: str, pairs: Sequence[str]) -> bool:
    needs = load_policy(policy).policy.needs()
    if not needs <= DECODING:
        from simulst.models.registry import can_provide

        if not needs <= can_provide(MODEL_FOR_PEOPLE):
            return False
    try:
        read_settings(pairs, policy=policy, model=MODEL_FOR_PEOPLE)
    except SimulstError:
        return False
    return True


def load_policy_with(policy: str, chosen: Settings, chunk_ms: int | None = None) -> LoadedPolicy:
    """The policy with its settings and the `--chunk-ms` of the command line."""
    overrides: dict[str, str | int] = dict(chosen.policy)
    if chunk_ms is not None:
        overrides["chunk_ms"] = chunk_ms
    return load_policy(policy, **overrides)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "no settings"
