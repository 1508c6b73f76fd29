"""Entries of several streams in one forward of the decoder, one after the other and without padding.

All that is computed per entry (projections, feed-forward layers, norms) sees one long sequence. Attention sees streams:
those that feed a single token attend together over their rows of the shared slab, those that feed more each on its own.
A decoder that is written out runs so (`through`), and one of transformers.
"""

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache, DynamicLayer
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, AttentionMaskInterface
from transformers.modeling_utils import AttentionInterface

from simulst.models.meeting import Asked
from simulst.models.speech_llm.cache import After, RowLayer, StreamCache, attended
from simulst.models.speech_llm.encoder_batch import Push
from simulst.models.speech_llm.slab import Slab
from simulst.models.speech_llm.written import WrittenDecoder

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ATTENTION = "simulst_streams"
"""Name under which transformers finds `_attention`; the same as `sdpa` outside of a `Pack`."""
SPREAD = 2
"""Single tokens attend together while at most this many rows are passed over for each."""


Look = Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]
"""Attention [n, heads, new, dim] of queries over keys and values, behind a mask or none."""


class Attending(Protocol):
    """An attention module of transformers."""

    layer_idx: int


@dataclass(kw_only=True, eq=False)
class Request(Asked):
    """What a stream waits for: a decoder forward or an encoder step."""

    cache: StreamCache | None = None
    embeds: Tensor | None = None
    positions: Sequence[int] = ()
    record: bool = False
    score: bool = False
    after: After[Any] | None = None
    """What is made of the result, and brought to the CPU with that of the others."""
    push: Push | None = None

    @property
    def length(self) -> int:
        return len(self.positions)


class PackLayer(DynamicLayer):  # type: ignore[misc]
    """One layer of the caches of a pack, as transformers' attention modules fill it."""

    def __init__(self, pack: "Pack", layer: int) -> None:
        self.pack, self.layer = pack, layer
        self.is_initialized = True

    def get_seq_length(self, *_: object) -> int:
        return 0

    def update(self, key_states: Tensor, value_states: Tensor, *_: object, **__: object) -> tuple[Tensor, Tensor]:
        self.pack.store(self.layer, key_states, value_states)
        return key_states, value_states


class WrittenPackLayer:
    """The same for a decoder that is written out; implements `written.Attended`."""

    def __init__(self, pack: "Pack", layer: int) -> None:
        self.pack, self.layer = pack, layer

    def write(self, _start: int, keys: Tensor, values: Tensor) -> None:
        self.pack.store(self.layer, keys, values)

    def attend(self, queries: Tensor, _mask: Tensor | None) -> Tensor:
        return self.pack.attend(self.layer, queries, attended)


