"""Buffers for keys and values, a row for each stream; rows and memory that nobody needs any more go."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

FIRST_CAPACITY = 64


class Slab:
    """Buffers [rows, heads, capacity, head_dim] per layer, made at the first write; `rows` streams, one row each."""

    def __init__(self, rows: int = 1, *, capacity: int = FIRST_CAPACITY) -> None:
        self.rows, self.capacity = rows, capacity
        self.moves = 0
        """How often a buffer moved to a larger or a smaller one."""
        self.lock = threading.RLock()
        self.keys: dict[int, Tensor] = {}
        self.values: dict[int, Tensor] = {}
        self.longest = 0
        """Entries of the longest stream so far."""

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Within it buffers change, and move only as it says itself."""
        with self.lock:
            yield

    def reserve(self, layer: int, length: int, keys: Tensor, values: Tensor) -> None:
        """Room for `length` entries of every row, shaped and placed as these keys and values [.., heads, n, dim]."""
        self.longest = max(self.longest, length)
        for buffers, like in ((self.keys, keys), (self.values, values)):
            old = buffers.get(layer)
            if old is not None and old.shape[2] >= length and len(old) >= self.rows:
                continue
            capacity = max(length, self.capacity if old is None else old.shape[2])
            if old is not None and old.shape[2] < length:
                capacity = max(length, 2 * old.shape[2])
            new = like.new_zeros(self.rows, like.shape[1], capacity, like.shape[3])
            if old is not None:
                new[: len(old), :, : old.shape[2]] = old
            buffers[layer] = new
            self.moves += 1


class SharedSlab(Slab):
    """Rows that streams take and give back; `at_once` more of them, or half as many again, are made when all are
    taken.

    Rows at the end go once they are half of all, and everything once no stream is left. Where it is `lasting`, because
    steps are recorded on its buffers, `at_once` rows stay, as long as the streams needed since it was last empty.
    """

    def __init__(self, *, at_once: int = 1, capacity: int = FIRST_CAPACITY, lasting: bool = False) -> None:
        super().__init__(0, capacity=capacity)
        self.at_once, self.lasting = at_once, lasting
        self._free: list[int] = []
        self._changing, self._given = 0, False

    @contextmanager
    def changing(self) -> Iterator[None]:
        """A row may be given back within it, as the garbage collector comes when it likes: that waits for the end."""
        with self.lock:
            self._changing += 1
            try:
                yield
            finally:
                self._changing -= 1
                self._settle()

    def take(self) -> int:
        """A row without entries; what was in it is gone, as a mask does not hide what is not a number."""
        with self.changing(), torch.inference_mode():
            if not self._free:
                more = max(self.at_once - self.rows if self.rows < self.at_once else self.at_once, self.rows // 2)
                self._free = list(range(self.rows, self.rows + more))
                self.rows += more
            row = self._free.pop(0)
            for buffer in (*self.keys.values(), *self.values.values()):
                buffer[row : row + 1].zero_()
        return row

    def give_back(self, row: int) -> None:
        with self.lock:
            self._free = sorted([*self._free, row])
            self._given = True
            self._settle()

    def _settle(self) -> None:
        """Give back what is not needed any more, unless somebody is in the middle of changing something."""
        if self._changing or not self._given:
            return
        self._given = False
        free = set(self._free)
        used = next((row + 1 for row in reversed(range(self.rows)) if row not in free), 0)
        rows = max(used, self.at_once) if self.lasting else used
        if not used:
            self._cut(rows, self._needed())
            self.longest = 0
        elif 2 * rows <= self.rows:
            self._cut(rows, None)

    def _needed(self) -> int:
        """The capacity that the streams needed since the slab was last empty, grown by doubling."""
        capacity = self.capacity
        while capacity < self.longest:
            capacity *= 2
        return capacity

    def _cut(self, rows: int, capacity: int | None) -> None:
        """Rows from `rows` on go, and room beyond `capacity`."""
        self.rows, self._free = rows, [row for row in self._free if row < rows]
        for buffers in (self.keys, self.values):
            for layer, old in list(buffers.items()):
                new = old[:rows, :, :capacity]
                if not rows:
                    del buffers[layer]
                elif new.shape != old.shape:
                    with torch.inference_mode():
                        buffers[layer] = new.clone()
                self.moves += new.shape != old.shape
