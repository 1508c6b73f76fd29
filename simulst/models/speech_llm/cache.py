"""Keys and values of one stream: appended in place, cut, and closed up after an eviction.

Buffers grow by doubling, so a token costs its own keys and not a copy of all others. A `Slab` holds one row per stream:
a stream alone has a slab of its own, streams that are decoded together (`batching`) share one.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers.cache_utils import DynamicCache, DynamicLayer

from simulst.core.translator import FloatArray
from simulst.models.speech_llm.output import OutputLayer
from simulst.models.speech_llm.rotary import Rotary
from simulst.models.speech_llm.slab import Slab

if TYPE_CHECKING:
    from transformers import PreTrainedModel

T = TypeVar("T")


class RowLayer(DynamicLayer):  # type: ignore[misc]
    """One layer of one row, as transformers' attention modules use it."""

    def __init__(self, slab: Slab, row: int, layer: int) -> None:
        self.slab, self.row, self.layer, self.length = slab, row, layer, 0
        self.is_initialized = True

    def get_seq_length(self, *_: object) -> int:
        return self.length

    @property
    def keys(self) -> Tensor:
        return self.slab.keys[self.layer][self.row : self.row + 1, :, : self.length]

    @property
    def values(self) -> Tensor:
        return self.slab.values[self.layer][self.row : self.row + 1, :, : self.length]

    def update(self, key_states: Tensor, value_states: Tensor, *_: object, **__: object) -> tuple[Tensor, Tensor]:
        self.write(self.length, key_states, value_states)
        return self.keys, self.values

    def write(self, start: int, keys: Tensor, values: Tensor) -> None:
        """Entries from `start` on become these, and nothing follows them."""
        end = start + keys.shape[2]
        with self.slab.changing():
            self.slab.reserve(self.layer, end, keys, values)
            self.slab.keys[self.layer][self.row, :, start:end] = keys[0]
            self.slab.values[self.layer][self.row, :, start:end] = values[0]
            self.length = end

    def keep(self, index: Sequence[int], rotary: Rotary, old: Sequence[int], new: Sequence[int]) -> None:
        """Evict all entries but those at `index`; their keys move from the positions `old` to `new`."""
        chosen = torch.tensor(list(index), device=self.keys.device, dtype=torch.long)
        keys, values = self.keys.index_select(2, chosen), self.values.index_select(2, chosen)
        self.write(0, rotary.move(keys, old, new), values)

    def attend(self, queries: Tensor, mask: Tensor | None) -> Tensor:
        """What the queries [1, heads, n, dim] of the newest n entries see; without a mask, each up to itself."""
        return attended(queries, self.keys, self.values, mask)


def attended(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
    """Attention [1, heads, n, dim]; without a mask the entries are as many as the queries, or all are seen."""
    causal, grouped = mask is None and queries.shape[2] > 1, queries.shape[1] != keys.shape[1]
    return F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask, is_causal=causal, enable_gqa=grouped)


