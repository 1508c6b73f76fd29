"""Several streams of one speech LLM decoded together: one forward for all that wait for one.

Every stream runs in a thread of its own and is written as if it were alone: session, policy and search do not know of
the others. Whenever no stream is left that could still come, one of those that wait for the decoder computes for all of
them, and at the same time one for those that wait for the encoder: two processors are at work with a thread each. New
entries of all streams go through the decoder one after the other without padding (`batch_group`); every stream has its
own cache, positions and visibility, so it says what it says alone.

    batcher = Batcher(model, streams=8)
    texts = batcher.map(lambda model, audio: translate(model, audio), recordings)

`map` keeps `streams` jobs going. Servers that have their own threads wrap what a thread does for one piece of audio in
`with batcher.stream():`, pass `batcher.translator` to their sessions, and give a `wait_s` after which those that wait
go ahead without the others.
"""

import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from simulst.core.translator import Translator
from simulst.errors import ModelError
from simulst.models.speech_llm.batch_group import Pack, Request, prepare
from simulst.models.speech_llm.cache import Fed, Slab, StreamCache, Tally
from simulst.models.speech_llm.compute import Computed, Direct
from simulst.models.speech_llm.encoder import EncoderState
from simulst.models.speech_llm.encoder_batch import Push, step_many

T = TypeVar("T")
U = TypeVar("U")


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
class Lane:
    """Requests of one kind: those that wait, and how many are being computed."""

    compute: Callable[[list[Request]], None]
    waiting: list[Request] = field(default_factory=list)
    computing: int = 0


class _Inside(threading.local):
    """Whether a thread is inside `Batcher.stream`."""

    yes = False


