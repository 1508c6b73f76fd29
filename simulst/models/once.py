"""What sessions beside each other ask for with the same source is computed for the first of them alone."""

from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

KeyT = TypeVar("KeyT")
FoundT = TypeVar("FoundT")

REMEMBERED = 2
"""Sources: sessions in step need one, and one more where the end is heard twice."""


class Once(Generic[KeyT, FoundT]):
    """Calls `make` and remembers what came of the last sources; `same` says whether two are equal."""

    def __init__(self, make: Callable[[KeyT], FoundT], same: Callable[[KeyT, KeyT], bool]) -> None:
        self._make, self._same = make, same
        self._made: deque[tuple[KeyT, FoundT]] = deque(maxlen=REMEMBERED)

    def __call__(self, source: KeyT) -> FoundT:
        for known, found in tuple(self._made):
            if self._same(known, source):
                return found
        found = self._make(source)
        self._made.append((source, found))
        return found
