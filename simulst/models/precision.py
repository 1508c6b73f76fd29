"""The numbers a model computes with, by the name that a person gives."""

import logging
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING

from simulst.errors import ModelError

if TYPE_CHECKING:
    import torch

    from simulst.models.quantised import Weights

DTYPES = ("float32", "bfloat16", "float16")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Precision:
    """`dtype` of weights and states; with `int8` weights and inputs of linear layers are of 8 bits, with `weights` the
    weights alone are rounded."""

    dtype: "torch.dtype"
    int8: bool = False
    weights: "Weights | None" = None


def choose_precision(
    name: str | None, device: "torch.device", *, int8: bool = False, quantised: bool = False
) -> Precision:
    """What `name` stands for on that device: float32 (also None), bfloat16, float16, int8 or int4 for models that can,
    or auto: bfloat16 on a GPU, int8 on a CPU where it is quicker than float32.

    A model can int8 on a CPU by kernels of torch (`int8`), and int8 and int4 anywhere by a library (`quantised`), which
    has to be installed. Raises ModelError.
    """
    import torch

    wanted = str(name or "float32").removeprefix("torch.")
    known = (*DTYPES, *(("int8",) if int8 or quantised else ()), *(("int4",) if quantised else ()), "auto")
    if wanted not in known:
        raise ModelError(f"Unknown dtype '{name}' for this model; known: {', '.join(known)}.")
    if wanted == "auto":
        wanted = _quick(device, int8=int8)
    if wanted == "int8" and int8 and device.type == "cpu":
        return Precision(dtype=torch.float32, int8=True)
    if wanted in ("int8", "int4"):
        if not quantised:
            raise ModelError(f"int8 is for CPUs, and the model runs on {device}; use dtype=bfloat16.")
        return _by_a_library("int4" if wanted == "int4" else "int8", device)
    if wanted == "float16" and device.type == "cpu":
        logger.warning("float16 on a CPU is several times slower than float32; use int8 or bfloat16 there.")
    found: torch.dtype = getattr(torch, wanted)
    return Precision(dtype=found)


def _by_a_library(weights: "Weights", device: "torch.device") -> Precision:
    import torch

    from simulst.models.quantised import check_weights_can_be

    check_weights_can_be(weights, device)
    return Precision(dtype=torch.float32 if device.type == "cpu" else torch.bfloat16, weights=weights)


def _quick(device: "torch.device", *, int8: bool) -> str:
    if device.type != "cpu":
        return "bfloat16"
    return "int8" if int8 and int8_gains() else "float32"


@cache
def int8_gains() -> bool:
    """Whether int8 is quicker than float32 for a single row, which is what decoding asks for most; timed once a
    process, so that the parts of a model agree."""
    import torch

    from simulst.models.int8 import Int8Linear, available
    from simulst.models.kernels import least_seconds, plain

    if not available():
        return False
    row, weight = torch.ones(1, 1024), torch.ones(2048, 1024)
    with torch.inference_mode():
        calls = [partial(layer, row) for layer in (plain(weight, None), Int8Linear(weight))]
        usual, short = least_seconds(calls)
    return short < usual
