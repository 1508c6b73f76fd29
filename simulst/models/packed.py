"""Several sequences as one: their entries go through a model of transformers one after the other, without padding.

All that is computed per entry (projections, feed-forward layers, norms, scores) sees one long sequence, so the weights
are read once for all. Attention sees the sequences apart, each with its own keys, positions and past; for that the
model is loaded with `attention=ROWS` (`simulst.models.recorded`), whose function asks here.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from transformers import DynamicCache, EncoderDecoderCache

    from simulst.models.recording import Recording

T = TypeVar("T")

SELF_ATTENTION = ("self_attn", "SelfAttention")
CROSS_ATTENTION = ("encoder_attn", "EncDecAttention", "cross_attention")
"""What the module is called in a layer of the decoder: of the BART kind, of T5, of SeamlessM4T."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """The new entries of one sequence."""

    size: int
    cache: "EncoderDecoderCache | None" = None
    """Of a decoder; an encoder has none."""
    states: Tensor | None = None
    """[1, frames, width] of the source, of which the cache has keys and values after its first forward."""
    recording: "Recording | None" = None
    """The rows that are wanted of it."""
    past: int = 0

    @property
    def filled(self) -> bool:
        return self.cache is not None and len(self.cache.cross_attention_cache.layers) > 0


@dataclass(frozen=True, kw_only=True, eq=False)
class Packed:
    """What attention has to know of a forward over several sequences."""

    parts: Sequence[Part]
    places: dict[nn.Module, tuple[int, bool]]
    """Attention modules of a decoder to their layer, and whether it is cross-attention."""
    biases: Sequence[Tensor | None]
    """What is added to the scores of self-attention, [1, heads, size, past + size], of each sequence."""

    @property
    def sizes(self) -> list[int]:
        return [part.size for part in self.parts]

    def seen(self, module: nn.Module, key: Tensor, value: Tensor) -> "list[Seen]":
        """What each of the sequences attends to."""
        if module not in self.places:
            pairs = zip(torch.split(key, self.sizes, 2), torch.split(value, self.sizes, 2), strict=True)
            return [Seen(keys=k, values=v) for k, v in pairs]
        layer, across = self.places[module]
        return [self._of(part, bias, layer, across) for part, bias in zip(self.parts, self.biases, strict=True)]

    @staticmethod
    def _of(part: Part, bias: Tensor | None, layer: int, across: bool) -> "Seen":
        assert part.cache is not None
        if across:
            source = part.cache.cross_attention_cache.layers[layer]
            return Seen(keys=source.keys, values=source.values)
        own = part.cache.self_attention_cache.layers[layer]
        return Seen(keys=own.keys, values=own.values, mask=_causal(part, own.keys.device), bias=bias)


@dataclass(frozen=True, kw_only=True, eq=False)
class Seen:
    """Keys and values [1, heads, length, dim] of one sequence; a mask [1, 1, size, length] is True where they are
    seen."""

    keys: Tensor
    values: Tensor
    mask: Tensor | None = None
    bias: Tensor | None = None


_PACKED: ContextVar[Packed | None] = ContextVar("packed", default=None)


def packed() -> Packed | None:
    """What the forward of this thread is made of; None for one over a single sequence."""
    return _PACKED.get()


@contextmanager
def packing(found: Packed) -> Iterator[None]:
    """A forward inside is one over several sequences."""
    token = _PACKED.set(found)
    try:
        yield
    finally:
        _PACKED.reset(token)


def encoding(sizes: Sequence[int]) -> AbstractContextManager[None]:
    """`packing` for layers of an encoder."""
    return packing(Packed(parts=[Part(size=size) for size in sizes], places={}, biases=[]))


def filled_up(several: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Sequences [1, length, ..] as a batch that is filled up with zeros, and a mask [batch, length] of
    what is theirs."""
    lengths = [one.shape[1] for one in several]
    batch = torch.nn.utils.rnn.pad_sequence([one[0] for one in several], batch_first=True)
    mask = torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None]
    return batch, mask.to(batch.device)


