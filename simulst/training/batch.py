"""Samples of the decoder's training as tensors of one step."""

from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from simulst.training import grouped
from simulst.training.computing import Computing
from simulst.training.sample import Sample


@dataclass(kw_only=True)
class Batch:
    """Tensors of one step: ids [N, S] (0 where speech or padding), stacked vectors [M, width] in bfloat16."""

    ids: Tensor
    is_speech: Tensor
    """[N, S]"""
    stacked: Tensor
    rows: Tensor
    """Entries, counted over [N, S], that predict a token which counts, [T]; that token in `targets`, its weight in
    `weights`."""
    targets: Tensor
    weights: Tensor
    lengths: list[int]
    """Vectors per speech sample, in row order."""
    sources: list[list[int] | None]
    positions: Tensor | None = None
    """[N, S] and `mask` [N, 1, S, S], True where attention is allowed, when a sample has group positions."""
    mask: Tensor | None = None

    def on(self, computing: Computing) -> "Batch":
        """The same on the device; copies do not wait where the batch is pinned."""
        if computing.on_cpu:
            return self
        return self._with({name: one.to(computing.device, non_blocking=True) for name, one in self._tensors()})

    def pinned(self) -> "Batch":
        """The same in memory that a GPU copies from without waiting."""
        return self._with({name: one.pin_memory() for name, one in self._tensors()})

    def _tensors(self) -> list[tuple[str, Tensor]]:
        found = ((one.name, vars(self)[one.name]) for one in fields(self))
        return [(name, value) for name, value in found if isinstance(value, Tensor)]

    def _with(self, tensors: dict[str, Tensor]) -> "Batch":
        changed = replace(self)
        vars(changed).update(tensors)
        return changed


def collate(samples: list[Sample], vectors: npt.NDArray[np.uint16] | None, width: int) -> Batch:
    """Samples padded to the longest; their speech out of all `vectors`, which are `width` wide."""
    longest = max(len(s.ids) for s in samples)
    ids = torch.zeros(len(samples), longest, dtype=torch.long)
    is_speech = torch.zeros(len(samples), longest, dtype=torch.bool)
    weights = torch.zeros(len(samples), longest)
    parts: list[npt.NDArray[np.uint16]] = []
    lengths, sources = [], []
    for row, sample in enumerate(samples):
        at = torch.tensor(sample.ids)
        is_speech[row, : len(at)] = at < 0
        ids[row, : len(at)] = torch.where(at < 0, -1 - at, at)
        weights[row, : len(at)] = torch.tensor(sample.weights)
        if sample.vectors is not None and vectors is not None:
            parts.append(np.asarray(vectors[sample.vectors[0] : sample.vectors[1]]))
            lengths.append(len(parts[-1]))
            sources.append(sample.source)
    flat = np.concatenate(parts) if parts else np.zeros((0, width), np.uint16)
    positions, mask = _groups(samples, longest)
    weights[:, 0] = 0  # nothing predicts the first entry
    counted = weights.flatten().nonzero()[:, 0]
    return Batch(
        ids=ids,
        is_speech=is_speech,
        stacked=torch.from_numpy(flat.copy()).view(torch.bfloat16),
        rows=counted - 1,
        targets=ids.flatten()[counted],
        weights=weights.flatten()[counted],
        lengths=lengths,
        sources=sources,
        positions=positions,
        mask=mask,
    )


def _groups(samples: list[Sample], longest: int) -> tuple[Tensor, Tensor] | tuple[None, None]:
    """Positions and mask of a batch in which some samples have group positions."""
    if all(sample.visible is None for sample in samples):
        return None, None
    positions = torch.arange(longest).repeat(len(samples), 1)
    mask = torch.ones(longest, longest, dtype=torch.bool).tril().repeat(len(samples), 1, 1)
    for row, sample in enumerate(samples):
        if sample.visible is not None:
            source, size = len(sample.ids) - len(sample.visible), len(sample.ids)
            positions[row, :size] = grouped.positions(source, len(sample.visible))
            mask[row, :size, :size] = grouped.visibility(source, sample.visible)
    return positions, mask[:, None]
