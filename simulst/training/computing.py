"""Where training computes and in which numbers: keys `device`, `dtype`, `sharded` and `compiled` of a recipe."""

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor

from simulst.models.checkpoint import torch_device

T = TypeVar("T")

AHEAD = 2
"""Batches that wait while one is computed."""


@dataclass(frozen=True, kw_only=True)
class Computing:
    """A device, and the dtype that products of matrices are computed in; weights and sums stay float32."""

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    dtype: torch.dtype = torch.bfloat16
    sharded: bool = False
    """Whether every process of torchrun holds only a part of the weights of a pretrained decoder."""
    compiled: bool = False
    """Whether the layers of the decoder are compiled."""

    @classmethod
    def of(cls, device: str, dtype: str, *, sharded: bool = False, compiled: bool = False) -> "Computing":
        """Of the names in a recipe; under torchrun `cuda` is the GPU of this process. ModelError for a device that is
        not there."""
        where = torch_device(device)
        if where.type == "cuda" and where.index is None and "LOCAL_RANK" in os.environ:
            where = torch_device(f"cuda:{os.environ['LOCAL_RANK']}")
        numbers = {"bfloat16": torch.bfloat16, "float32": torch.float32}[dtype]
        return cls(device=where, dtype=numbers, sharded=sharded, compiled=compiled)

    @property
    def on_cpu(self) -> bool:
        return self.device.type == "cpu"

    def autocast(self) -> AbstractContextManager[object]:
        """Within it, products are of `dtype`."""
        return nullcontext() if self.dtype == torch.float32 else torch.autocast(self.device.type, self.dtype)


ON_CPU = Computing()


def ahead(items: Iterator[T]) -> Iterator[T]:
    """The same items; a thread makes the next ones while the present one is used."""
    with ThreadPoolExecutor(1, thread_name_prefix="simulst-collate") as worker:
        waiting = [worker.submit(next, items, None) for _ in range(AHEAD)]
        while (item := waiting.pop(0).result()) is not None:
            waiting.append(worker.submit(next, items, None))
            yield item


def adam(parameters: Iterable[Tensor], computing: Computing, learning_rate: float, decay: float) -> torch.optim.AdamW:
    """The optimiser of every stage, as one kernel where the device has it."""
    fused = computing.device.type in ("cpu", "cuda")
    return torch.optim.AdamW(parameters, lr=learning_rate, betas=(0.9, 0.98), weight_decay=decay, fused=fused)
