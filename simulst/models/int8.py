"""Linear layers and convolutions with int8 weights: a quarter of the memory traffic, which is what decoding costs.

Weights have a scale for each output channel. Inputs are rounded as they come, each row by its own largest value, so
that what one stream hears never changes what another one that is computed with it says.
"""

import warnings
from functools import cache

import torch
from torch import Tensor, nn

from simulst.errors import ModelError

EIGHT_BITS, SEVEN_BITS = (127, 128), (63, 64)
"""Largest level of a rounded input, and what stands for 0; levels are not negative."""
LEAST = 1e-20
"""Rows and weights below this count as 0."""


@cache
def available() -> bool:
    """Whether torch has int8 kernels for this processor, found by multiplying with them."""
    try:
        return bool(torch.isfinite(_product(torch.ones(1, 8), _packed(torch.ones(8, 8)), 1.0, EIGHT_BITS)).all())
    except (RuntimeError, AttributeError, NotImplementedError):
        return False


@cache
def levels() -> tuple[int, int]:
    """Seven bits on processors without VNNI, where sums of two products of eight bits overflow; found by trying."""
    row = torch.ones(1, 64)
    found = _product(row, _packed(torch.ones(8, 64)), 1.0, EIGHT_BITS)
    return EIGHT_BITS if bool((found - row.sum()).abs().max() < 1.0) else SEVEN_BITS


def _product(rows: Tensor, packed: torch.ScriptObject, largest: float, to: tuple[int, int]) -> Tensor:
    """Rows, of which no value is beyond `largest`, times packed weights."""
    found: Tensor = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32(
        rows, largest / to[0], to[1], packed
    )
    return found


def _packed(weight: Tensor) -> torch.ScriptObject:
    """Weights [out, in] as the kernels want them."""
    weight = weight.detach().float().cpu()
    scales = (weight.abs().amax(dim=1) / 127).clamp(min=LEAST)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch means to replace the container, not the kernels
        rounded = torch.quantize_per_channel(weight, scales, torch.zeros_like(scales, dtype=torch.long), 0, torch.qint8)
        packed: torch.ScriptObject = torch.ops.quantized.linear_prepack(rounded, None)
    return packed


class Int8Linear(nn.Module):
    """`F.linear` of float32 rows [..., in] with int8 weights; no gradients."""

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        super().__init__()
        if not available():
            raise ModelError("This torch has no int8 kernels for this processor; use dtype=float32.")
        self.out_features, self.in_features = weight.shape
        self.packed, self.levels = _packed(weight), levels()
        self.bias = None if bias is None else bias.detach().float().clone()

    def forward(self, x: Tensor) -> Tensor:
        rows = x.reshape(-1, self.in_features)
        found = self._one(rows) if len(rows) == 1 else self._many(rows)
        if self.bias is not None:
            found += self.bias
        return found.view(*x.shape[:-1], self.out_features)

    def _one(self, row: Tensor) -> Tensor:
        return _product(row, self.packed, max(row.abs().max().item(), LEAST), self.levels)

    def _many(self, rows: Tensor) -> Tensor:
        """The kernel rounds all rows alike, so each is brought to [-1, 1]."""
        largest = rows.abs().amax(dim=1, keepdim=True).clamp_(min=LEAST)
        return _product(rows / largest, self.packed, 1.0, self.levels).mul_(largest)


class Int8Conv1d(nn.Module):
    """A convolution [N, in, T] -> [N, out, T'] without padding, as an `Int8Linear` over its windows."""

    def __init__(self, conv: nn.Conv1d) -> None:
        super().__init__()
        if conv.padding != (0,) or conv.dilation != (1,) or conv.groups != 1:
            raise ValueError("only convolutions without padding, dilation and groups are linear layers over windows")
        (self.kernel,), (self.stride,) = conv.kernel_size, conv.stride
        self.linear = Int8Linear(conv.weight.permute(0, 2, 1).flatten(1), conv.bias)

    def forward(self, x: Tensor) -> Tensor:
        windows = x.transpose(1, 2).unfold(1, self.kernel, self.stride)  # [N, T', in, kernel]
        found: Tensor = self.linear(windows.transpose(2, 3).flatten(2))
        return found.transpose(1, 2)
