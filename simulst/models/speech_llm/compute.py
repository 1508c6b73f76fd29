"""Who runs the encoder and the decoder of a speech LLM: a translator is made with one of these.

`Direct` computes each stream in the thread that asks, `Recompute` too but everything anew at every chunk, and
`simulst.models.speech_llm.batching.Batcher` several streams in one forward.
"""

import weakref
from collections.abc import Callable, Hashable
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from simulst.core.translator import Translator
from simulst.models.decoding import Candidate
from simulst.models.speech_llm.cache import DirectForward, Forward, StreamCache, Tally
from simulst.models.speech_llm.head_budget import HeadBudget
from simulst.models.speech_llm.slab import SharedSlab
from simulst.models.speech_llm.static_step import CAPACITY, StaticForward, StaticSteps
from simulst.models.speech_llm.streaming_encoder import EncoderState
from simulst.models.speech_llm.weights import Weights
from simulst.models.speech_llm.written import WrittenForward


class Compute(Protocol):
    """The computing that streams ask for; what it keeps of a stream lies in the state and the cache it gives out."""

    def hear(self, samples: Tensor, state: EncoderState, *, is_final: bool = False) -> tuple[Tensor, list[int]]:
        """Speech vectors [n, width] of blocks that became complete, and the CTC token of each."""
        ...

    def forget(self, state: EncoderState, vectors: int) -> None:
        """The oldest kept vectors of a stream are gone."""
        ...

    def new_cache(self, tally: Tally, budget: HeadBudget | None = None) -> StreamCache:
        """An empty cache for one stream; with a budget some heads hold only part of it.

        ModelError where the decoder has no attention by head.
        """
        ...

    def once(self, key: Hashable, make: Callable[[], Candidate]) -> Candidate:
        """What `make` finds; for sessions beside each other it is made once under each key."""
        ...


@runtime_checkable
class Computed(Translator, Protocol):
    """A translator that can be given another `Compute`."""

    @property
    def weights(self) -> Weights: ...

    def computed_by(self, compute: Compute) -> Translator:
        """The same weights under the same name, run by `compute`."""
        ...


def slab_for(weights: Weights, *, at_once: int = 1) -> SharedSlab:
    """Rows for streams, large from the beginning where they are recorded steps that fill them."""
    if weights.capture is None:
        return SharedSlab(at_once=at_once)
    return SharedSlab(at_once=at_once, capacity=CAPACITY, lasting=True)


def cache_in(slab: SharedSlab, forward: Forward, weights: Weights, tally: Tally) -> StreamCache:
    """An empty cache in a free row of a slab; the row is free again once nobody holds the cache."""
    row = slab.take()
    cache = StreamCache(
        forward,
        weights.attention.layers,
        rotary=weights.rotary,
        tally=tally,
        slab=slab,
        row=row,
        forgets=weights.options.cache == "none",
    )
    weakref.finalize(cache, slab.give_back, row)
    return cache


class Direct:
    """One stream at a time, in the thread that asks; nothing is computed twice.

    Where single tokens are recorded (`Weights.capture`), all streams are rows of one slab, which may be given.
    """

    def __init__(self, weights: Weights, slab: SharedSlab | None = None) -> None:
        self.weights = weights
        self.forward: Forward = DirectForward(weights.model.decoder, weights.attention.recording)
        self.slab: SharedSlab | None = None
        self.steps: StaticSteps | None = None
        if weights.written is None:
            return
        self.forward = WrittenForward(weights.written, weights.model.output)
        if weights.capture is not None:
            self.slab = slab or slab_for(weights)
            self.steps = StaticSteps(weights.written, weights.model.output, self.slab, weights.capture)
            self.forward = StaticForward(self.steps, self.forward)

    def hear(self, samples: Tensor, state: EncoderState, *, is_final: bool = False) -> tuple[Tensor, list[int]]:
        return self.weights.read_frames(self.weights.model.encoder.step(samples, state, is_final=is_final))

    def forget(self, state: EncoderState, vectors: int) -> None:
        """An encoder state does not grow."""

    def new_cache(self, tally: Tally, budget: HeadBudget | None = None) -> StreamCache:
        weights = self.weights
        if self.slab is not None and budget is None:
            return cache_in(self.slab, self.forward, weights, tally)
        return StreamCache(
            self.forward,
            weights.attention.layers,
            rotary=weights.rotary,
            tally=tally,
            forgets=weights.options.cache == "none",
            layers_of=None if budget is None else budget.layers_of(weights.written),
        )

    def once(self, key: Hashable, make: Callable[[], Candidate]) -> Candidate:
        """Streams are alone here."""
        return make()


class Recompute(Direct):
    """The other way to translate a stream: all kept audio is encoded and all kept text decoded anew at every chunk.

    Only to measure what that costs. The kept audio stands in the encoder's state, which has nothing else to remember.
    """

    def hear(self, samples: Tensor, state: EncoderState, *, is_final: bool = False) -> tuple[Tensor, list[int]]:
        encoder, stack = self.weights.model.encoder, self.weights.model.config.stack
        state.samples = torch.cat((state.samples, samples))
        frames = encoder.step(state.samples, encoder.open(), is_final=is_final)
        known, whole = state.frames // stack, len(frames) // stack
        vectors, tokens = self.weights.read_frames(frames[: whole * stack])
        state.frames = max(known, whole) * stack
        return vectors[known:], tokens[known:]

    def forget(self, state: EncoderState, vectors: int) -> None:
        config = self.weights.model.config
        frames = vectors * config.stack
        state.samples = state.samples[frames * config.encoder.frame_samples :].clone()
        state.frames -= frames

    def new_cache(self, tally: Tally, budget: HeadBudget | None = None) -> StreamCache:
        cache = super().new_cache(tally, budget)
        cache.forgets = True
        return cache
