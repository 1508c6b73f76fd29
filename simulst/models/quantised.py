"""Linear layers of which the weights alone have 8 or 4 bits, so that a model fits into the memory of a smaller GPU.

Both come of libraries that are installed apart and work on a CPU too. int8 is torchao's: a scale for each output
channel. int4 is NF4 of bitsandbytes: a scale for 64 weights, levels at the quantiles of a normal distribution (Dettmers
et al. 2023, "QLoRA"). What is computed with one row never depends on the rows beside it.
"""

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Literal

import torch
from torch import Tensor, nn

from simulst.errors import ModelError, first_line
from simulst.models.hushed import hushed
from simulst.models.kernels import plain, replace_layers

Weights = Literal["int8", "int4"]

PACKAGES: dict[Weights, str] = {"int8": "torchao", "int4": "bitsandbytes"}
DEVICES = ("cpu", "cuda")
TALKATIVE = ("torchao", "bitsandbytes", "torch.utils._pytree")
"""Loggers that tell while a package is imported which of its kernels it does without."""


def check_weights_can_be(weights: Weights, device: torch.device) -> None:
    """ModelError where such weights cannot be had on a device, or the package that makes them is not installed."""
    if device.type not in DEVICES:
        raise ModelError(f"{weights} is for CPUs and NVIDIA GPUs, and the model runs on {device}; use dtype=bfloat16.")
    package = PACKAGES[weights]
    if find_spec(package) is None:
        raise ModelError(f"{weights} for this model on {device} needs {package}: pip install {package}.")


def quantise(model: Any, weights: Weights, device: torch.device, dtype: torch.dtype) -> None:
    """Round the weights of a model of transformers, layer by layer on `device`: those of its language model, or of
    encoder and decoder where it has both. Embeddings and the output layer stay as they are.

    Raises ModelError where the package cannot be imported or the device lacks what it needs.
    """
    layer = _layers(weights, device, dtype)
    both = (
        (model.get_encoder(), model.get_decoder()) if model.config.is_encoder_decoder else (model.get_decoder().layers,)
    )
    try:
        for part in both:
            replace_layers(part, layer)
    except (RuntimeError, ValueError) as error:
        raise ModelError(f"{PACKAGES[weights]} cannot round the weights on {device}: {first_line(error)}") from error


def _layers(weights: Weights, device: torch.device, dtype: torch.dtype) -> Callable[[Tensor, Tensor | None], nn.Module]:
    library = _imported("torchao.quantization" if weights == "int8" else "bitsandbytes", weights)

    def made(weight: Tensor, bias: Tensor | None) -> nn.Module:
        weight, bias = weight.to(device, dtype), None if bias is None else bias.to(device, dtype)
        return _int8(library, weight, bias) if weights == "int8" else Int4Linear(library, weight, bias)

    return made


def _int8(library: Any, weight: Tensor, bias: Tensor | None) -> nn.Linear:
    layer = plain(weight, bias)
    library.quantize_(layer, library.Int8WeightOnlyConfig(set_inductor_config=False))
    return layer


class Int4Linear(nn.Module):
    """A linear layer whose weights are NF4, two in a byte; it computes with the numbers that they were given in."""

    def __init__(self, library: Any, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.out_features, self.in_features = weight.shape
        self.packed, self.state = library.functional.quantize_4bit(weight.detach(), quant_type="nf4")
        self.dtype, self.bias = weight.dtype, bias
        self.register_parameter("weight", None)  # T5 and Seamless look whether there is one
        self._product = library.matmul_4bit

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self._product(x.to(self.dtype), self.packed, quant_state=self.state, bias=self.bias)
        return found.to(x.dtype)


def _imported(name: str, weights: Weights) -> Any:
    try:
        with hushed(*TALKATIVE):
            return import_module(name)
    except Exception as error:  # builds for another torch, or for drivers that are not there, fail in many ways
        package = PACKAGES[weights]
        raise ModelError(f"{weights} needs {package}, which cannot be imported: {first_line(error)}") from error
