"""Group position encoding (2505.16983): source and target count their positions apart, so neither moves the other.

Speech that comes is computed over speech alone (READ never touches the target), and a token that is written sees all
speech heard and the text before it (WRITE). Nothing is computed twice but the last committed token, which is fed again
after a READ so that the token after it is predicted with the new speech in sight. Earlier tokens keep the keys they had
when they were written; training with the same visibility (`simulst.training.grouped`) makes the model expect that.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from simulst.core.translator import FloatArray
from simulst.models.decoding import Step
from simulst.models.speech_llm.cache import Fed, StreamCache
from simulst.models.speech_llm.contexts import Rows, SpeechRun, StoredRow
from simulst.models.speech_llm.weights import Weights


class GroupedCache:
    """Source entries at positions 0, 1, 2, ... and after them target entries at `phi`, `phi` + 1, ..."""

    def __init__(self, cache: StreamCache, *, phi: int = 0) -> None:
        self.cache, self.phi = cache, phi
        self.source = 0
        """Number of source entries."""

    @property
    def target(self) -> int:
        return len(self.cache) - self.source

    def read(self, embeds: Tensor, *, record: bool = False) -> Fed:
        """READ: append source entries [n, width], computed over the source alone."""
        held = self.cache.take(self.source)
        fed = self.cache.extend(embeds, range(self.source, self.source + len(embeds)), record=record)
        self.source += len(embeds)
        self.cache.put(held)
        return fed

    def write(self, embeds: Tensor, *, record: bool = False) -> Fed:
        """WRITE: append target entries [n, width], which see the whole source and the target up to themselves."""
        return self.cache.extend(embeds, self.next_positions(len(embeds)), record=record)

    def next_positions(self, count: int) -> range:
        return range(self.phi + self.target, self.phi + self.target + count)

    def pop(self, count: int) -> None:
        """Forget the last `count` target entries."""
        if not 0 <= count <= self.target:
            raise ValueError(f"{count} target entries to forget, there are {self.target}")
        self.cache.crop(len(self.cache) - count)

    def evict_source(self, start: int, end: int) -> None:
        """Forget source entries [start, end); later ones close up, the target stays where it is."""
        self._keep([i for i in range(self.source) if not start <= i < end], range(self.target))

    def evict_target(self, start: int, end: int) -> None:
        """Forget target entries [start, end); later ones close up, the source stays where it is."""
        self._keep(range(self.source), [i for i in range(self.target) if not start <= i < end])

    def _keep(self, source: Sequence[int], target: Sequence[int]) -> None:
        positions = [*range(len(source)), *range(self.phi, self.phi + len(target))]
        self.cache.keep([*source, *(self.source + i for i in target)], positions)
        self.source = len(source)

    def clear_source(self) -> None:
        """Forget the source, keep the target."""
        held = self.cache.take(self.source)
        self.cache.crop(0)
        self.source = 0
        self.cache.put(held)


class GroupedContext:
    """`<sp> v1 .. vk` and `<de> y1 .. yn` in two groups: both stay cached from call to call.

    Rows of committed tokens are those of the time they were written: they did not see newer speech. That is what
    history selection needs (the earliest speech that kept text came from) and no re-check of a decision.
    """

    def __init__(self, weights: Weights, cache: StreamCache) -> None:
        self.weights = weights
        self.grouped = GroupedCache(cache)
        self.ids: list[int] = []
        """Ids of the target entries, the target mark first, and the row of each where one was wanted."""
        self.rows: list[StoredRow | None] = []

    @property
    def heard(self) -> int:
        return max(0, self.grouped.source - 1)

    def begin(
        self, vectors: Tensor, first: int, prefix: Sequence[int], rows: Rows
    ) -> tuple[SpeechRun, Step, FloatArray | None]:
        weights, grouped = self.weights, self.grouped
        if grouped.cache.forgets:
            self._clear()
        self._read(vectors)
        sequence = [weights.target_mark, *prefix]
        reuse = min(_common(self.ids, sequence), len(prefix))
        if rows.wanted:
            reuse = next((i for i in range(reuse) if self.rows[i] is None), reuse)
        grouped.pop(grouped.target - reuse)
        self.first, self.rows = first, self.rows[:reuse]
        run = SpeechRun(weights, grouped.cache, source=(1, grouped.source), rows=replace(rows, every_head=True))
        fresh = sequence[reuse:]
        step, found = run.start(weights.embed(fresh), grouped.next_positions(len(fresh)), text=len(fresh))
        self.ids = sequence
        self._store(found if found is not None else [None] * len(fresh))
        return run, step, self._history(len(prefix), len(vectors)) if rows.wanted else None

    def end(self, run: SpeechRun) -> None:
        self.ids += run.tokens
        self._store(run.token_rows() if run.rows.wanted else [None] * len(run.tokens))

    def _read(self, vectors: Tensor) -> None:
        lead = [] if self.grouped.source else [self.weights.speech_mark]
        pending = torch.cat((self.weights.embed(lead), vectors[self.heard :]))
        if len(pending):
            self.grouped.read(pending)

    def _store(self, rows: "Sequence[FloatArray | None] | FloatArray") -> None:
        self.rows += [None if row is None else StoredRow(first=self.first, weights=row) for row in rows]

    def _history(self, count: int, vectors: int) -> FloatArray:
        heads = len(self.weights.attention.heads)
        placed = [row.over(self.first, vectors) for row in self.rows[:count] if row is not None]
        return np.stack(placed) if placed else np.zeros((0, heads, vectors), dtype=np.float32)

    def drop_source(self, count: int) -> None:
        if self.weights.evicts:
            self.grouped.evict_source(1, 1 + min(count, self.heard))
        else:
            self.grouped.clear_source()

    def drop_target(self, count: int) -> None:
        if self.weights.evicts and len(self.ids) > 1:
            gone = min(count, len(self.ids) - 1)
            self.grouped.evict_target(1, 1 + gone)
            del self.ids[1 : 1 + gone], self.rows[1 : 1 + gone]
        else:
            self._clear_target()

    def _clear_target(self) -> None:
        self.grouped.pop(self.grouped.target)
        self.ids, self.rows = [], []

    def _clear(self) -> None:
        self._clear_target()
        self.grouped.clear_source()


def _common(first: Sequence[int], second: Sequence[int]) -> int:
    return next(
        (i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), min(len(first), len(second))
    )
