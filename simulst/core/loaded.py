"""A policy with all that a session needs besides the model, and whether a model can run it."""

from dataclasses import dataclass, field
from math import isfinite
from numbers import Real

from simulst.core.favoured import Favouring, Spelling
from simulst.core.glossary import Glossary
from simulst.core.history import HistoryConfig
from simulst.core.policy import AnyPolicy, Policy
from simulst.core.source import SAMPLE_RATE
from simulst.core.translator import Evidence, Translator
from simulst.errors import GlossaryError, PolicyError


@dataclass(frozen=True, kw_only=True)
class LoadedPolicy:
    """A policy with everything a Session needs besides the model."""

    name: str
    policy: AnyPolicy
    chunk_ms: int = 640
    history: HistoryConfig = field(default_factory=HistoryConfig)
    source: str = ""
    """The published setting that this mirrors."""


def as_loaded(policy: LoadedPolicy | AnyPolicy) -> LoadedPolicy:
    """A policy object with the chunk and history of its class. Raises PolicyError for a name, which is not loaded."""
    if isinstance(policy, LoadedPolicy):
        return policy
    if not isinstance(policy, Policy):
        raise PolicyError(f"A session takes a loaded policy, not {policy!r:.80}; load_policy makes one of a name.")
    return LoadedPolicy(
        name=type(policy).__name__,
        policy=policy,
        chunk_ms=policy.default_chunk_ms,
        history=HistoryConfig(method=policy.default_history, segment_s=policy.default_segment_s),
    )


def chunk_samples(chunk_ms: object) -> int:
    """16 kHz samples of a chunk. Raises PolicyError for what is no number of milliseconds from 1 on."""
    if not (isinstance(chunk_ms, Real) and isfinite(chunk_ms)):
        raise PolicyError(f"chunk_ms is {chunk_ms!r:.80}; it must be a number of milliseconds")
    samples = round(float(chunk_ms) * SAMPLE_RATE / 1000)
    if samples < 1:
        raise PolicyError(f"chunk_ms is {chunk_ms}; it must be at least 1")
    return samples


def check_fits(loaded: LoadedPolicy, model: Translator) -> None:
    """Raise PolicyError unless the model provides the evidence that the policy needs."""
    missing = loaded.policy.needs() - model.provides
    if not missing:
        return
    lacks = f"Policy {loaded.name} needs {', '.join(sorted(missing))}, which model {model.name} does not provide"
    if missing <= set(model.unlocks):
        options = ", ".join(sorted(model.unlocks[one] for one in missing))
        raise PolicyError(f"{lacks} as it was loaded; load it with {options}.")
    raise PolicyError(f"{lacks}; `simulst policies {loaded.name}` lists the models that work with it.")


def favouring_of(glossary: Glossary, loaded: LoadedPolicy, model: Translator) -> Favouring:
    """The glossary on the model's vocabulary. Raises GlossaryError where model or policy take none."""
    own_ways = loaded.policy.needs() & {Evidence.SOURCE_LM, Evidence.CHAIN, Evidence.JOINT}
    if own_ways:
        raise GlossaryError(
            f"Policy {loaded.name} translates text that the model makes up or writes itself, where a glossary is not "
            "followed; choose another policy."
        )
    if Evidence.CTC_COUNTS not in model.provides or not isinstance(model.vocabulary, Spelling):
        raise GlossaryError(
            f"Model {model.name} does not tell which words it hears, so the terms of a glossary are not found; use one "
            "that provides ctc_counts (tiny-en-de), or a cascade ASR+TEXT."
        )
    return Favouring(glossary, model.vocabulary)
