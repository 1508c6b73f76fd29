"""Items through one process or several; what one item or one worker does wrong stays with it."""

import multiprocessing
import os
import signal
import sys
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from simulst.errors import SimulstError
from simulst.eval.datasets import Item
from simulst.eval.logs import Instance

Translate = Callable[[Item], Instance]

DEATHS = 2
"""An item that was at work in this many workers when they died is given up."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one item; `error` is "" where it has an instance."""

    item: Item
    instance: Instance | None = None
    error: str = ""
    trace: str = ""

    def record(self) -> dict[str, Any]:
        """The line of errors.jsonl."""
        found = {"index": self.item.index, "source": self.item.name, "where": self.item.where, "error": self.error}
        return found | ({"trace": self.trace} if self.trace else {})


def attempt(translate: Translate, item: Item) -> Outcome:
    """The item translated, or why not."""
    try:
        return Outcome(item=item, instance=translate(item))
    except SimulstError as error:
        return Outcome(item=item, error=str(error))
    except Exception as error:
        return Outcome(item=item, error=f"{type(error).__name__}: {error}", trace=traceback.format_exc(limit=-6))


def set_threads(count: int) -> None:
    """Threads of the model in this process; of its libraries only those that are loaded."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(count)


def run_here(items: Sequence[Item], load: Callable[[], Translate]) -> Iterator[Outcome]:
    """One after the other in this process."""
    translate = load()
    for item in items:
        yield attempt(translate, item)


def run_workers(
    items: Sequence[Item], load: Callable[[], Translate], *, workers: int, share: bool, threads: int = 1
) -> Iterator[Outcome]:
    """In several processes, longest items first; outcomes come as they are ready.

    With `share` the model is loaded once and forked, so that its weights lie in memory once; without it every worker
    loads its own (a GPU cannot be forked).
    """
    queue = deque(sorted(items, key=lambda item: -item.audio_s))
    pool = _Pool(load, share=share, threads=threads)
    deaths: dict[int, int] = {}
    try:
        for _ in range(min(workers, len(queue))):
            pool.start(queue.popleft())
        while pool.working:
            for worker, outcome in pool.ready():
                if outcome is None:
                    item = worker.item
                    deaths[item.index] = deaths.get(item.index, 0) + 1
                    if deaths[item.index] < DEATHS:
                        queue.appendleft(item)
                    else:
                        yield Outcome(item=item, error=f"The worker process died on it {DEATHS} times ({worker.end}).")
                    if queue:
                        pool.start(queue.popleft())
                    continue
                pool.give(worker, queue.popleft() if queue else None)
                yield outcome
    finally:
        pool.stop()


class _Worker:
    """A process, the pipe to it, and the item it is at."""

    def __init__(self, pool: "_Pool", item: Item) -> None:
        self.pipe, theirs = pool.context.Pipe()
        life = (theirs, self.pipe, pool.load, pool.translate, pool.threads)
        self.process = pool.context.Process(target=_work, args=life, daemon=True)
        self.process.start()
        theirs.close()
        self.item = item
        self.pipe.send(item)

    @property
    def end(self) -> str:
        self.process.join(5)
        code = self.process.exitcode
        return f"signal {signal.Signals(-code).name}" if code is not None and code < 0 else f"exit status {code}"


class _Pool:
    def __init__(self, load: Callable[[], Translate], *, share: bool, threads: int) -> None:
        self.load, self.threads = load, threads
        self.translate = load() if share else None
        self.context: Any = multiprocessing.get_context("fork" if share else "spawn")
        self.working: list[_Worker] = []

    def start(self, item: Item) -> None:
        self.working.append(_Worker(self, item))

    def give(self, worker: _Worker, item: Item | None) -> None:
        """The next item, or the end."""
        if item is None:
            self.working.remove(worker)
            self._end(worker)
            return
        worker.item = item
        try:
            worker.pipe.send(item)
        except OSError:
            return  # it died in between: `ready` finds out

    def ready(self) -> Iterator[tuple[_Worker, Outcome | None]]:
        """Workers that have finished their item, or died on it (None); waits for the first."""
        pipes = {worker.pipe: worker for worker in self.working}
        for pipe in wait(list(pipes)):
            worker = pipes[pipe]
            try:
                yield worker, worker.pipe.recv()
            except (EOFError, OSError):
                self.working.remove(worker)
                worker.pipe.close()
                yield worker, None

    def stop(self) -> None:
        """Ends idle workers and breaks off the others; what they were at is done again later."""
        for worker in self.working:
            worker.process.terminate()
        for worker in self.working:
            worker.process.join(2)
            if worker.process.is_alive():
                worker.process.kill()

    @staticmethod
    def _end(worker: _Worker) -> None:
        try:
            worker.pipe.send(None)
        except OSError:
            pass
        worker.pipe.close()


def _work(
    pipe: Connection, parents: Connection, load: Callable[[], Translate], translate: Translate | None, threads: int
) -> None:
    """The life of a worker: it ends when the pipe does, so none outlives a killed parent by more than an item."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    parents.close()
    try:
        ready = translate or _loaded(load)
        set_threads(threads)
        while (item := pipe.recv()) is not None:
            pipe.send(attempt(ready, item))
    except (EOFError, OSError):
        pass
    finally:
        sys.stderr.flush()
        os._exit(0)


def _loaded(load: Callable[[], Translate]) -> Translate:
    """The model, or what answers every item with the reason why there is none."""
    try:
        return load()
    except Exception as error:
        reason = error

        def refuse(item: Item) -> Instance:
            raise reason

        return refuse