class Pack:
    """Decoder requests that share a forward; `order` is that of their entries."""

    def __init__(self, requests: Sequence[Request], slab: Slab) -> None:
        caches = {id(r): r.cache for r in requests if r.cache is not None}
        ones = [r for r in requests if r.length == 1 and caches[id(r)].slab is slab]
        ones.sort(key=lambda r: caches[id(r)].row)
        rows = [caches[id(r)].row for r in ones]
        if len(ones) < 2 or rows[-1] + 1 - rows[0] > SPREAD * len(ones):
            ones, rows = [], []
        together = set(map(id, ones))
        self.alone = [r for r in requests if id(r) not in together]
        self.order = [*self.alone, *ones]
        self.ends = list(accumulate(r.length for r in self.order))
        device = self.order[0].embeds.device  # type: ignore[union-attr]
        self._masks = [_causal(r.length, len(caches[id(r)]), device) for r in self.alone]
        self.slab, self.ones, self._device = slab, ones, device
        if ones:
            lengths = [len(caches[id(r)]) for r in ones]
            self.first, self.end, self.longest = rows[0], rows[-1] + 1, max(lengths) + 1
            self._places, self._rows = torch.tensor([lengths, rows], device=device)
            seen = torch.zeros(self.end - self.first, dtype=torch.long, device=device)
            self._local = self._rows - self.first
            seen[self._local] = self._places
            self._dense = len(ones) == self.end - self.first
            self._mask = torch.arange(self.longest, device=device) <= seen[:, None, None, None]

    def start(self, index: int) -> int:
        """Place of the first entry of the request `order[index]`."""
        return self.ends[index - 1] if index else 0

    def _entries(self) -> tuple[Tensor, list[int]]:
        """What is fed, [n, width], and where it stands."""
        embeds = torch.cat([request.embeds for request in self.order if request.embeds is not None])
        return embeds, [position for request in self.order for position in request.positions]

    def through(self, written: WrittenDecoder, *, record: bool) -> tuple[Tensor, dict[int, Tensor]]:
        """Hidden states [n, width] of a decoder that is written out, and its queries by layer if wanted."""
        embeds, positions = self._entries()
        layers = [WrittenPackLayer(self, i) for i in range(len(written.layers))]
        recorded = dict[int, Tensor]()
        hidden = written.through(embeds, written.turns(positions, embeds), layers, recorded if record else None)
        return hidden, recorded

    def inputs(self, layers: int) -> dict[str, object]:
        """Arguments of the forward of a decoder of transformers."""
        cache = DynamicCache()
        cache.layers = [PackLayer(self, i) for i in range(layers)]
        embeds, positions = self._entries()
        return {
            "inputs_embeds": embeds[None],
            "position_ids": torch.tensor([positions], device=self._device),
            "attention_mask": embeds.new_zeros(1, 1, 1, 1),  # so that none is made: `attend` has those of the streams
            "past_key_values": cache,
            "use_cache": True,
        }

    def store(self, layer: int, keys: Tensor, values: Tensor) -> None:
        """Write [1, heads, entries, dim] to the caches."""
        for index, request in enumerate(self.alone):
            own = self._layer(request, layer)
            part = slice(self.start(index), self.ends[index])
            own.write(own.length, keys[:, :, part], values[:, :, part])
        if self.ones:
            begin = self.start(len(self.alone))
            with self.slab.changing():
                self.slab.reserve(layer, self.longest, keys, values)
                for buffer, new in ((self.slab.keys, keys), (self.slab.values, values)):
                    buffer[layer][self._rows, :, self._places] = new[0, :, begin:].transpose(0, 1)
            for request in self.ones:
                self._layer(request, layer).length += 1

    def attend(self, layer: int, queries: Tensor, look: Look) -> Tensor:
        """[1, heads, entries, dim] -> [1, heads, entries, dim]"""
        found = list[Tensor]()
        for index, request in enumerate(self.alone):
            own, mask = self._layer(request, layer), self._masks[index]
            part = queries[:, :, self.start(index) : self.ends[index]]
            found.append(look(part, own.keys, own.values, mask))
        if self.ones:
            part = queries[0, :, self.start(len(self.alone)) :].transpose(0, 1)[:, :, None]
            keys, values = (
                b[layer][self.first : self.end, :, : self.longest] for b in (self.slab.keys, self.slab.values)
            )
            if not self._dense:
                part = part.new_zeros(self.end - self.first, *part.shape[1:]).index_copy_(0, self._local, part)
            seen = look(part, keys, values, self._mask)
            found.append((seen if self._dense else seen[self._local])[:, :, 0].transpose(0, 1)[None])
        return torch.cat(found, dim=2)

    @staticmethod
    def _layer(request: Request, layer: int) -> RowLayer:
        assert request.cache is not None
        return request.cache.layers[layer]

    def __enter__(self) -> "Pack":
        self._token = _PACK.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        _PACK.reset(self._token)


_PACK: ContextVar[Pack | None] = ContextVar("simulst_pack", default=None)


def _causal(new: int, past: int, device: torch.device) -> Tensor | None:
    """[1, 1, new, past + new] True where an entry sees another; None for a single one, which sees all."""
    if new == 1:
        return None
    return torch.ones(1, 1, new, past + new, dtype=torch.bool, device=device).tril(past)


def _attention(
    module: Attending, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **settings: object
) -> tuple[Tensor, None]:
    pack = _PACK.get()
    if pack is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **settings)  # type: ignore[no-any-return]
    settings.pop("is_causal", None)

    def look(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
        seen: Tensor = sdpa_attention_forward(module, queries, keys, values, mask, **settings)[0]
        return seen.transpose(1, 2)

    return pack.attend(module.layer_idx, query, look).transpose(1, 2), None


def prepare(decoder: "PreTrainedModel") -> None:
    """Let the attention modules of a decoder of transformers find the pack they compute for."""
    AttentionInterface.register(ATTENTION, _attention)
    AttentionMaskInterface.register(ATTENTION, ALL_MASK_ATTENTION_FUNCTIONS["sdpa"])
    decoder.set_attn_implementation(ATTENTION)
