"""Linear layers through oneDNN on processors where torch's own choice (Intel's MKL) is slow.

MKL leaves the wide vector units of AMD processors idle: from a dozen rows on oneDNN takes half the time. It prepares
code for every number of rows that it meets, so rows are rounded up to a few sizes.
"""

import functools
from bisect import bisect_left
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

FEWEST_ROWS = 12
LAYERS = ("Linear", "ColumnShardedLinear", "RowShardedLinear")
"""Of torch and of fairseq2, whose layers are sharded only over several processes."""
SIZES = (16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)


@functools.cache
def helps() -> bool:
    """Whether this is an AMD processor and torch has the operation."""
    known = hasattr(torch.ops.mkldnn, "_linear_pointwise")
    if not (known and torch.backends.mkldnn.is_available()):  # type: ignore[no-untyped-call]
        return False
    try:
        return "AuthenticAMD" in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None, *, exact: int = 0) -> Tensor:
    """`F.linear`, without gradients through oneDNN where that is faster; multiples of `exact` rows stay as they are."""
    rows = x.numel() // x.shape[-1] if x.numel() else 0
    fits = FEWEST_ROWS <= rows <= SIZES[-1] and x.dtype == weight.dtype == torch.float32 and x.device.type == "cpu"
    if not fits or torch.is_grad_enabled() or not helps():
        return F.linear(x, weight, bias)
    flat = x.reshape(rows, x.shape[-1])
    if not exact or rows % exact:
        flat = F.pad(flat, (0, 0, 0, SIZES[bisect_left(SIZES, rows)] - rows))
    found: Tensor = torch.ops.mkldnn._linear_pointwise(flat, weight, bias, "none", [], "")
    return found[:rows].view(*x.shape[:-1], len(weight))


def use(module: nn.Module, *, exact: int = 0) -> None:
    """Let the linear layers inside compute through `linear`."""
    if helps():
        for layer in module.modules():
            if type(layer).__name__ in LAYERS:
                layer.forward = functools.partial(_forward, layer, exact)


def _forward(layer: Any, exact: int, x: Tensor) -> Tensor:
    return linear(x, layer.weight, layer.bias, exact=exact)