class Batcher:
    """Computes for all streams that wait; implements `compute.Compute` and `cache.Forward`.

    `translator` is the one whose sessions meet here. ModelError for a translator that nothing else can compute for.
    """

    def __init__(self, translator: Translator, *, streams: int, wait_s: float | None = None) -> None:
        if streams < 1:
            raise ModelError(f"A batch has at least one stream, not {streams}.")
        if not isinstance(translator, Computed):
            raise ModelError(f"Model {translator.name} cannot decode several streams together; only speech LLMs can.")
        self.streams, self.wait_s = streams, wait_s
        self.stats = BatchStats()
        self.weights = translator.weights
        self.translator = translator.computed_by(self)
        self._direct = Direct(self.weights)
        prepare(self.weights.model.decoder)
        self._slab, self._free = Slab(0), list[int]()
        self._turn = threading.Condition(self._slab.lock)
        self._encoding, self._decoding = Lane(compute=self._encode), Lane(compute=self._decode)
        self._active = 0
        self._inside = _Inside()

    # -- caches in rows of one slab ---------------------------------------------------------------------------------

    def new_cache(self, tally: Tally) -> StreamCache:
        """An empty cache in a free row; the row is free again once nobody holds the cache."""
        weights = self.weights
        with self._turn:
            if not self._free:
                self._free = list(range(self._slab.rows, self._slab.rows + self.streams))
                self._slab.rows += self.streams
            row = self._free.pop(0)
        cache = StreamCache(
            self,
            weights.attention.layers,
            rotary=weights.rotary,
            tally=tally,
            slab=self._slab,
            row=row,
            forgets=weights.options.cache == "none",
        )
        weakref.finalize(cache, self._release, row)
        return cache

    def _release(self, row: int) -> None:
        with self._turn:
            self._free = sorted([*self._free, row])

    # -- streams meet -----------------------------------------------------------------------------------------------

    @contextmanager
    def stream(self) -> Iterator[Translator]:
        """What this thread does inside is waited for by the others."""
        if self._inside.yes:
            yield self.translator
            return
        with self._turn:
            self._active += 1
        self._inside.yes = True
        try:
            yield self.translator
        finally:
            self._inside.yes = False
            with self._turn:
                self._active -= 1
                self._turn.notify_all()

    def __call__(
        self, cache: StreamCache, embeds: Tensor, positions: Sequence[int], *, record: bool, score: bool
    ) -> Fed:
        request = Request(cache=cache, embeds=embeds, positions=positions, record=record, score=score)
        found: Fed = self._ask(request)
        return found

    def hear(self, samples: Tensor, state: EncoderState, *, is_final: bool = False) -> tuple[Tensor, list[int]]:
        """Speech vectors and CTC tokens of one stream."""
        heard: tuple[Tensor, list[int]] = self._ask(Request(push=Push(samples=samples, state=state, is_final=is_final)))
        return heard

    def forget(self, state: EncoderState, vectors: int) -> None:
        """An encoder state does not grow."""

    def _ask(self, request: Request) -> Any:
        lane = self._encoding if request.push is not None else self._decoding
        if not self._inside.yes:
            self._compute(Lane(compute=lane.compute), [request])
        elif mine := self._wait(lane, request):
            self._compute(lane, mine)
        if request.error is not None:
            raise request.error
        return request.result

    def _wait(self, lane: "Lane", request: Request) -> list[Request]:
        """Wait until somebody has computed the request, or until it is this thread that does, for these requests."""
        with self._turn:
            lane.waiting.append(request)
            if not self._running:
                self._turn.notify_all()
            patient = True
            while not request.done:
                if lane.waiting and not lane.computing and not (patient and self._running):
                    requests, lane.waiting = lane.waiting, []
                    lane.computing = len(requests)
                    return requests
                patient = self._turn.wait(self.wait_s)
        return []

    @property
    def _running(self) -> int:
        """Streams that neither wait nor are being computed, so that they may come soon."""
        return self._active - sum(len(lane.waiting) + lane.computing for lane in (self._encoding, self._decoding))

    def _compute(self, lane: "Lane", requests: list[Request]) -> None:
        """An error goes to every stream of the forward in which it happened."""
        try:
            with torch.inference_mode():
                lane.compute(requests)
        except BaseException as error:
            for request in requests:
                request.error = error
        with self._turn:
            for request in requests:
                request.done = True
            lane.computing = 0
            self.stats.forwards += 1
            self.stats.requests += len(requests)
            self._turn.notify_all()

    def _encode(self, requests: list[Request]) -> None:
        pushes = [request.push for request in requests if request.push is not None]
        frames = step_many(self.weights.model.encoder, pushes)
        vectors, tokens = self.weights.read_frames(torch.cat(frames))
        counts = [len(one) // self.weights.model.config.stack for one in frames]
        at = 0
        for request, count in zip(requests, counts, strict=True):
            request.result = vectors[at : at + count], tokens[at : at + count]
            at += count

    def _decode(self, requests: list[Request]) -> None:
        if len(requests) == 1:
            (one,) = requests
            assert one.cache is not None and one.embeds is not None
            one.result = self._direct.forward(one.cache, one.embeds, one.positions, record=one.record, score=one.score)
            return
        weights, pack = self.weights, Pack(requests, self._slab)
        recording: AbstractContextManager[dict[int, Tensor]] = nullcontext({})
        if any(request.record for request in requests):
            recording = weights.attention.recording()
        with pack, recording as queries:
            hidden = weights.model.decoder.model(**pack.inputs(weights.attention.layers)).last_hidden_state[0]
        scored = [index for index, request in enumerate(pack.order) if request.score]
        last = torch.tensor([pack.ends[index] - 1 for index in scored], dtype=torch.long, device=hidden.device)
        scores = dict(zip(scored, weights.model.output.scores(hidden[last]), strict=True))
        for index, request in enumerate(pack.order):
            assert request.cache is not None
            part = slice(pack.start(index), pack.ends[index])
            request.cache.appended(request.positions)
            found = {layer: q[:, part] for layer, q in queries.items()} if request.record else {}
            request.result = Fed(
                hidden=hidden[part], queries=found, logits=scores[index][None] if request.score else None
            )

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
