"""What a run is: everything that decides its predictions, and nothing that only decides its speed."""

import dataclasses
import hashlib
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from simulst.core.glossary import Glossary
from simulst.core.policy import AnyPolicy
from simulst.eval.data import Dataset
from simulst.eval.logs.units import Unit
from simulst.policies import POLICIES, LoadedPolicy


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """One model under one policy; `name` is the folder it gets where a recipe has several."""

    name: str = ""
    model: str
    options: dict[str, Any] = field(default_factory=dict)
    """Options of the model."""
    policy: LoadedPolicy
    device: str = "cpu"
    dtype: str | None = None
    seed: int = 0
    unit: Unit = "word"
    final_only: bool = False
    """Words of a policy that takes text back count when they can no longer change, as they must for SimulEval."""
    glossary: Glossary | None = None
    """Terms that are favoured."""

    def describe(self, dataset: Dataset) -> dict[str, object]:
        """What run.json says about the run, and what a run that is resumed must have in common with it."""
        from simulst.models.fingerprint import fingerprint

        policy = self.policy.policy
        code = code_fingerprint(policy)
        found = {
            "model": {
                "name": self.model,
                "options": self.options,
                "dtype": self.dtype or "float32",
                "weights": fingerprint(self.model),
            },
            "policy": {
                "name": registered_name(self.policy),
                "preset": self.policy.name,
                "parameters": dataclasses.asdict(policy) if dataclasses.is_dataclass(policy) else {},
                "history": dataclasses.asdict(self.policy.history),
                "source": self.policy.source,
                **({"code": code} if code else {}),
            },
            "chunk_ms": self.policy.chunk_ms,
            "unit": self.unit,
            "final_only": self.final_only,
            "seed": self.seed,
            "data": {
                "name": dataset.name,
                "form": dataset.form,
                "source_lang": dataset.source_lang,
                "target_lang": dataset.target_lang,
                "fingerprint": dataset.fingerprint,
            },
        }
        if self.glossary is not None:
            found["glossary"] = {"terms": digest_of(self.glossary), "boost": self.glossary.boost}
        plain: dict[str, object] = json.loads(json.dumps(found, default=str))
        return plain


def digest_of(glossary: Glossary) -> str:
    """What tells the terms of two glossaries apart."""
    listed = "\n".join(sorted(f"{term.source}\t{term.target}" for term in glossary.terms))
    return hashlib.sha256(listed.encode()).hexdigest()[:16]


def registered_name(policy: LoadedPolicy) -> str:
    """The name in POLICIES of a policy's class, which presets of it share; else the name of the class."""
    kind = type(policy.policy)
    target = f"{kind.__module__}:{kind.__qualname__}"
    return next((name for name, known in POLICIES.items() if known == target), kind.__name__)


def code_fingerprint(policy: AnyPolicy) -> str:
    """A digest of the file that a policy of one's own stands in; "" for those of simulst, which `versions` covers.

    What the file imports does not count.
    """
    module = sys.modules[type(policy).__module__]
    file = vars(module).get("__file__")
    if module.__name__.partition(".")[0] == "simulst" or not file:
        return ""
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()[:16]


def difference(old: dict[str, object], new: dict[str, object], path: str = "") -> str:
    """The first value in which two descriptions differ, as a clause; "" where they agree."""
    for key in dict.fromkeys((*old, *new)):
        before, now, name = old.get(key), new.get(key), f"{path}{key}"
        if isinstance(before, dict) and isinstance(now, dict):
            if clause := difference(before, now, f"{name}."):
                return clause
        elif before != now:
            there, here = (json.dumps(value, ensure_ascii=False) for value in (before, now))
            return f"{name} is {there} there and {here} here"
    return ""
