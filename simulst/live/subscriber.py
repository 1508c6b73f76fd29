"""Readers of a live stream's events."""

import asyncio
from collections.abc import Mapping
from typing import Protocol

from simulst.live.track import Latest, Track


class Readable(Protocol):
    """A stream that readers follow."""

    subscribers: "set[Subscriber]"
    latest: Latest
    closed: bool


class Subscriber:
    """A reader of tracks of one stream; it holds positions, not a queue, so a slow one costs nothing."""

    def __init__(self, stream: Readable, positions: Mapping[Track, int]) -> None:
        self.stream = stream
        self._positions = dict(positions)
        """Of each track that is read, the last event that was taken."""
        self._shown = {id(one): dict[str, int]() for one in self._latest}
        self._wake = asyncio.Event()
        stream.subscribers.add(self)

    def wake(self) -> None:
        self._wake.set()

    async def take(self) -> list[str]:
        """Messages that are new since the last call, waiting for one; empty once the stream is over and read."""
        while True:
            self._wake.clear()
            batch = self._batch()
            if batch or self.stream.closed:
                return batch
            await self._wake.wait()

    def close(self) -> None:
        self.stream.subscribers.discard(self)

    @property
    def _latest(self) -> list[Latest]:
        return [*(track.latest for track in self._positions), self.stream.latest]

    def _batch(self) -> list[str]:
        batch: list[str] = []
        for track, seq in self._positions.items():
            batch.extend(track.since(seq))
            self._positions[track] = track.seq
        for latest in self._latest:
            shown = self._shown[id(latest)]
            for kind, (version, text) in latest.versions.items():
                if version > shown.get(kind, 0):
                    shown[kind] = version
                    batch.append(text)
        return batch
