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

from collections.abc import Callable, Hashable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import torch
from torch import Tensor

from simulst.core.translator import FloatArray, Translator
from simulst.errors import ModelError
from simulst.models.decoding import Candidate
from simulst.models.meeting import Meeting
from simulst.models.speech_llm.batch_group import Pack, Request, prepare
from simulst.models.speech_llm.cache import After, Fed, StreamCache, Tally
from simulst.models.speech_llm.compute import Computed, Direct, cache_in, slab_for
from simulst.models.speech_llm.encoder_batch import Push, step_many
from simulst.models.speech_llm.head_budget import HeadBudget
from simulst.models.speech_llm.static_step import Token
from simulst.models.speech_llm.streaming_encoder import EncoderState

T = TypeVar("T")


class Batcher(Meeting):
    """Computes for all streams that wait; implements `compute.Compute` and `cache.Forward`.

    `translator` is the one whose sessions meet here. ModelError for a translator that nothing else can compute for.
    """

    def __init__(self, translator: Translator, *, streams: int, wait_s: float | None = None) -> None:
        if not isinstance(translator, Computed):
            raise ModelError(f"Model {translator.name} cannot decode several streams together; only speech LLMs can.")
        self.weights = translator.weights
        self._slab = slab_for(self.weights, at_once=streams)
        super().__init__(streams=streams, wait_s=wait_s, lock=self._slab.lock)
        self.translator = translator.computed_by(self)
        self._direct = Direct(self.weights, self._slab)
        prepare(self.weights.model.decoder)
        self._encoding, self._decoding = self.lane(self._encode), self.lane(self._decode)

    # -- caches in rows of one slab ---------------------------------------------------------------------------------

    def new_cache(self, tally: Tally, budget: HeadBudget | None = None) -> StreamCache:
        """An empty cache in a free row; the row is free again once nobody holds the cache.

        A stream whose heads have a budget decodes alone.
        """
        if budget is not None:
            return self._direct.new_cache(tally, budget)
        return cache_in(self._slab, self, self.weights, tally)

    def __call__(
        self, cache: StreamCache, embeds: Tensor, positions: Sequence[int], *, record: bool, score: bool
    ) -> Fed:
        request = Request(cache=cache, embeds=embeds, positions=positions, record=record, score=score)
        found: Fed = self._ask(request)
        return found

    def gather(
        self, cache: StreamCache, embeds: Tensor, positions: Sequence[int], after: After[T], *, record: bool
    ) -> tuple[T, FloatArray]:
        """The numbers of all streams come in one copy; threads of a CPU pick theirs by themselves, side by side."""
        if self.weights.device.type == "cpu":
            found, picked = after(self(cache, embeds, positions, record=record, score=True))
            return found, picked.numpy()
        request = Request(cache=cache, embeds=embeds, positions=positions, record=record, score=True, after=after)
        gathered: tuple[T, FloatArray] = self._ask(request)
        return gathered

    def hear(self, samples: Tensor, state: EncoderState, *, is_final: bool = False) -> tuple[Tensor, list[int]]:
        """Speech vectors and CTC tokens of one stream."""
        heard: tuple[Tensor, list[int]] = self._ask(Request(push=Push(samples=samples, state=state, is_final=is_final)))
        return heard

    def forget(self, state: EncoderState, vectors: int) -> None:
        """An encoder state does not grow."""

    def once(self, key: Hashable, make: Callable[[], Candidate]) -> Candidate:
        """Streams that meet are of different audio."""
        return make()

    def _ask(self, request: Request) -> Any:
        return self.ask(self._decoding if request.push is None else self._encoding, request)

    def _encode(self, requests: list[Request]) -> None:
        pushes = [request.push for request in requests if request.push is not None]
        frames = step_many(self.weights.model.encoder, pushes)
        vectors, tokens = self.weights.read_frames(torch.cat(frames))
        counts = [len(one) // self.weights.model.config.stack for one in frames]
        at = 0
        for request, count in zip(requests, counts, strict=True):
            request.result = vectors[at : at + count], tokens[at : at + count]
            at += count

    def _recorded(self, requests: list[Request]) -> bool:
        """Whether these were tokens of one recorded step, which has computed them."""
        steps, tokens = self._direct.steps, list[Token]()
        for request in requests:
            if steps is None or request.cache is None or request.embeds is None or request.length != 1:
                return False
            tokens.append(Token(cache=request.cache, embeds=request.embeds, position=request.positions[0]))
        if steps is None or not steps.fit(tokens):
            return False
        found = steps(tokens, record=any(request.record for request in requests))
        for request, fed in zip(requests, found, strict=True):
            request.result = fed
        return True

    def _decode(self, requests: list[Request]) -> None:
        self._feed(requests)
        gathered = [(request, *request.after(request.result)) for request in requests if request.after is not None]
        if not gathered:
            return
        host, at = torch.cat([picked for *_, picked in gathered]).cpu().numpy(), 0
        for request, found, picked in gathered:
            request.result = found, host[at : at + len(picked)].copy()
            at += len(picked)

    def _feed(self, requests: list[Request]) -> None:
        if len(requests) == 1:
            (one,) = requests
            assert one.cache is not None and one.embeds is not None
            one.result = self._direct.forward(one.cache, one.embeds, one.positions, record=one.record, score=one.score)
            return
        if self._recorded(requests):
            return
        pack = Pack(requests, self._slab)
        hidden, queries = self._packed(pack, record=any(request.record for request in requests))
        scored = [index for index, request in enumerate(pack.order) if request.score]
        last = torch.tensor([pack.ends[index] - 1 for index in scored], dtype=torch.long, device=hidden.device)
        scores = dict(zip(scored, self.weights.model.output.scores(hidden[last]), strict=True))
        for index, request in enumerate(pack.order):
            assert request.cache is not None
            part = slice(pack.start(index), pack.ends[index])
            request.cache.appended(request.positions)
            found = {layer: q[:, part] for layer, q in queries.items()} if request.record else {}
            request.result = Fed(
                hidden=hidden[part], queries=found, logits=scores[index][None] if request.score else None
            )

    def _packed(self, pack: Pack, *, record: bool) -> tuple[Tensor, dict[int, Tensor]]:
        """Hidden states [n, width] of all entries, and queries by layer if wanted."""
        weights = self.weights
        if weights.written is not None:
            return pack.through(weights.written, record=record)
        recording: AbstractContextManager[dict[int, Tensor]] = (
            weights.attention.recording() if record else nullcontext({})
        )
        with pack, recording as queries:
            hidden: Tensor = weights.model.decoder.model(**pack.inputs(weights.attention.layers)).last_hidden_state[0]
        return hidden, queries