class PackedDecoder:
    """Runs a decoder of transformers over new ids of several sequences, each over a source of its own."""

    def __init__(self, decoder: nn.Module) -> None:
        modules = dict(decoder.named_modules())
        self._places = {module: (index, False) for index, module in enumerate(_named(modules, SELF_ATTENTION))}
        self._places |= {module: (index, True) for index, module in enumerate(_named(modules, CROSS_ATTENTION))}
        biases = [name.rpartition(".")[0] for name in modules if name.endswith(".relative_attention_bias")]
        self._bias: Any = modules[biases[0]] if biases else None
        placed = modules.get("embed_positions")
        self._named_positions = placed is None and not biases
        self._table = _Positions(placed) if placed is not None else None

    def __call__(self, forward: Callable[..., T], parts: Sequence[Part], ids: Sequence[Sequence[int]]) -> T:
        """`forward(ids, states, cache, **positions)` of all new ids, [1, entries], one sequence after the other."""
        own = [_own(part) for part in parts]
        places = [place for part in own for place in range(part.past, part.past + part.size)]
        device = _states(own[0]).device
        flat = torch.tensor([[token for one in ids for token in one], places], device=device)
        extra = {"position_ids": flat[1:]} if self._named_positions else {}
        found = Packed(parts=own, places=self._places, biases=[self._biased(part) for part in own])
        new = [part for part in own if not part.filled]
        joint = _joint(own, new, layers=len(self._places) // 2)
        states = torch.cat([_states(part) for part in new], dim=1) if new else _states(own[0])
        with packing(found), self._placed(flat[1], max(places) + 1):
            output = forward(flat[:1], states, joint, **extra)
        for part in new:
            assert part.cache is not None
            part.cache.is_updated.update(joint.is_updated)
        return output

    def _biased(self, part: Part) -> Tensor | None:
        if self._bias is None:
            return None
        bias: Tensor = self._bias.compute_bias(part.size, part.past + part.size, past_seen_tokens=part.past)
        return bias

    @contextmanager
    def _placed(self, places: Tensor, count: int) -> Iterator[None]:
        if self._table is None:
            yield
            return
        with self._table.at(places, count):
            yield


class _Positions:
    """Answers for the position embeddings of a decoder while several sequences go through it."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._places: ContextVar[tuple[Tensor, int] | None] = ContextVar("places", default=None)
        self._known: Tensor | None = None
        module.register_forward_pre_hook(self._shortened, with_kwargs=True)
        module.register_forward_hook(self._placed)

    @contextmanager
    def at(self, places: Tensor, count: int) -> Iterator[None]:
        """The embeddings asked for inside are those of `places`, all of them below `count`."""
        token = self._places.set((places, count))
        try:
            yield
        finally:
            self._places.reset(token)

    def _shortened(
        self, _module: nn.Module, given: tuple[Any, ...], _named: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        """The module is asked for one position alone: all entries together may be more than it knows."""
        if self._places.get() is None:
            return None
        first = given[0][:, :1] if isinstance(given[0], Tensor) else torch.Size((1, 1))
        return (first,), {}

    def _placed(self, _module: nn.Module, given: tuple[Any, ...], output: Tensor) -> Tensor | None:
        wanted = self._places.get()
        if wanted is None:
            return None
        places, count = wanted
        known = self._known
        if known is None or len(known) < count:
            known = self._known = self._first(max(64, 2 * count), given[0])
        return known[places][None]

    def _first(self, count: int, like: "Tensor | tuple[int, ...]") -> Tensor:
        """Embeddings [count, width] of the first positions; fewer where the table ends."""
        if isinstance(self._module, nn.Embedding):
            count = min(count, self._module.num_embeddings)
        ids = torch.full((1, count), 3, device=like.device) if isinstance(like, Tensor) else torch.Size((1, count))
        token = self._places.set(None)
        try:
            found: Tensor = self._module(ids)
        finally:
            self._places.reset(token)
        return found.reshape(-1, found.shape[-1])


def _named(modules: dict[str, nn.Module], names: tuple[str, ...]) -> list[nn.Module]:
    return [module for name, module in modules.items() if name.endswith(names)]


def _own(part: Part) -> Part:
    """The same with its past."""
    assert part.cache is not None
    past = part.cache.self_attention_cache.get_seq_length()
    return Part(size=part.size, cache=part.cache, states=part.states, recording=part.recording, past=past)


def _states(part: Part) -> Tensor:
    assert part.states is not None
    return part.states


def _causal(part: Part, device: torch.device) -> Tensor | None:
    """[1, 1, size, past + size] True where an entry sees another; None for a single one, which sees all."""
    if part.size == 1:
        return None
    seen = torch.ones(part.size, part.past + part.size, dtype=torch.bool, device=device).tril(part.past)
    return seen[None, None]


def _joint(parts: Sequence[Part], new: Sequence[Part], *, layers: int) -> "EncoderDecoderCache":
    """What a decoder takes for its cache: it hands on what it is given to the caches of the parts."""
    from transformers import EncoderDecoderCache

    caches = [part.cache for part in parts if part.cache is not None]
    own = _spread([one.self_attention_cache for one in caches], [part.size for part in parts])
    filling = [part.cache.cross_attention_cache for part in new if part.cache is not None]
    across = _spread(filling, [_states(part).shape[1] for part in new])
    joint = EncoderDecoderCache(own, across)
    if not new:
        across.layers = caches[0].cross_attention_cache.layers
    joint.is_updated = dict.fromkeys(range(layers), not new)
    return joint


def _spread(caches: "Sequence[DynamicCache]", sizes: Sequence[int]) -> "DynamicCache":
    """A cache that is always empty: what it is given goes to those of the sequences."""
    from transformers import DynamicCache

    def update(keys: Tensor, values: Tensor, layer: int, *_: object, **__: object) -> tuple[Tensor, Tensor]:
        parts = zip(caches, torch.split(keys, list(sizes), 2), torch.split(values, list(sizes), 2), strict=True)
        for cache, own_keys, own_values in parts:
            cache.update(own_keys.contiguous(), own_values.contiguous(), layer)
        return keys, values

    spread = DynamicCache()
    spread.update = update
    return spread
