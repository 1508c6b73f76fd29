"""One recogniser that several text models listen to: it hears every piece once, and each of them gets what it said."""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from simulst.core.events import Event
from simulst.core.translator import FloatArray
from simulst.errors import ModelError

REMEMBERED = 4
"""Calls; listeners in step need three: the last piece, the end, and the beginning of what comes after it."""


class Listening(Protocol):
    """What a cascade hears with."""

    def feed(self, samples: FloatArray, /) -> Sequence[Event]: ...

    def finish(self) -> Sequence[Event]: ...

    def reset(self) -> None: ...


class Room:
    """A session of the recogniser, and what its last calls brought."""

    def __init__(self, session: Listening) -> None:
        self.session = session
        self._calls = 0
        self._said: deque[Sequence[Event]] = deque(maxlen=REMEMBERED)

    def call(self, number: int, act: Callable[[], Sequence[Event]]) -> Sequence[Event]:
        """What the call of that number brought; the first who makes it has it done."""
        if number == self._calls:
            self._said.append(act())
            self._calls += 1
        behind = self._calls - number
        if not 1 <= behind <= len(self._said):
            raise ModelError("Several targets of one stream have to hear it in step.")
        return self._said[-behind]


class Ear:
    """The recogniser as one listener hears it."""

    def __init__(self, room: Room) -> None:
        self._room, self._calls = room, 0

    def feed(self, samples: FloatArray, /) -> Sequence[Event]:
        return self._call(lambda: self._room.session.feed(samples))

    def finish(self) -> Sequence[Event]:
        return self._call(self._room.session.finish)

    def reset(self) -> None:
        self._call(self._begin_anew)

    def _begin_anew(self) -> Sequence[Event]:
        self._room.session.reset()
        return ()

    def _call(self, act: Callable[[], Sequence[Event]]) -> Sequence[Event]:
        said = self._room.call(self._calls, act)
        self._calls += 1
        return said


class Rooms:
    """A room for every stream, in the order in which they come."""

    def __init__(self, listen: Callable[[], Listening]) -> None:
        self._listen = listen
        self._rooms: dict[int, Room] = {}

    def enter(self, number: int) -> Ear:
        """A seat in the room of that number; the ones before the last are closed."""
        if number not in self._rooms:
            self._rooms = {known: room for known, room in self._rooms.items() if known == number - 1}
            self._rooms[number] = Room(self._listen())
        return Ear(self._rooms[number])
