"""Several processes training one model: gradients are averaged after every step.

torchrun starts them; gloo carries tensors of a CPU, nccl those of GPUs. On a CPU two processes of one
thread each are faster than one process of two threads.
"""

import os
from collections.abc import Iterable

import torch
from torch import Tensor


class Ranks:
    """This process among those of `torchrun`; alone when it was not used."""

    def __init__(self) -> None:
        self.size = int(os.environ.get("WORLD_SIZE", "1"))
        self.rank = int(os.environ.get("RANK", "0"))
        if self.size > 1 and not torch.distributed.is_initialized():
            gpu = torch.cuda.is_available()
            if gpu:
                torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
            torch.distributed.init_process_group("cpu:gloo,cuda:nccl" if gpu else "gloo")

    @property
    def first(self) -> bool:
        """Whether this process writes checkpoints and logs."""
        return self.rank == 0

    def smallest(self, value: int) -> int:
        """The smallest of all processes' values."""
        if self.size == 1:
            return value
        shared = torch.tensor([value])
        torch.distributed.all_reduce(shared, torch.distributed.ReduceOp.MIN)
        return int(shared)

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
