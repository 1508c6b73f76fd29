"""How a computation of fixed shapes is recorded once and played back, as CUDA graphs do, and what stands in for it."""

from collections.abc import Callable
from typing import Literal

import torch

Graph = Literal["auto", "static", "off"]

Step = Callable[[], None]
"""Computes from tensors that stay where they are into tensors that stay where they are."""
Capture = Callable[[Step], Step]
"""Gives what does again, on the same tensors, what a step does; the step itself may have been run."""


def uncaptured(step: Step) -> Step:
    """The step itself, computed anew each time."""
    return step


def cuda_graphs(device: torch.device) -> Capture:
    """Records steps on a GPU; all of them share memory, as none runs while another one does."""
    pool = torch.cuda.graph_pool_handle()

    def capture(step: Step) -> Step:
        with torch.cuda.device(device):
            step()  # libraries make what they need at the first call, which must not be recorded
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.device(device), torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
            step()
        return graph.replay

    return capture


def capture_for(wanted: Graph, device: torch.device) -> Capture | None:
    """What `graph=` of a model stands for on a device; None where single tokens are computed like all others."""
    if wanted == "static":
        return uncaptured
    return cuda_graphs(device) if wanted == "auto" and device.type == "cuda" else None
