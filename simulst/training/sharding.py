"""Frozen weights of a pretrained decoder in parts, one in each process of torchrun (FSDP2 of torch).

Every layer is put together on all processes while it computes, on the way there and back, and given up again. What is
trained beside it (additions, rows of marks, projector) is small and whole in every process, as without sharding: its
gradients are averaged by `Ranks`, and checkpoints are the same files.
"""

import torch
from torch import nn

from simulst.models.speech_llm.network import SpeechLLM
from simulst.training.ranks import Ranks


def shard(model: SpeechLLM, ranks: Ranks, device: torch.device) -> None:
    """Leave to this process its part of the frozen layers, on `device`; alone, a process keeps them whole."""
    if ranks.size == 1:
        return
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(device.type, (ranks.size,))
    inner: nn.Module = model.decoder.model
    trained = {one for one in inner.parameters() if one.requires_grad}
    for layer in inner.get_submodule("layers").children():
        fully_shard(layer, mesh=mesh, reshard_after_forward=True, ignored_params=trained)
    fully_shard(inner, mesh=mesh, ignored_params=set(inner.parameters()))  # knows the order of its layers


def is_sharded(model: SpeechLLM) -> bool:
    """Whether its layers are put together by all processes, which then have to compute at the same time."""
    if not torch.distributed.is_available() or not torch.distributed.is_initialized():
        return False
    from torch.distributed.fsdp import FSDPModule

    return isinstance(model.decoder.model, FSDPModule)
