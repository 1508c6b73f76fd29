"""Threads for model work: jobs of all clients in the order they come, and a way on when one never returns."""

import asyncio
import queue
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Generic, Protocol, TypeVar

from simulst.errors import loses_device

T = TypeVar("T")


class Stalled(Exception):
    """A job took longer than it may; its thread is given up."""


class _Runnable(Protocol):
    """A job, whatever its result."""

    abandoned: bool

    @property
    def cancelled(self) -> bool: ...
    def run(self) -> None: ...


class _Job(Generic[T]):
    def __init__(self, work: Callable[[], T], loop: asyncio.AbstractEventLoop) -> None:
        self.work = work
        self.loop = loop
        self.future: asyncio.Future[T] = loop.create_future()
        self.started: float | None = None
        self.abandoned = False

    @property
    def cancelled(self) -> bool:
        return self.future.cancelled()

    def run(self) -> None:
        self.started = time.monotonic()
        try:
            settle = partial(self.future.set_result, self.work())
        except BaseException as error:
            settle = partial(self.future.set_exception, error)
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self._settle, settle)

    def _settle(self, settle: Callable[[], None]) -> None:
        if not self.future.done():
            settle()


class Pool:
    """`workers` threads; a job that runs longer than `patience_s` raises Stalled and its thread is replaced.

    After a job whose error leaves the model's device useless for this process, `lost` says which, and `on_lost` is
    called.
    """

    def __init__(self, workers: int, *, patience_s: float = 60.0, on_lost: Callable[[], None] = lambda: None) -> None:
        self.patience_s = patience_s
        self.lost: BaseException | None = None
        self._on_lost = on_lost
        self._jobs: queue.SimpleQueue[_Runnable | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        for _ in range(workers):
            self._start()

    def _start(self) -> None:
        thread = threading.Thread(target=self._serve, name="simulst-live", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _serve(self) -> None:
        while (job := self._jobs.get()) is not None:
            if not job.cancelled:
                job.run()
            if job.abandoned:
                return  # another thread has taken this one's place
            del job  # else its stream would stay in memory until the next one comes

    def _look_at(self, error: BaseException | None) -> None:
        if error is not None and loses_device(error):
            self.lost = error
            self._on_lost()

    @property
    def spare(self) -> bool:
        """Nobody waits for a thread."""
        return self._jobs.empty()

    async def run(self, work: Callable[[], T]) -> T:
        """The result of `work()`, computed in a thread; cancelling the wait does not end a job that has begun."""
        job = _Job(work, asyncio.get_running_loop())
        self._jobs.put(job)
        try:
            while True:
                done, _ = await asyncio.wait({job.future}, timeout=self.patience_s / 4)
                if done:
                    self._look_at(job.future.exception())
                    return job.future.result()
                if job.started is not None and time.monotonic() - job.started > self.patience_s:
                    job.abandoned = True
                    self._start()
                    raise Stalled
        finally:
            del job, work  # a cancelled task keeps this frame, and with it the model's caches

    def close(self, within_s: float = 5.0) -> None:
        """End the threads, waiting for what they do: a process must not exit under a model at work."""
        while not self._jobs.empty():
            self._jobs.get()
        for _ in self._threads:
            self._jobs.put(None)
        until = time.monotonic() + within_s
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
