"""Linear layers by the kernel that is quick on this processor: torch's own choice (Intel's MKL on x86) or oneDNN.

Which one is faster depends on the processor, so the two are timed when a model is loaded. oneDNN prepares code for
every number of rows that it meets, so rows are rounded up to a few sizes.
"""

import time
from bisect import bisect_left
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from simulst.errors import ModelError

Kernel = Literal["plain", "onednn"]

FEWEST_ROWS = 12
LAYERS = ("Linear", "ColumnShardedLinear", "RowShardedLinear")
"""Of torch and of fairseq2, whose layers are sharded only over several processes."""
SIZES = (16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
TIMED = ((16, 1024, 320), (48, 320, 1024))
"""Rows, inputs and outputs of the layers that are timed."""
ROUNDS = 5
GAIN = 0.9
"""oneDNN is taken where it needs less than this part of the time: near-ties always end the same way."""


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None, *, exact: int = 0) -> Tensor:
    """`F.linear`, without gradients through oneDNN from a dozen rows on; multiples of `exact` rows stay as they are."""
    rows = x.numel() // x.shape[-1] if x.numel() else 0
    fits = FEWEST_ROWS <= rows <= SIZES[-1] and x.dtype == weight.dtype == torch.float32 and x.device.type == "cpu"
    if not fits or torch.is_grad_enabled():
        return F.linear(x, weight, bias)
    flat = x.reshape(rows, x.shape[-1])
    if not exact or rows % exact:
        flat = F.pad(flat, (0, 0, 0, SIZES[bisect_left(SIZES, rows)] - rows))
    found: Tensor = torch.ops.mkldnn._linear_pointwise(flat, weight, bias, "none", [], "")
    return found[:rows].view(*x.shape[:-1], len(weight))


class OneDnnLinear(nn.Module):
    """A linear layer that computes through `linear`, with the same weights."""

    def __init__(self, weight: Tensor, bias: Tensor | None, *, exact: int = 0) -> None:
        super().__init__()
        self.weight, self.bias, self.exact = _shared(weight), None if bias is None else _shared(bias), exact

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias, exact=self.exact)


class Bfloat16Linear(nn.Module):
    """A linear layer of float32 rows whose products are of bfloat16, for processors that multiply those faster."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.weight = weight.detach().bfloat16()
        self.bias = None if bias is None else bias.detach().bfloat16()

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x.bfloat16(), self.weight, self.bias).float()


def plain(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """A linear layer of torch with these weights."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    layer.weight = _shared(weight)
    if bias is not None:
        layer.bias = _shared(bias)
    return layer


def _shared(numbers: Tensor) -> nn.Parameter:
    return nn.Parameter(numbers.detach(), requires_grad=False)


def available() -> bool:
    """Whether torch has the operation of oneDNN."""
    known = hasattr(torch.ops.mkldnn, "_linear_pointwise")
    return known and bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]


def chosen(wanted: Literal["auto"] | Kernel, like: Tensor) -> Kernel:
    """The kernel that is asked for, or the quickest, where numbers are as oneDNN takes them; ModelError without it."""
    if like.dtype != torch.float32 or like.device.type != "cpu" or wanted == "plain":
        return "plain"
    if wanted == "onednn" and not available():
        raise ModelError("This torch has no oneDNN; leave out kernel=onednn.")
    return quickest() if wanted == "auto" else wanted


@cache
def quickest() -> Kernel:
    """The kernel that multiplies some matrices fastest, timed once a process in a few milliseconds."""
    if not available():
        return "plain"
    spent = {"plain": 0.0, "onednn": 0.0}
    with torch.inference_mode():
        for rows, width, out in TIMED:
            x, weight = torch.ones(rows, width), torch.ones(out, width)
            times = least_seconds([partial(F.linear, x, weight), partial(linear, x, weight, exact=rows)])
            spent = {name: spent[name] + s for name, s in zip(spent, times, strict=True)}
    return "onednn" if spent["onednn"] < GAIN * spent["plain"] else "plain"


@cache
def bfloat16_gains() -> bool:
    """Whether `Bfloat16Linear` is quicker than the quickest kernel of float32; timed."""
    rows, width, out = TIMED[-1]
    x, weight = torch.ones(rows, width), torch.ones(out, width)
    usual = OneDnnLinear(weight, None, exact=rows) if quickest() == "onednn" else plain(weight, None)
    with torch.inference_mode():
        usual_s, short_s = least_seconds([partial(usual, x), partial(Bfloat16Linear(weight, None), x)])
    return short_s < GAIN * usual_s


def least_seconds(calls: Sequence[Callable[[], Tensor]]) -> list[float]:
    """The shortest time of each call, taken in turn; what else the processor does only makes some longer."""
    least = [float("inf")] * len(calls)
    for number in range(1 + ROUNDS):
        for index, call in enumerate(calls):
            began = time.perf_counter()
            call()
            if number:  # the first call prepares
                least[index] = min(least[index], time.perf_counter() - began)
    return least


def replace_layers(module: nn.Module, made: Callable[[Tensor, Tensor | None], nn.Module]) -> None:
    """Put `made(weight, bias)` in the place of every linear layer inside."""
    for name, layer in list(module.named_modules()):
        if name and type(layer).__name__ in LAYERS:
            numbers = dict(layer.named_parameters(recurse=False))
            module.set_submodule(name, made(numbers["weight"], numbers.get("bias")))
