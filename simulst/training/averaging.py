"""Means of checkpoints: those that a stage kept, or any by name with a weight each."""

from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import Tensor

from simulst.errors import DataError
from simulst.outputs import OutputError, whole_file

KEPT = "step-*.pt"


def write_checkpoint(content: Mapping[str, object], path: Path) -> None:
    """Write a file of tensors whole or not at all; OutputError where the system refuses."""
    with whole_file(path) as file:
        try:
            torch.save(dict(content), file)
        except RuntimeError as error:  # torch says nothing of the system's reason
            raise OutputError(f"{path} cannot be written; is there room on the disk?") from error


def keep_newest(state: dict[str, Tensor], folder: Path, step: int, count: int) -> None:
    """Write the weights of a step beside the checkpoint and remove all but the newest `count`; with 1 there is only
    the checkpoint itself."""
    if count > 1:
        write_checkpoint({"model": state}, folder / f"step-{step:07}.pt")
    for old in kept(folder)[: -count if count > 1 else None]:
        old.unlink()


def kept(folder: Path) -> list[Path]:
    """Weights of steps that a stage kept, oldest first."""
    return sorted(folder.glob(KEPT))


def newest(folder: Path, count: int) -> dict[Path, float]:
    """The newest `count` of a stage with equal weights; DataError where it kept fewer."""
    found = kept(folder)
    if len(found) < count:
        raise DataError(
            f"The mean of {count} checkpoints needs as many, and {folder} kept {len(found)}; train with keep = {count}."
        )
    return dict.fromkeys(found[-count:], 1.0)


def averaged(weights: Mapping[Path, float]) -> dict[str, Tensor]:
    """The mean of the weights in checkpoints, on the CPU; their shares are relative to the sum.

    Raises DataError for a file that is no checkpoint, checkpoints that do not fit each other, and shares that are not
    above 0.
    """
    if not weights or min(weights.values()) <= 0:
        raise DataError("A mean of checkpoints needs at least one of them, each with a weight above 0.")
    total, mean = sum(weights.values()), dict[str, Tensor]()
    for path, weight in weights.items():
        state = _read(path)
        if not mean:
            mean = {name: torch.zeros_like(tensor, dtype=torch.float64) for name, tensor in state.items()}
        if {name: one.shape for name, one in state.items()} != {name: one.shape for name, one in mean.items()}:
            raise DataError(f"{path} holds other weights than {next(iter(weights))}; a mean is of one model's.")
        for name, tensor in state.items():
            mean[name] += weight / total * tensor.double()
    return {name: tensor.float() for name, tensor in mean.items()}


def _read(path: Path) -> dict[str, Tensor]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        found: dict[str, Tensor] = state["model"]
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, EOFError, UnpicklingError) as error:
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise DataError(f"{path} is not a checkpoint of training ({reason}).") from error
    return found
