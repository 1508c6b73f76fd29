"""Items through one process or several; a failure of one item or worker does not touch the others."""

import contextlib
import math
import multiprocessing
import os
import signal
import sys
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, wait

from simulst.errors import SimulstError, loses_device
from simulst.eval.data import Item
from simulst.eval.logs.instances import Instance

Translate = Callable[[Item], Instance]

Work = Callable[[Iterable[Item]], Iterator["Outcome"]]
"""Items to outcomes, in any order, as they are ready."""

DEATHS = 2
"""An item that was at work in this many workers when they died is given up."""


DEVICE_LOST = 70
"""Exit status of a worker whose device failed."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one item; `error` is "" where it has an instance."""

    item: Item
    instance: Instance | None = None
    error: str = ""
    trace: str = ""
    lost: bool = False
    """The device failed, so every item after it would fail in this process too."""

    def record(self) -> dict[str, object]:
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
        trace, lost = traceback.format_exc(limit=-6), loses_device(error)
        return Outcome(item=item, error=f"{type(error).__name__}: {error}", trace=trace, lost=lost)


def set_threads(count: int) -> None:
    """Threads of the model in this process; of its libraries only those that are loaded."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(count)


def run_here(items: Iterable[Item], translate: Translate) -> Iterator[Outcome]:
    """One after the other."""
    for item in items:
        yield attempt(translate, item)


def run_workers(
    items: Sequence[Item], load: Callable[[], Work], *, workers: int, share: bool, threads: int = 1, batch: int = 1
) -> Iterator[Outcome]:
    """In several processes that have up to `batch` items each, longest items first; outcomes come as they are ready.

    With `share` the model is loaded once and its memory shared by forking; without it every worker
    loads its own (a GPU cannot be forked).
    """
    pool = _Pool(load, share=share, threads=threads)
    queue = _Queue(items, batch=max(1, min(batch, math.ceil(len(items) / workers))))
    try:
        for _ in range(workers):
            pool.start(queue.take(busy=0))
        while pool.working:
            for worker, outcome in pool.ready():
                if outcome is not None:
                    del worker.items[outcome.item.index]
                    pool.give(worker, queue.take(busy=len(worker.items)))
                    yield outcome
                    continue
                for item in worker.items.values():
                    if queue.died(item):
                        yield Outcome(item=item, error=f"The worker process died on it {DEATHS} times ({worker.end}).")
                pool.start(queue.take(busy=0))
    finally:
        pool.stop()


class _Queue:
    """What is still to be given out. Items that were at work when a worker died go alone the next time."""

    def __init__(self, items: Sequence[Item], *, batch: int) -> None:
        self._items = deque(sorted(items, key=lambda item: -item.audio_s))
        self._batch = batch
        self._suspects: deque[Item] = deque()
        self._deaths: Counter[int] = Counter()

    def take(self, *, busy: int) -> list[Item]:
        """For a worker that has `busy` items."""
        if self._suspects:
            return [] if busy else [self._suspects.popleft()]
        return [self._items.popleft() for _ in range(min(self._batch - busy, len(self._items)))]

    def died(self, item: Item) -> bool:
        """Whether the item is given up."""
        self._deaths[item.index] += 1
        if self._deaths[item.index] < DEATHS:
            self._suspects.append(item)
            return False
        return True


class _Worker:
    """A process, the pipe to it, and the items it is at."""

    def __init__(self, pool: "_Pool", items: Sequence[Item]) -> None:
        self.pipe, theirs = pool.context.Pipe()
        life = (theirs, self.pipe, pool.load, pool.work, pool.threads)
        self.process = pool.context.Process(target=_work, args=life, daemon=True)
        self.process.start()
        theirs.close()
        self.items: dict[int, Item] = {}
        self.send(items)

    def send(self, items: Sequence[Item]) -> None:
        self.items |= {item.index: item for item in items}
        with contextlib.suppress(OSError):  # it died in between: `ready` finds out
            for item in items:
                self.pipe.send(item)

    @property
    def end(self) -> str:
        self.process.join(5)
        code = self.process.exitcode
        return f"signal {signal.Signals(-code).name}" if code is not None and code < 0 else f"exit status {code}"


class _Pool:
    def __init__(self, load: Callable[[], Work], *, share: bool, threads: int) -> None:
        self.load, self.threads = load, threads
        self.work = load() if share else None
        self.context = multiprocessing.get_context("fork") if share else multiprocessing.get_context("spawn")
        self.working: list[_Worker] = []

    def start(self, items: Sequence[Item]) -> None:
        if items:
            self.working.append(_Worker(self, items))

    def give(self, worker: _Worker, items: Sequence[Item]) -> None:
        """The next items, or the end."""
        if items or worker.items:
            worker.send(items)
            return
        self.working.remove(worker)
        self._end(worker)

    def ready(self) -> Iterator[tuple[_Worker, Outcome | None]]:
        """Workers that have finished an item, or died (None); waits for the first."""
        ready = wait([worker.pipe for worker in self.working])
        for worker in [one for one in self.working if one.pipe in ready]:
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


def _work(pipe: Connection, parents: Connection, load: Callable[[], Work], work: Work | None, threads: int) -> None:
    """The life of a worker: it ends when the pipe does, so none outlives a killed parent by more than an item, and when
    its device fails, so that another one takes its place."""
    status = 0
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    parents.close()
    try:
        ready = work or _loaded(load)
        set_threads(threads)
        for outcome in ready(_received(pipe)):
            if outcome.lost:
                print(outcome.trace, file=sys.stderr)
                status = DEVICE_LOST
                return
            pipe.send(outcome)
    except OSError:
        pass
    finally:
        sys.stderr.flush()
        os._exit(status)


def _received(pipe: Connection) -> Iterator[Item]:
    try:
        while (item := pipe.recv()) is not None:
            yield item
    except (EOFError, OSError):
        return


def _loaded(load: Callable[[], Work]) -> Work:
    """The model at work, or what answers every item with the reason why there is none."""
    try:
        return load()
    except Exception as error:
        reason = error

        def refuse(item: Item) -> Instance:
            raise reason

        return partial(run_here, translate=refuse)
