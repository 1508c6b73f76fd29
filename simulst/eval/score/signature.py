"""Signatures: what a printed score depends on, in sacrebleu's `key:value|key:value` form."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import simulst
from simulst.eval.logs.instances import Instance
from simulst.eval.logs.units import Unit
from simulst.eval.metrics.metric import Metric
from simulst.eval.metrics.registry import own_fields
from simulst.eval.segment.profiles import Profile

UNDEFINED_LANGUAGE = "none"


@dataclass(frozen=True, kw_only=True)
class Signer:
    """Signs the scores of one run under one profile."""

    profile: Profile
    unit: Unit
    lang: str
    band: bool
    moses: bool
    instances: Sequence[Instance]

    def mean(self, metric: Metric, name: str, *, counted: int) -> str:
        """For a mean over `counted` segments; `name` is that of the score, with its clock."""
        fields: dict[str, object] = {
            "n": counted,
            "unit": self.unit,
            "lang": self.lang or UNDEFINED_LANGUAGE,
            "profile": self.profile.name,
            "segmenter": self._segmenter,
        }
        if metric.timed:
            fields |= {"early": "clamped" if self.profile.clamp else "kept", "clock": self._clock(name)}
        return join(fields | {"version": simulst.__version__} | own_fields(metric))

    def run(self, metric: Metric) -> str:
        """For NE, RTF and other figures of the whole run; `compute` says up to where computation is known."""
        compute = "chunks" if all(instance.chunks for instance in self.instances) else "last-emission"
        fields = {"unit": self.unit, "profile": self.profile.name, "compute": compute}
        return join(fields | {"version": simulst.__version__} | own_fields(metric))

    def quality(self, metric: Metric, basis: str) -> str:
        """`basis` is what the score depends on by itself, sacrebleu's signature for instance."""
        fields = {"unit": self.unit, "profile": self.profile.name, "segmenter": self._segmenter}
        return "|".join(
            part for part in (basis, join(fields | {"simulst": simulst.__version__} | own_fields(metric))) if part
        )

    @cached_property
    def _segmenter(self) -> str:
        if self.profile.segmenter == "mwer":
            tokens = "-latin-runs" if self.unit == "char" and self.profile.char_tokens == "latin-runs" else ""
            return "mwer" + tokens + ("-band" if self.band else "")
        if self.profile.segmenter == "soft" and self.moses:
            return f"soft-moses-{self.lang}"
        return self.profile.segmenter

    def _clock(self, name: str) -> str:
        if name.endswith("_CA_backlog"):
            return self._clocks[1]
        return self._clocks[0] if name.endswith("_CA") else "ideal"

    @cached_property
    def _clocks(self) -> tuple[str, str]:
        """What `_CA` and `_CA_backlog` stand for in this run."""
        cumulative = any(instance.cumulative for instance in self.instances)
        if not cumulative:
            ca = "chunk"
        elif self.profile.repair == "none":
            ca = "cumulative"
        else:
            ca = f"increments-{self.profile.repair}"
        exact = all(instance.chunks or instance.backlog_ms for instance in self.instances)
        return ca, "backlog-chunks" if exact else "backlog-emissions"


def join(fields: Mapping[str, object]) -> str:
    return "|".join(f"{key}:{value}" for key, value in fields.items())
