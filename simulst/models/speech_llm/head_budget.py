"""Cache entries by head (DuoAttention, 2410.10819): retrieval heads hold all that is kept, streaming heads the first
entries and the newest.

Every entry keeps its position, so a streaming head sees at the distances of training whatever it does not hold.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from simulst.errors import ModelError
from simulst.models.attention import Head
from simulst.models.speech_llm.cache import RowLayer, attended
from simulst.models.speech_llm.rotary import Rotary
from simulst.models.speech_llm.slab import Slab
from simulst.models.speech_llm.written import WrittenDecoder

SPARE = 16
"""Entries beyond the newest that stay for a while, so that what is taken back leaves no gap."""


@dataclass(frozen=True, kw_only=True)
class HeadBudget:
    """What streaming heads hold."""

    streaming: frozenset[Head]
    """Heads of keys: layer and head."""
    first: int
    """Oldest entries, the prompt among them."""
    recent: int
    """Newest entries, that of the query among them."""

    def layers_of(self, written: WrittenDecoder | None) -> Callable[[int], RowLayer]:
        """Makes the layers of a cache; ModelError for a decoder that is not written out."""
        if written is None:
            raise ModelError("A budget by head needs a decoder of plain Llama layers; use history.method = turns.")
        heads, key_heads = written.heads, written.key_heads
        return lambda layer: BudgetedLayer(layer, self, heads=heads, key_heads=key_heads)


class BudgetedLayer(RowLayer):
    """One layer of one stream: a row of the retrieval heads, and a shorter one of the streaming heads."""

    def __init__(self, layer: int, budget: HeadBudget, *, heads: int, key_heads: int) -> None:
        super().__init__(Slab(), 0, layer)
        self.budget = budget
        self.whole, self.part = RowLayer(Slab(), 0, layer), RowLayer(Slab(), 0, layer)
        self.held: list[int] = []
        """Numbers of the entries in `part`."""
        short = [(layer, head) in budget.streaming for head in range(key_heads)]
        group = heads // key_heads
        self.of_whole = [head for head in range(key_heads) if not short[head]]
        self.of_part = [head for head in range(key_heads) if short[head]]
        self._rows = tuple(
            (row, [head for head in range(heads) if head // group in own])
            for row, own in ((self.whole, self.of_whole), (self.part, self.of_part))
            if own
        )

    @property
    def keys(self) -> Tensor:
        """[1, heads, entries, dim], zeros for what is not held."""
        return self._joined(self.whole.keys, self.part.keys)

    @property
    def values(self) -> Tensor:
        return self._joined(self.whole.values, self.part.values)

    @property
    def stored(self) -> int:
        """Keys that are held, one a head and entry."""
        return self.length * len(self.of_whole) + len(self.held) * len(self.of_part)

    def _joined(self, whole: Tensor, part: Tensor) -> Tensor:
        count = bisect_left(self.held, self.length)
        joined = whole.new_zeros(1, len(self.of_whole) + len(self.of_part), self.length, whole.shape[3])
        joined[:, self.of_whole] = whole[:, :, : self.length]
        for at, head in enumerate(self.of_part):
            joined[0, head, self.held[:count]] = part[0, at, :count]
        return joined

    def write(self, start: int, keys: Tensor, values: Tensor) -> None:
        del self.held[bisect_left(self.held, start) :]
        self._forget()
        self.whole.write(start, keys[:, self.of_whole], values[:, self.of_whole])
        self.part.write(len(self.held), keys[:, self.of_part], values[:, self.of_part])
        self.length = start + keys.shape[2]
        self.held += range(start, self.length)

    def _forget(self) -> None:
        """Make room in the shorter row, seldom and for several entries at once."""
        first, newest = self.budget.first, self.budget.recent + SPARE
        if len(self.held) <= first + newest + SPARE:
            return
        old = len(self.held) - newest
        index = [i for i, number in enumerate(self.held) if number < first or i >= old]
        chosen = torch.tensor(index, device=self.part.keys.device)
        self.part.write(0, self.part.keys.index_select(2, chosen), self.part.values.index_select(2, chosen))
        self.held = [self.held[i] for i in index]

    def keep(self, index: Sequence[int], rotary: Rotary, old: Sequence[int], new: Sequence[int]) -> None:
        place = {number: i for i, number in enumerate(index)}
        inside = [i for i, number in enumerate(self.held) if number in place]
        at = [place[self.held[i]] for i in inside]
        self.whole.keep(index, rotary, old, new)
        self.part.keep(inside, rotary, [old[i] for i in at], [new[i] for i in at])
        self.held, self.length = at, len(index)

    def attend(self, queries: Tensor, mask: Tensor | None) -> Tensor:
        found = torch.empty_like(queries)
        for row, heads in self._rows:
            seen = mask if row is self.whole else self._seen(queries.shape[2], queries.device)
            found[:, heads] = attended(queries[:, heads], row.keys, row.values, seen)
        return found

    def _seen(self, count: int, device: torch.device) -> Tensor:
        """Which held entries the newest `count` see, [count, held]."""
        held = torch.tensor(self.held, device=device)
        own = torch.arange(self.length - count, self.length, device=device)[:, None]
        return (held <= own) & ((held < self.budget.first) | (held > own - self.budget.recent))
