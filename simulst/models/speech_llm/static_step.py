"""The step of a single token in shapes that do not change, so that a GPU can record it and play it back.

A step is for so many streams and for caches up to so many entries (a bucket). Streams are rows of one slab. What is
different from token to token (embeddings, rows, places, positions) is copied to buffers that stay; attention sees the
whole bucket behind a mask. Once buffers of the slab have moved, steps are recorded anew.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from simulst.errors import loses_device
from simulst.models.speech_llm.cache import Fed, Forward, StreamCache
from simulst.models.speech_llm.graphs import Capture, Step
from simulst.models.speech_llm.output import OutputLayer
from simulst.models.speech_llm.slab import Slab
from simulst.models.speech_llm.written import WrittenDecoder

BUCKET = 128
"""Lengths of caches are rounded up to a multiple."""
CAPACITY = 512
"""Entries that the slab has room for from the beginning: every growth records all steps anew."""
MOST_STREAMS = 256
KEPT = 32
"""Recorded steps that are kept; the one that was used least recently goes."""
TURNS = 8192
"""Positions that have sines and cosines in a table."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class Token:
    """A single new entry of a stream."""

    cache: StreamCache
    embeds: Tensor
    """[1, width]"""
    position: int


class BucketLayer:
    """One layer of the rows that decode a token each; implements `written.Attended`."""

    def __init__(self, slab: Slab, layer: int, rows: Tensor, places: Tensor, mask: Tensor) -> None:
        """`rows` and `places` [count]; the mask [count, 1, 1, bucket] is True where an entry is seen."""
        self.keys, self.values = slab.keys[layer], slab.values[layer]
        self.rows, self.places, self.mask, self.bucket = rows, places, mask, mask.shape[-1]

    def write(self, _start: int, keys: Tensor, values: Tensor) -> None:
        """One entry of every row, [1, heads, count, dim], at its place."""
        self.keys[self.rows, :, self.places] = keys[0].transpose(0, 1)
        self.values[self.rows, :, self.places] = values[0].transpose(0, 1)

    def attend(self, queries: Tensor, _mask: Tensor | None) -> Tensor:
        """[1, heads, count, dim]; queries that share keys stand in the place of positions, so no key is copied for
        each of them."""
        keys, values = (b[:, :, : self.bucket].index_select(0, self.rows) for b in (self.keys, self.values))
        sharing = queries[0].transpose(0, 1).reshape(*keys.shape[:2], -1, keys.shape[3])
        found = F.scaled_dot_product_attention(sharing, keys, values, attn_mask=self.mask)
        return found.flatten(1, 2).transpose(0, 1)[None]


class StaticStep:
    """The step for `count` streams whose caches end within a bucket; made under the lock of the slab."""

    def __init__(self, steps: "StaticSteps", like: Tensor, count: int, bucket: int) -> None:
        self.steps = steps
        self.embeds = like.new_zeros(count, like.shape[1])
        self.where = torch.zeros(3, count, dtype=torch.long, device=like.device)
        """Row in the slab, place in the row, and position of each."""
        self._entries, self._turns = torch.arange(bucket, device=like.device), steps.turns(like)
        self.hidden = self.logits = self.queries = self.embeds
        """[count, width], [count, vocabulary], [layers, count, ..] once it was run."""
        self._replay: Step | None = None

    def __call__(self, tokens: Sequence[Token]) -> None:
        """Compute the tokens, the last of them again where there are fewer than `count`."""
        filled = [*tokens, *[tokens[-1]] * (len(self.embeds) - len(tokens))]
        self.embeds.copy_(torch.cat([one.embeds for one in filled]) if len(filled) > 1 else filled[0].embeds)
        numbers = zip(*((one.cache.row, len(one.cache), one.position) for one in filled), strict=True)
        self.where.copy_(torch.tensor(list(numbers)), non_blocking=True)
        if self._replay is None:
            self._replay = self.steps.captured(self._compute)
        self._replay()

    def _compute(self) -> None:
        rows, places, positions = self.where
        written, slab = self.steps.written, self.steps.slab
        cos, sin = self._turns
        mask = (self._entries <= places[:, None])[:, None, None]
        layers = [BucketLayer(slab, index, rows, places, mask) for index in range(len(written.layers))]
        recorded: dict[int, Tensor] = {}
        self.hidden = written.through(self.embeds, (cos[positions], sin[positions]), layers, recorded)
        self.logits = self.steps.output.scores(self.hidden)
        self.queries = torch.cat([recorded[index] for index in range(len(layers))])


