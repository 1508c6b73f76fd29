"""Layers of a decoder compiled for training: key `compiled` of a recipe. What is computed between products of matrices
becomes few passes over memory."""

from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from simulst.errors import DataError, first_line


def compile_layers(decoder: nn.Module, layers: int, device: torch.device) -> None:
    """Compile each of the layers of a causal language model in place, for batches of any shape, at the first step.

    DataError where the machine cannot compile.
    """
    _try_out(device)
    stacks = (one for one in decoder.modules() if isinstance(one, nn.ModuleList) and len(one) == layers)
    for layer in next(stacks, ()):
        layer.compile(dynamic=True)


def uncompiled() -> AbstractContextManager[None]:
    """Within it, compiled layers compute as they are written: development sets have shapes of their own."""
    stance: AbstractContextManager[None] = torch.compiler.set_stance("force_eager")
    return stance


def _doubled(x: Tensor) -> Tensor:
    return x + x


def _try_out(device: torch.device) -> None:
    try:
        torch.compile(_doubled)(torch.ones(2, device=device))
    except Exception as error:  # from a missing compiler to missing headers of Python: torch has no one type for them
        raise DataError(
            f"compiled = true does not work on this machine ({first_line(error)}); install a C++ compiler such as "
            "g++, or leave it out."
        ) from error
