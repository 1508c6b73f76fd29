"""Requests of several streams as one forward: padding, places in the shared buffer, positions and mask."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicLayer

from simulst.encoders.block_causal_batch import Push
from simulst.translators.stream_cache import Slab, StreamCache

PADDING = 2.0
"""A request goes with longer ones, and rows with idle ones between them, up to this multiple of its own cost."""


@dataclass(kw_only=True, eq=False)
class Request:
    """What a stream waits for: a decoder forward or an encoder step."""

    cache: StreamCache | None = None
    embeds: Tensor | None = None
    positions: Sequence[int] = ()
    record: bool = False
    score: bool = False
    push: Push | None = None
    result: Any = None
    error: BaseException | None = None
    done: bool = False

    @property
    def length(self) -> int:
        return len(self.positions)


class GroupLayer(DynamicLayer):  # type: ignore[misc]
    """One layer of several rows of a slab, for one forward over new entries of each."""

    def __init__(self, slab: Slab, layer: int, group: "Group") -> None:
        self.slab, self.layer, self.group = slab, layer, group
        self.is_initialized = True

    def get_seq_length(self, *_: Any) -> int:
        return self.group.longest

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        g = self.group
        self.slab.reserve(self.layer, g.total, key_states, value_states)
        keys, values = self.slab.keys[self.layer], self.slab.values[self.layer]
        keys[g.rows, :, g.places] = key_states[g.local, :, g.offsets]
        values[g.rows, :, g.places] = value_states[g.local, :, g.offsets]
        return keys[g.first : g.end, :, : g.total], values[g.first : g.end, :, : g.total]


class Group:
    """Decoder requests that share a forward: rows [first, end) of the slab, each with its new entries."""

    def __init__(self, requests: Sequence[Request]) -> None:
        self.requests = requests
        caches = [request.cache for request in requests if request.cache is not None]
        self.first, self.end = min(c.row for c in caches), max(c.row for c in caches) + 1
        self.width = max(request.length for request in requests)
        self.longest = max(map(len, caches))
        self.total = max(len(c) + r.length for c, r in zip(caches, requests, strict=True))
        new = [(c, i) for c, r in zip(caches, requests, strict=True) for i in range(r.length)]
        self.rows = torch.tensor([c.row for c, _ in new])
        self.local = self.rows - self.first
        self.places = torch.tensor([len(c) + i for c, i in new])
        self.offsets = torch.tensor([i for _, i in new])

    def inputs(self) -> tuple[Tensor, Tensor, Tensor]:
        """Embeddings [rows, width, D], positions [rows, width] and mask [rows, 1, width, total]."""
        size = self.end - self.first
        like = self.requests[0].embeds
        assert like is not None
        embeds = like.new_zeros(size, self.width, like.shape[1])
        positions = torch.zeros(size, self.width, dtype=torch.long)
        seen = torch.zeros(size, self.width, dtype=torch.long)
        for request in self.requests:
            assert request.cache is not None and request.embeds is not None
            row = request.cache.row - self.first
            embeds[row, : request.length] = request.embeds
            positions[row, : request.length] = torch.tensor(list(request.positions))
            seen[row] = len(request.cache) + torch.arange(self.width).clamp(max=request.length - 1)
        hidden = torch.arange(self.total) > seen[..., None]
        mask = torch.zeros(hidden.shape, dtype=like.dtype).masked_fill(hidden, torch.finfo(like.dtype).min)
        return embeds, positions.to(like.device), mask[:, None].to(like.device)


def grouped(requests: Sequence[Request]) -> list[list[Request]]:
    """Requests of like length together, so that neither padding nor idle rows between them cost much."""
    groups = list[list[Request]]()
    for request in sorted(requests, key=lambda one: -one.length):
        group = groups[-1] if groups else None
        if group and group[0].length <= PADDING * request.length:
            group.append(request)
        else:
            groups.append([request])
    return groups
