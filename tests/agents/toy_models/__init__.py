"""`simuleval --user-dir` imports this: models named toy and tiny-llm FOLDER beside the real ones."""

from typing import Any

import simulst.models
from simulst.core.translator import Translator
from simulst.testing import ToyTranslator

real_load, real_options = simulst.models.load_model, simulst.models.option_names


def load(name: str, *, device: str = "cpu", dtype: str | None = None, **options: Any) -> Translator:
    return ToyTranslator() if name == "toy" else real_load(name, device=device, dtype=dtype, **options)


def option_names(name: str) -> frozenset[str]:
    return frozenset() if name == "toy" else real_options(name)


simulst.models.load_model = load  # type: ignore[assignment]
simulst.models.option_names = option_names  # type: ignore[assignment]
