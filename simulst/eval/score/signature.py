"""Signatures: what a printed score depends on, in sacrebleu's `key:value|key:value` form."""

from collections.abc import Mapping, Sequence

import simulst
from simulst.eval.logs.instances import Instance
from simulst.eval.score.profiles import Profile

UNDEFINED_LANGUAGE = "none"


def latency_signature(
    metric: str, *, unit: str, lang: str, profile: Profile, segmenter: str, ca: str, backlog: str, counted: int
) -> str:
    """`counted` is the number of segments in the mean; `ca` and `backlog` name the clocks of the run's log."""
    if metric.endswith("_CA_backlog"):
        clock = backlog
    else:
        clock = ca if metric.endswith("_CA") else "ideal"
    fields = {
        "n": counted,
        "unit": unit,
        "lang": lang or UNDEFINED_LANGUAGE,
        "profile": profile.name,
        "segmenter": segmenter,
        "early": "clamped" if profile.clamp else "kept",
        "clock": clock,
        "version": simulst.__version__,
    }
    return join(fields)


def ratio_signature(*, unit: str, profile: Profile, compute: str) -> str:
    """For NE, RTF and other figures of the whole run; `compute` says up to where computation is known."""
    fields = {"unit": unit, "profile": profile.name, "compute": compute, "version": simulst.__version__}
    return join(fields)


def quality_signature(sacrebleu: str, *, profile: Profile, unit: str, segmenter: str) -> str:
    fields = {"unit": unit, "profile": profile.name, "segmenter": segmenter, "simulst": simulst.__version__}
    return f"{sacrebleu}|{join(fields)}"


def segmenter_name(profile: Profile, *, unit: str, lang: str, band: bool, moses: bool) -> str:
    if profile.segmenter == "mwer":
        tokens = "-latin-runs" if unit == "char" and profile.char_tokens == "latin-runs" else ""
        return "mwer" + tokens + ("-band" if band else "")
    if profile.segmenter == "soft" and moses:
        return f"soft-moses-{lang}"
    return profile.segmenter


def clock_names(instances: Sequence[Instance], profile: Profile) -> tuple[str, str]:
    """What `_CA` and `_CA_backlog` stand for in this run."""
    cumulative = any(instance.cumulative for instance in instances)
    if not cumulative:
        ca = "chunk"
    elif profile.repair == "none":
        ca = "cumulative"
    else:
        ca = f"increments-{profile.repair}"
    exact = all(instance.chunks or instance.backlog_ms for instance in instances)
    return ca, "backlog-chunks" if exact else "backlog-emissions"


def join(fields: Mapping[str, object]) -> str:
    return "|".join(f"{key}:{value}" for key, value in fields.items())
