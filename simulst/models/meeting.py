"""Where streams that run in threads of their own meet: what several wait for is computed in one go.

Every stream is written as if it were alone. Requests of one kind form a lane. Whenever no stream is left that could
still come, one of those that wait in the fullest lane computes for all in it, and at the same time one for those of
another lane if they are at least half of the streams: few forwards of many streams cost less than many of few. Only
those are woken whose requests are done, and the one that computes next.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

import torch

from simulst.core.translator import Translator
from simulst.errors import ModelError

T = TypeVar("T")
U = TypeVar("U")
R = TypeVar("R", bound="Asked")


@dataclass(kw_only=True, eq=False)
class Asked:
    """What a stream waits for."""

    result: Any = None
    error: BaseException | None = None
    done: bool = False
    turn: threading.Condition | None = None
    """What its thread waits for."""


@dataclass(kw_only=True)
class BatchStats:
    """How well streams meet."""

    forwards: int = 0
    requests: int = 0

    @property
    def mean(self) -> float:
        """Requests per forward."""
        return self.requests / max(1, self.forwards)


@dataclass(kw_only=True)
class Lane(Generic[R]):
    """Requests of one kind: those that wait, and how many are being computed."""

    compute: Callable[[list[R]], None]
    waiting: list[R] = field(default_factory=list)
    computing: int = 0


class _Inside(threading.local):
    """Whether a thread is inside `Meeting.stream`."""

    yes = False


@runtime_checkable
class Meets(Protocol):
    """A translator that knows where its sessions meet."""

    @property
    def meeting(self) -> "Meeting | None": ...


class Meeting:
    """Computes for all streams that wait, at most `streams` at a time.

    `translator` is the one whose sessions meet here. After `wait_s` those that wait go ahead without the others; None:
    they wait for all.
    """

    translator: Translator

    def __init__(self, *, streams: int, wait_s: float | None = None, lock: "threading.RLock | None" = None) -> None:
        if streams < 1:
            raise ModelError(f"A batch has at least one stream, not {streams}.")
        self.streams, self.wait_s = streams, wait_s
        self.stats = BatchStats()
        self._lock = lock or threading.RLock()
        self._active = 0
        self._inside = _Inside()
        self._lanes: Sequence[Lane[Any]] = ()

    def lane(self, compute: Callable[[list[R]], None]) -> Lane[R]:
        """A lane for requests that are computed so."""
        made = Lane(compute=compute)
        self._lanes = (*self._lanes, made)
        return made

    @property
    def computes_any(self) -> bool:
        """Whether there is anything that is computed together."""
        return bool(self._lanes)

    def computes(self, model: Translator) -> bool:
        """Whether sessions of the model, which may be one for another pair of languages, meet here."""
        return model is self.translator or (isinstance(model, Meets) and model.meeting is self)

    # -- streams meet -----------------------------------------------------------------------------------------------

    @contextmanager
    def stream(self) -> Iterator[Translator]:
        """What this thread does inside is waited for by the others."""
        if self._inside.yes:
            yield self.translator
            return
        with self._lock:
            self._active += 1
        self._inside.yes = True
        try:
            yield self.translator
        finally:
            self._inside.yes = False
            with self._lock:
                self._active -= 1
                self._hand_over()

    def ask(self, lane: Lane[R], request: R) -> Any:
        """The result of a request of this thread's stream, computed with those of the others; raises its error."""
        if not self._inside.yes:
            self._compute(Lane(compute=lane.compute), [request])
        elif mine := self._wait(lane, request):
            self._compute(lane, mine)
        if request.error is not None:
            raise request.error
        return request.result

    def _wait(self, lane: Lane[R], request: R) -> list[R]:
        """Wait until somebody has computed the request, or until it is this thread that does, for these requests."""
        with self._lock:
            turn = request.turn = threading.Condition(self._lock)
            lane.waiting.append(request)
            patient = True
            while not request.done:
                if self._ready(lane, patient=patient):
                    requests, lane.waiting = lane.waiting, []
                    lane.computing = len(requests)
                    self._hand_over()
                    return requests
                self._hand_over()
                patient = turn.wait(self.wait_s)
        return []

    def _ready(self, lane: Lane[Any], *, patient: bool = True) -> bool:
        """Whether those that wait in a lane are to be computed now; without patience they are as soon as they can."""
        if not lane.waiting or lane.computing:
            return False
        if not patient:
            return True
        if self._running:
            return False
        if any(other.computing for other in self._lanes):
            return 2 * len(lane.waiting) >= self._active
        return len(lane.waiting) == max(len(other.waiting) for other in self._lanes)

    def _hand_over(self) -> None:
        """Wake the first of those that wait in a lane that is to be computed."""
        ready = next((lane for lane in self._lanes if self._ready(lane)), None)
        if ready is not None and (turn := ready.waiting[0].turn) is not None:
            turn.notify()

    @property
    def _running(self) -> int:
        """Streams that neither wait nor are being computed, so that they may come soon."""
        return self._active - sum(len(lane.waiting) + lane.computing for lane in self._lanes)

    def _compute(self, lane: Lane[R], requests: list[R]) -> None:
        """An error goes to every stream of the forward in which it happened."""
        try:
            with torch.inference_mode():
                lane.compute(requests)
        except BaseException as error:
            for request in requests:
                request.error = error
        with self._lock:
            lane.computing = 0
            self.stats.forwards += 1
            self.stats.requests += len(requests)
            for request in requests:
                request.done = True
                if request.turn is not None:
                    request.turn.notify()
            self._hand_over()

    # -- many jobs --------------------------------------------------------------------------------------------------

    def map(self, job: Callable[[Translator, T], U], items: Iterable[T]) -> list[U]:
        """`job(translator, item)` for every item, `streams` at a time; results in the order of the items.

        The first error ends the run once the jobs that are under way have ended.
        """
        waiting: SimpleQueue[tuple[int, T]] = SimpleQueue()
        for entry in enumerate(items):
            waiting.put(entry)
        count = waiting.qsize()
        shared = _Results[U]()
        size = min(self.streams, count)
        together = threading.Barrier(max(1, size))
        threads = [
            threading.Thread(target=self._work, args=(job, waiting, shared, together), daemon=True) for _ in range(size)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if shared.errors:
            raise shared.errors[0]
        return [shared.found[i] for i in range(count)]

    def _work(
        self,
        job: Callable[[Translator, T], U],
        waiting: "SimpleQueue[tuple[int, T]]",
        shared: "_Results[U]",
        together: threading.Barrier,
    ) -> None:
        with self.stream() as translator:
            together.wait()  # so that the first does not run ahead alone
            while not shared.errors:
                try:
                    index, item = waiting.get_nowait()
                except Empty:
                    return
                try:
                    shared.found[index] = job(translator, item)
                except BaseException as error:
                    shared.errors.append(error)


@dataclass
class _Results(Generic[U]):
    """What the threads of `map` bring together."""

    found: dict[int, U] = field(default_factory=dict)
    errors: list[BaseException] = field(default_factory=list)