class StaticSteps:
    """Steps by number of streams and bucket, each recorded when it is first wanted.

    Threads may share it: it works under the lock of the slab.
    """

    def __init__(self, written: WrittenDecoder, output: OutputLayer, slab: Slab, capture: Capture) -> None:
        self.written, self.output, self.slab = written, output, slab
        self._capture: Capture | None = capture
        self._steps: dict[tuple[int, int], StaticStep] = {}
        self._moves = slab.moves
        self._turns: tuple[Tensor, Tensor] | None = None
        self.recorded = 0
        """How many steps were recorded so far."""

    def fit(self, tokens: Sequence[Token]) -> bool:
        """Whether these are single tokens of streams in the slab that can be computed so."""
        if (
            self._capture is None
            or not 0 < len(tokens) <= MOST_STREAMS
            or len(self.slab.keys) < len(self.written.layers)
        ):
            return False
        return all(one.cache.slab is self.slab and len(one.embeds) == 1 and 0 <= one.position < TURNS for one in tokens)

    def __call__(self, tokens: Sequence[Token], *, record: bool) -> list[Fed]:
        """Compute and append tokens of different streams; queries where they are to be recorded, logits always."""
        with torch.inference_mode(), self.slab.changing():
            step = self._step(tokens)
            step(tokens)
            hidden, logits = step.hidden.clone(), step.logits.clone()
            queries = step.queries.clone() if record else None
        found = []
        for index, one in enumerate(tokens):
            for layer in one.cache.layers:
                layer.length += 1
            one.cache.appended([one.position])
            part = slice(index, index + 1)
            own = {} if queries is None else {layer: q[None, part] for layer, q in enumerate(queries)}
            found.append(Fed(hidden=hidden[part], queries=own, logits=logits[part]))
        return found

    def _step(self, tokens: Sequence[Token]) -> StaticStep:
        count = 1 << (len(tokens) - 1).bit_length()
        longest = max(len(one.cache) for one in tokens) + 1
        bucket = -(-longest // BUCKET) * BUCKET
        for layer in range(len(self.written.layers)):
            self.slab.reserve(layer, bucket, self.slab.keys[layer], self.slab.values[layer])
        if self._moves != self.slab.moves:
            self._steps, self._moves = {}, self.slab.moves
        step = self._steps.pop((count, bucket), None) or StaticStep(self, tokens[0].embeds, count, bucket)
        self._steps[count, bucket] = step
        if len(self._steps) > KEPT:
            del self._steps[next(iter(self._steps))]
        return step

    def turns(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines [TURNS, 1, dim] of all positions."""
        if self._turns is None:
            self._turns = self.written.turns(range(TURNS), like)
        return self._turns

    def captured(self, step: Step) -> Step:
        """What plays a step back; where it cannot be recorded, the step itself, and no other is tried."""
        assert self._capture is not None
        self.recorded += 1
        try:
            return self._capture(step)
        except RuntimeError as error:
            if loses_device(error) and "captur" not in str(error):
                raise
            logger.warning("Tokens are decoded without a CUDA graph: %s", " ".join(str(error).split())[:200])
            self._capture = None
            return step


class StaticForward:
    """Single tokens by `StaticSteps`, all else by another way; implements `cache.Forward`."""

    def __init__(self, steps: StaticSteps, forward: Forward) -> None:
        self.steps, self.forward = steps, forward

    def __call__(
        self, cache: StreamCache, embeds: Tensor, positions: Sequence[int], *, record: bool, score: bool
    ) -> Fed:
        token = Token(cache=cache, embeds=embeds, position=positions[0])
        if not self.steps.fit([token]):
            return self.forward(cache, embeds, positions, record=record, score=score)
        return self.steps([token], record=record)[0]
