"""Sessions that hear the same stream: the first of them has a piece encoded, the others take what came of it.

The same for what is decoded for all of them, turns in two languages.
"""

from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass

import torch
from torch import Tensor

from simulst.models.decoding import Candidate
from simulst.models.speech_llm.cache import StreamCache, Tally
from simulst.models.speech_llm.compute import Compute
from simulst.models.speech_llm.head_budget import HeadBudget
from simulst.models.speech_llm.streaming_encoder import EncoderState

REMEMBERED = 2
"""Steps; sessions in step need one, and one more where the end is heard twice."""
REMEMBERED_WRITES = 64
"""Turns: those of the longest chunk, which the first session is through with before the next begins."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Step:
    """An encoder step: what went in, and what came out."""

    before: EncoderState
    samples: Tensor
    is_final: bool
    after: EncoderState
    found: tuple[Tensor, list[int]]

    def answers(self, samples: Tensor, state: EncoderState, *, is_final: bool) -> bool:
        same = self.is_final == is_final and len(self.samples) == len(samples) and self.before.same(state)
        return same and torch.equal(self.samples, samples)


class HeardOnce:
    """Computes as `compute` does and remembers its last encoder steps; implements `compute.Compute`.

    A step depends on nothing but its samples and the state before it, so that one that is asked for again is the same.
    """

    def __init__(self, compute: Compute) -> None:
        self.compute = compute
        self._steps: deque[Step] = deque(maxlen=REMEMBERED)
        self._writes: deque[tuple[Hashable, Candidate]] = deque(maxlen=REMEMBERED_WRITES)

    def hear(self, samples: Tensor, state: EncoderState, *, is_final: bool = False) -> tuple[Tensor, list[int]]:
        for step in self._steps:
            if step.answers(samples, state, is_final=is_final):
                state.become(step.after)
                return step.found
        before = state.clone()
        found = self.compute.hear(samples, state, is_final=is_final)
        step = Step(before=before, samples=samples, is_final=is_final, after=state.clone(), found=found)
        self._steps.append(step)
        return found

    def forget(self, state: EncoderState, vectors: int) -> None:
        self.compute.forget(state, vectors)

    def new_cache(self, tally: Tally, budget: HeadBudget | None = None) -> StreamCache:
        return self.compute.new_cache(tally, budget)

    def once(self, key: Hashable, make: Callable[[], Candidate]) -> Candidate:
        for known, found in self._writes:
            if known == key:
                return found
        made = self.compute.once(key, make)
        self._writes.append((key, made))
        return made
