"""How far a run is, in audio seconds, on stderr: one line that moves on a terminal, else a line now and then."""

import sys
import time
from typing import Protocol, TextIO

from simulst.eval.run.pool import Outcome
from simulst.sinks.clock import clock

EVERY_S = 15.0
"""Between two lines where nobody watches."""


class Progress(Protocol):
    def begin(self, name: str, *, items: int, done: int, audio_s: float) -> None: ...
    def step(self, outcome: Outcome) -> None: ...
    def end(self) -> None: ...


class NoProgress:
    def begin(self, name: str, *, items: int, done: int, audio_s: float) -> None: ...
    def step(self, outcome: Outcome) -> None: ...
    def end(self) -> None: ...


class StderrProgress:
    """`items` and `done` count the whole run, `audio_s` what is still to be heard in this process."""

    def __init__(self, stream: TextIO | None = None, *, every_s: float = EVERY_S) -> None:
        self._out = sys.stderr if stream is None else stream
        self._moves = self._out.isatty()
        self._every_s = 0.2 if self._moves else every_s

    def begin(self, name: str, *, items: int, done: int, audio_s: float) -> None:
        self._name, self._items, self._done, self._total_s = name, items, done, audio_s
        self._heard_s, self._failed, self._count, self._printed = 0.0, 0, 0, 0
        self._began = self._shown = time.monotonic()
        if done:
            self._print(f"{name}: resuming after {done} of {items}")

    def step(self, outcome: Outcome) -> None:
        self._count += 1
        if self._count == 1:  # what came before the first item was loading
            self._began = min(time.monotonic(), max(self._began, time.monotonic() - _computing_s(outcome)))
        self._heard_s += outcome.item.audio_s
        self._done += not outcome.error
        self._failed += bool(outcome.error)
        if outcome.error:
            self._print(f"{outcome.item.where or outcome.item.name}: {outcome.error}")
        if time.monotonic() - self._shown >= self._every_s:
            self._shown = time.monotonic()
            self._printed = self._count
            self._out.write(f"\r\x1b[2K{self.line()}" if self._moves else f"{self.line()}\n")
            self._out.flush()

    def end(self) -> None:
        if self._count and (self._moves or self._printed < self._count):
            self._print(self.line())

    def line(self) -> str:
        """Items, audio, speed and what is left."""
        wall_s = max(1e-6, time.monotonic() - self._began)
        speed = self._heard_s / wall_s
        left_s = max(0.0, self._total_s - self._heard_s) / speed if speed else 0.0
        failed = f", {self._failed} failed" if self._failed else ""
        heard, total, left = (clock(round(seconds)) for seconds in (self._heard_s, self._total_s, left_s))
        return (
            f"{self._name}: {self._done} of {self._items}{failed}, {heard} of {total} audio, "
            f"{speed:.1f}x real time, {left} left"
        )

    def _print(self, line: str) -> None:
        self._out.write(f"\r\x1b[2K{line}\n" if self._moves else f"{line}\n")
        self._out.flush()


def _computing_s(outcome: Outcome) -> float:
    chunks = outcome.instance.chunks if outcome.instance is not None else ()
    return sum(compute_ms for _, compute_ms in chunks) / 1000
