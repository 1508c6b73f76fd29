"""Several processes training one model: gradients are averaged before every step of the optimiser.

torchrun starts them; gloo carries tensors of a CPU, nccl those of GPUs. On a CPU two processes of one
thread each are faster than one process of two threads.
"""

import os
from collections.abc import Iterable

import torch
from torch import Tensor

from simulst.errors import DataError


class Ranks:
    """This process among those of `torchrun`, which computes on `device`; alone when torchrun was not used."""

    def __init__(self, device: torch.device) -> None:
        self.size = int(os.environ.get("WORLD_SIZE", "1"))
        self.rank = int(os.environ.get("RANK", "0"))
        if self.size == 1:
            return
        if not torch.distributed.is_initialized():
            gpu = device.type == "cuda"
            if gpu:
                torch.cuda.set_device(device)
            torch.distributed.init_process_group("cpu:gloo,cuda:nccl" if gpu else "gloo")
        # the thread that makes batches compares their number while gradients are on their way
        self._beside = torch.distributed.new_group(backend="gloo")

    @property
    def first(self) -> bool:
        """Whether this process writes checkpoints and logs."""
        return self.rank == 0

    def share(self, batches: int) -> range:
        """Which batches of every step are this process's own: `batches` in all, and at least one for each process.

        Raises DataError where they cannot be divided.
        """
        if batches > 1 and batches % self.size:
            raise DataError(f"accumulate = {batches} cannot be divided among {self.size} processes; use a multiple.")
        return range(self.rank, max(batches, self.size), self.size)

    def smallest(self, value: int) -> int:
        """The smallest of all processes' values; one thread asks for it at a time."""
        if self.size == 1:
            return value
        shared = torch.tensor([value])
        torch.distributed.all_reduce(shared, torch.distributed.ReduceOp.MIN, group=self._beside)
        return int(shared)

    def wait(self) -> None:
        """Until all processes are here."""
        if self.size > 1:
            torch.distributed.barrier(group=self._beside)

    def average_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Replace every gradient by its mean over the processes."""
        if self.size == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([g.flatten() for g in gradients])
        torch.distributed.all_reduce(flat)
        flat /= self.size
        for gradient, mean in zip(gradients, torch.split(flat, [g.numel() for g in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))
