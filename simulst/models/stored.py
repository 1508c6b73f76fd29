"""Weights as they lie on disk: matrices and kernels in a byte a number with a scale for each row, the rest in two;
what is added to other weights in half a byte.

Rounded again with the same scales, such weights stay what they are: `dtype=int8` computes with the stored numbers.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from simulst.errors import ModelError
from simulst.models.int8 import LEAST
from simulst.outputs import OutputError, whole_file

SCALE = ".scale"
"""Behind the name of a tensor: the scales of its rows, [rows]."""
_LEVELS, _HALF_LEVELS = 127, 7


def save_tensors(tensors: Mapping[str, Tensor], path: Path, about: dict[str, str] | None = None) -> None:
    """Write a file of tensors and what is said about them, whole or not at all; OutputError where it cannot be
    written."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    with whole_file(path) as file:
        try:
            save_file(dict(tensors), file, metadata=about)
        except SafetensorError as error:
            raise OutputError(f"{path} cannot be written: {error}") from error
        file.chmod(0o644)  # safetensors writes files that only their owner can read


def load_tensors(path: Path, within: str = "") -> dict[str, Tensor]:
    """The float tensors of a file, whatever they are stored in; ModelError where it cannot be read.

    Of one part of a model where its name, "encoder.", is given: those whose names begin with it, without it.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        stored = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path} cannot be read: {error}.") from error
    return restored({name.removeprefix(within): one for name, one in stored.items() if name.startswith(within)}, path)


def rounded(tensors: Mapping[str, Tensor], *, half_bytes: bool = False) -> dict[str, Tensor]:
    """What is written for float tensors: those of two dimensions and more in int8, each row by its largest number.

    With `half_bytes` matrices of an even width are written with two numbers in a byte, for what need not be exact.
    """
    found = dict[str, Tensor]()
    for name, tensor in tensors.items():
        if tensor.dim() < 2:
            found[name] = tensor.detach().half().contiguous()
            continue
        rows = tensor.detach().float().flatten(1)
        halves = half_bytes and tensor.dim() == 2 and tensor.shape[1] % 2 == 0
        scales = (rows.abs().amax(dim=1) / (_HALF_LEVELS if halves else _LEVELS)).clamp(min=LEAST)
        levels = (rows / scales[:, None]).round().to(torch.int8)
        found[name] = _paired(levels) if halves else levels.view(tensor.shape)
        found[name + SCALE] = scales
    return found


def _paired(levels: Tensor) -> Tensor:
    """Two numbers from -7 to 7 in each byte: [rows, width] -> [rows, width / 2]."""
    above = (levels + 8).to(torch.uint8)
    return above[:, 0::2] | (above[:, 1::2] << 4)


def _parted(pairs: Tensor) -> Tensor:
    """What `_paired` put together."""
    return torch.stack((pairs & 15, pairs >> 4), dim=2).flatten(1).to(torch.int8) - 8


def restored(tensors: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Float tensors of what `rounded` made; ModelError where scales are missing."""
    scales = {name for name in tensors if name.endswith(SCALE) and name.removesuffix(SCALE) in tensors}
    return {name: _restored(name, tensors, path) for name in tensors if name not in scales}


def _restored(name: str, tensors: Mapping[str, Tensor], path: Path) -> Tensor:
    tensor, scales = tensors[name], tensors.get(name + SCALE)
    if tensor.is_floating_point():
        return tensor
    pairs = tensor.dtype == torch.uint8 and tensor.dim() == 2
    known = pairs or (tensor.dtype == torch.int8 and tensor.dim() > 1)
    if not known or scales is None or scales.shape != tensor.shape[:1]:
        raise ModelError(f"{path} holds {name} in whole numbers without a scale for each row; export the model anew.")
    tensor = _parted(tensor) if pairs else tensor
    return tensor.float() * scales.float().view(-1, *[1] * (tensor.dim() - 1))