@dataclass(frozen=True, kw_only=True, eq=False)
class Fed:
    """What a forward gave for its new entries."""

    hidden: Tensor
    """[n, width]"""
    queries: dict[int, Tensor]
    """Queries of every layer [1, n, ...], when they were wanted."""
    logits: Tensor | None = None
    """[1, vocabulary] after the last entry, when they were wanted."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Held:
    """Entries that were taken off the end of a cache."""

    layers: tuple[tuple[Tensor, Tensor], ...]
    positions: tuple[int, ...]


class Forward(Protocol):
    """Runs the decoder on new entries of one stream and appends their keys and values."""

    def __call__(
        self, cache: "StreamCache", embeds: Tensor, positions: Sequence[int], *, record: bool, score: bool
    ) -> Fed: ...


After = Callable[[Fed], tuple[T, Tensor]]
"""What is made of a forward, and the numbers [n] of it that the CPU is to have."""


@runtime_checkable
class Gathering(Protocol):
    """A `Forward` that brings the numbers of several streams to the CPU in one copy."""

    def gather(
        self, cache: "StreamCache", embeds: Tensor, positions: Sequence[int], after: After[T], *, record: bool
    ) -> tuple[T, FloatArray]: ...


@dataclass(kw_only=True)
class Tally:
    """What decoding has cost a stream."""

    positions: int = 0
    """Entries that the decoder has processed: speech vectors, marks and tokens, each time they were fed."""
    forwards: int = 0


class StreamCache:
    """The entries of one stream; each remembers the position it stands at.

    One that `forgets` is emptied by its context before every call. `layers_of` makes a layer of another kind.
    """

    def __init__(
        self,
        forward: Forward,
        layers: int,
        *,
        rotary: Rotary | None = None,
        tally: Tally | None = None,
        slab: Slab | None = None,
        row: int = 0,
        forgets: bool = False,
        layers_of: Callable[[int], RowLayer] | None = None,
    ) -> None:
        self.forward, self.rotary, self.forgets = forward, rotary, forgets
        self._gathering = forward if isinstance(forward, Gathering) else None
        self.tally = tally or Tally()
        self.slab, self.row = slab or Slab(), row
        self.hf = DynamicCache()
        made = layers_of or (lambda layer: RowLayer(self.slab, row, layer))
        self.hf.layers = [made(layer) for layer in range(layers)]
        self.positions: list[int] = []

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def layers(self) -> list[RowLayer]:
        return self.hf.layers  # type: ignore[no-any-return]

    def extend(
        self, embeds: Tensor, positions: Sequence[int] | None = None, *, record: bool = False, score: bool = False
    ) -> Fed:
        """Compute and append entries [n, width]; by default they stand after the last position."""
        if not len(embeds):
            return Fed(hidden=embeds, queries={})
        positions = self._counted(embeds, positions)
        return self.forward(self, embeds, positions, record=record, score=score)

    def extend_and(self, embeds: Tensor, after: After[T], *, record: bool) -> tuple[T, FloatArray]:
        """`after` of the new entries, with scores, and the numbers that it picks."""
        positions = self._counted(embeds, None)
        if self._gathering is not None:
            return self._gathering.gather(self, embeds, positions, after, record=record)
        found, picked = after(self.forward(self, embeds, positions, record=record, score=True))
        return found, picked.cpu().numpy()

    def _counted(self, embeds: Tensor, positions: Sequence[int] | None) -> Sequence[int]:
        """Where new entries stand; their cost is added up."""
        self.tally.positions += len(embeds)
        self.tally.forwards += 1
        first = self.positions[-1] + 1 if self.positions else 0
        return range(first, first + len(embeds)) if positions is None else positions

    def crop(self, length: int) -> None:
        """Forget what comes after the first `length` entries."""
        for layer in self.layers:
            layer.length = length
        del self.positions[length:]

    def keep(self, index: Sequence[int], positions: Sequence[int] | None = None) -> None:
        """Evict all other entries; the kept ones move to `positions` (default 0, 1, 2, ...), nothing is recomputed."""
        new = list(range(len(index))) if positions is None else list(positions)
        old = [self.positions[i] for i in index]
        if len(index) == len(self) and old == new:
            return
        if self.rotary is None:
            raise ValueError("this cache cannot move entries: it was made without rotary positions")
        with torch.inference_mode():
            for layer in self.layers:
                layer.keep(index, self.rotary, old, new)
        self.positions = new

    def take(self, start: int) -> Held:
        """Cut the entries from `start` on and hand them over."""
        with torch.inference_mode():
            held = Held(
                layers=tuple((one.keys[:, :, start:].clone(), one.values[:, :, start:].clone()) for one in self.layers)
                if len(self)
                else (),
                positions=tuple(self.positions[start:]),
            )
        self.crop(start)
        return held

    def put(self, held: Held) -> None:
        """Append entries as they were taken."""
        with torch.inference_mode():
            for layer, (keys, values) in zip(self.layers, held.layers, strict=False):
                layer.write(layer.length, keys, values)
        self.positions += held.positions

    def copy(self, length: int | None = None) -> DynamicCache:
        """The first `length` entries as an independent cache of transformers, for several sequences at a time."""
        copied = DynamicCache()
        with torch.inference_mode():
            for index, layer in enumerate(self.layers):
                copied.update(layer.keys[:, :, :length].clone(), layer.values[:, :, :length].clone(), index)
        return copied

    def appended(self, positions: Sequence[int]) -> None:
        """Called by a `Forward` once the layers hold the new entries."""
        self.positions += positions


class DirectForward:
    """One stream at a time, in the thread that asks."""

    def __init__(
        self, decoder: "PreTrainedModel", recording: Callable[[], AbstractContextManager[dict[int, Tensor]]]
    ) -> None:
        self.decoder, self.recording = decoder, recording

    def __call__(
        self, cache: StreamCache, embeds: Tensor, positions: Sequence[int], *, record: bool, score: bool
    ) -> Fed:
        wanted: AbstractContextManager[dict[int, Tensor]] = self.recording() if record else nullcontext({})
        with torch.inference_mode(), wanted as queries:
            hidden = self.decoder.model(
                inputs_embeds=embeds[None],
                position_ids=torch.tensor([list(positions)], device=embeds.device),
                past_key_values=cache.hf,
                use_cache=True,
            ).last_hidden_state[0]
            logits = OutputLayer.of(self.decoder).scores(hidden[-1:]) if score else None
        cache.appended(positions)
        return Fed(hidden=hidden, queries=queries, logits=logits)
