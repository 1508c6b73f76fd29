"""The processes that share one run, on one machine or many: torchrun's, through fairseq2's gang, or this one alone."""

import os
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from simulst.eval.data import Item

if TYPE_CHECKING:
    from fairseq2.gang import Gangs

PATIENCE = timedelta(days=14)
"""How long a rank that is done waits for the slowest one; a dead one is torchrun's business."""


class Gang:
    """One process alone."""

    rank, size = 0, 1

    def barrier(self) -> None: ...

    def close(self) -> None: ...

    def share(self, items: Sequence[Item]) -> list[Item]:
        """This rank's items: the longest go first to whoever has least, so shards are uneven but of like length."""
        if self.size == 1:
            return list(items)
        loads, mine = [0.0] * self.size, []
        for item in sorted(items, key=lambda item: (-item.audio_s, item.index)):
            rank = loads.index(min(loads))
            loads[rank] += item.audio_s + 0.001
            if rank == self.rank:
                mine.append(item)
        return sorted(mine, key=lambda item: item.index)


class TorchrunGang(Gang):
    def __init__(self) -> None:
        from simulst.models.seq2seq import fairseq2_python as _fairseq2

        _fairseq2.prepare()
        import torch
        from fairseq2.gang import ProcessGroupGang, create_parallel_gangs

        root = ProcessGroupGang.create_default_process_group(torch.device("cpu"), timeout=PATIENCE)
        self._gangs: Gangs = create_parallel_gangs(root)
        self.rank, self.size = self._gangs.dp.rank, self._gangs.dp.size

    def barrier(self) -> None:
        self._gangs.dp.barrier()

    def close(self) -> None:
        self._gangs.close()


def launched_by_torchrun() -> bool:
    return "RANK" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1


def join_gang() -> Gang:
    """The gang that torchrun's environment describes."""
    return TorchrunGang() if launched_by_torchrun() else Gang()


def local_device(device: str) -> str:
    """The device by its full name: what "auto" is here, and under torchrun this rank's own GPU for "cuda".

    Raises ModelError where the machine has no such device.
    """
    if device == "cpu":
        return device
    from simulst.models.checkpoint import torch_device

    found = str(torch_device(device))
    if found == "cuda" and launched_by_torchrun():
        return str(torch_device(f"cuda:{os.environ.get('LOCAL_RANK', '0')}"))
    return found
