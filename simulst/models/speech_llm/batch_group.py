"""Entries of several streams in one forward of the decoder, one after the other and without padding.

All that is computed per entry (projections, feed-forward layers, norms) sees one long sequence. Attention sees streams:
those that feed a single token attend together over their rows of the shared slab, those that feed more each on its own.
"""

from collections.abc import Sequence
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
from simulst.models.speech_llm.cache import After, RowLayer, Slab, StreamCache
from simulst.models.speech_llm.encoder_batch import Push

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ATTENTION = "simulst_streams"
"""Name under which transformers finds `_attention`; the same as `sdpa` outside of a `Pack`."""
SPREAD = 2
"""Single tokens attend together while at most this many rows are passed over for each."""


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
            seen[self._rows - self.first] = self._places
            self._mask = torch.arange(self.longest, device=device) <= seen[:, None, None, None]

    def start(self, index: int) -> int:
        """Place of the first entry of the request `order[index]`."""
        return self.ends[index - 1] if index else 0

    def inputs(self, layers: int) -> dict[str, object]:
        """Arguments of the decoder's forward."""
        cache = DynamicCache()
        cache.layers = [PackLayer(self, i) for i in range(layers)]
        positions = [position for request in self.order for position in request.positions]
        embeds = torch.cat([request.embeds for request in self.order if request.embeds is not None])
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
            with self.slab.lock:
                self.slab.reserve(layer, self.longest, keys, values)
                for buffer, new in ((self.slab.keys, keys), (self.slab.values, values)):
                    buffer[layer][self._rows, :, self._places] = new[0, :, begin:].transpose(0, 1)
            for request in self.ones:
                self._layer(request, layer).length += 1

    def attend(self, module: Attending, queries: Tensor, settings: dict[str, object]) -> Tensor:
        """[1, heads, entries, dim] -> [1, entries, heads, dim]"""
        layer, found = module.layer_idx, []
        for index, request in enumerate(self.alone):
            own, mask = self._layer(request, layer), self._masks[index]
            part = queries[:, :, self.start(index) : self.ends[index]]
            found.append(sdpa_attention_forward(module, part, own.keys, own.values, mask, **settings)[0])
        if self.ones:
            part = queries[0, :, self.start(len(self.alone)) :].transpose(0, 1)[:, :, None]
            local = self._rows - self.first
            spread = part.new_zeros(self.end - self.first, *part.shape[1:]).index_copy_(0, local, part)
            keys, values = (
                b[layer][self.first : self.end, :, : self.longest] for b in (self.slab.keys, self.slab.values)
            )
            attended = sdpa_attention_forward(module, spread, keys, values, self._mask, **settings)[0]
            found.append(attended[local, 0][None])
        return torch.cat(found, dim=1)

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
    return pack.attend(module, query, settings), None


def prepare(decoder: "PreTrainedModel") -> None:
    """Let the attention modules of a decoder of transformers find the pack they compute for."""
    AttentionInterface.register(ATTENTION, _attention)
    AttentionMaskInterface.register(ATTENTION, ALL_MASK_ATTENTION_FUNCTIONS["sdpa"])
    decoder.set_attn_implementation(ATTENTION)
