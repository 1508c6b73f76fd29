"""The command line with `--model toy`, a translator of made-up audio."""

import time
from typing import Any

import simulst.models
from simulst.cli import main, run
from simulst.core.translator import Translator
from simulst.testing import ToyTranslator

real_load, real_options = simulst.models.load_model, simulst.models.option_names


def load(name: str, *, device: str = "cpu", dtype: str | None = None, **options: Any) -> Translator:
    if name not in ("toy", "slow-toy"):
        return real_load(name, device=device, dtype=dtype, **options)
    if name == "slow-toy":  # takes a while for every hypothesis, as a model does
        options["before"] = lambda: time.sleep(0.02)
    return ToyTranslator(look_ahead_s=float(options.pop("look_ahead_s", 0.0)), **options)


def option_names(name: str) -> frozenset[str]:
    return frozenset({"look_ahead_s"}) if name in ("toy", "slow-toy") else real_options(name)


simulst.models.load_model = load  # type: ignore[assignment]
simulst.models.option_names = option_names  # type: ignore[assignment]

__all__ = ["run"]

if __name__ == "__main__":
    main()
