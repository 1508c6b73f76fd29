"""Whisper's encoder and decoder over several streams: entries one after the other, without padding.

All that is computed per entry (projections, feed-forward layers, norms, scores) sees one long sequence, so the weights
are read once for all streams. Attention sees streams: each its own window, cache and positions.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from simulst.models.attention import CrossAttention
from simulst.models.seq2seq.compute import Fed, Feeding
from simulst.models.seq2seq.windows import EncodedWindow

if TYPE_CHECKING:
    from transformers import DynamicCache, PreTrainedModel


class PackedWhisper:
    """The weights of a Whisper; what a stream remembers lies in its window and its run."""

    def __init__(
        self, encoder: "PreTrainedModel", decoder: "PreTrainedModel", scorer: nn.Module, attention: CrossAttention
    ) -> None:
        self.encoder, self.decoder, self.scorer, self.attention = encoder, decoder, scorer, attention

    def encode(self, features: Sequence[Tensor], valid: Sequence[int]) -> list[EncodedWindow]:
        """Windows of log-mel features [1, bands, 2 * frames], `valid` frames of which are audio; the decoder's keys and
        values of every window are computed with it."""
        convolved = [self._convolved(one) for one in features]
        sizes = [one.shape[1] for one in convolved]
        hidden = torch.cat(convolved, dim=1)
        for layer in self.encoder.layers:
            queries, keys, values = _projected(layer.self_attn, layer.self_attn_layer_norm(hidden))
            parts = zip(*(torch.split(one, list(sizes), 2) for one in (queries, keys, values)), strict=True)
            attended = [F.scaled_dot_product_attention(q, k, v, scale=1.0) for q, k, v in parts]
            hidden = _after(layer, hidden + _joined(layer.self_attn, attended))
            if hidden.dtype == torch.float16:  # as transformers does: large values of the last layers overflow
                limit = torch.finfo(hidden.dtype).max - 1000
                hidden = hidden.clamp(-limit, limit)
        states = self.encoder.layer_norm(hidden)
        caches = self._cross(states, sizes)
        return [
            EncodedWindow(states=part.clone(), n_valid=count, cross_cache=cache)
            for part, count, cache in zip(torch.split(states, list(sizes), 1), valid, caches, strict=True)
        ]

    def _convolved(self, features: Tensor) -> Tensor:
        hidden = F.gelu(self.encoder.conv1(features))
        hidden = F.gelu(self.encoder.conv2(hidden)).transpose(1, 2)
        placed: Tensor = hidden + self.encoder.embed_positions.weight[: hidden.shape[1]]
        return placed

    def _cross(self, states: Tensor, sizes: Sequence[int]) -> "list[DynamicCache]":
        from transformers import DynamicCache

        caches = [DynamicCache() for _ in sizes]
        for index, layer in enumerate(self.decoder.layers):
            attention = layer.encoder_attn
            keys, values = _heads(attention, attention.k_proj(states)), _heads(attention, attention.v_proj(states))
            parts = zip(caches, torch.split(keys, list(sizes), 2), torch.split(values, list(sizes), 2), strict=True)
            for cache, own_keys, own_values in parts:
                cache.update(own_keys.contiguous(), own_values.contiguous(), index)
        return caches

    def feed(self, runs: Sequence[Feeding], ids: Sequence[Sequence[int]]) -> list[Fed]:
        """New ids of runs of one sequence each, over encoded windows of `encode`."""
        recording: AbstractContextManager[dict[int, Tensor]] = nullcontext({})
        if any(run.rows for run in runs):
            recording = self.attention.recording()
        sizes = [len(one) for one in ids]
        with recording as queries:
            hidden = self._decoded(runs, ids, sizes)
        ends = torch.tensor(sizes).cumsum(0) - 1
        logits = self.scorer(hidden[0, ends.to(hidden.device)])
        recorded = {layer: torch.split(one, sizes, 1) for layer, one in queries.items()}
        return [
            Fed(
                hidden=part,
                logits=logits[index : index + 1],
                queries={layer: parts[index] for layer, parts in recorded.items()} if run.rows else {},
            )
            for index, (run, part) in enumerate(zip(runs, torch.split(hidden, sizes, 1), strict=True))
        ]

    def _decoded(self, runs: Sequence[Feeding], ids: Sequence[Sequence[int]], sizes: Sequence[int]) -> Tensor:
        decoder, own = self.decoder, [run.cache.self_attention_cache for run in runs]
        past = [cache.get_seq_length() for cache in own]
        places = [place for begin, size in zip(past, sizes, strict=True) for place in range(begin, begin + size)]
        flat = torch.tensor([[token for one in ids for token in one], places], device=runs[0].window.states.device)
        hidden = (decoder.embed_tokens(flat[0]) + decoder.embed_positions.weight[flat[1]])[None]
        masks = [_causal(size, begin, hidden.device) for size, begin in zip(sizes, past, strict=True)]
        for index, layer in enumerate(decoder.layers):
            queries, keys, values = _projected(layer.self_attn, layer.self_attn_layer_norm(hidden))
            attended = []
            parts = zip(own, masks, *(torch.split(one, list(sizes), 2) for one in (queries, keys, values)), strict=True)
            for cache, mask, q, k, v in parts:
                every_k, every_v = cache.update(k, v, index)
                attended.append(F.scaled_dot_product_attention(q, every_k, every_v, mask, scale=1.0))
            hidden = hidden + _joined(layer.self_attn, attended)
            hidden = _after(layer, hidden + self._crossed(index, layer, hidden, runs, sizes))
        found: Tensor = decoder.layer_norm(hidden)
        return found

    @staticmethod
    def _crossed(index: int, layer: Any, hidden: Tensor, runs: Sequence[Feeding], sizes: Sequence[int]) -> Tensor:
        attention = layer.encoder_attn
        normed = layer.encoder_attn_layer_norm(hidden)
        queries = _heads(attention, attention.q_proj(normed) * attention.scaling)
        attended = []
        for run, q in zip(runs, torch.split(queries, list(sizes), 2), strict=True):
            source = run.cache.cross_attention_cache.layers[index]
            attended.append(F.scaled_dot_product_attention(q, source.keys, source.values, scale=1.0))
        return _joined(attention, attended)


def _heads(attention: Any, projected: Tensor) -> Tensor:
    """[1, entries, width] -> [1, heads, entries, dim]"""
    return projected.view(*projected.shape[:2], -1, attention.head_dim).transpose(1, 2)


def _projected(attention: Any, normed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, scaled as transformers scales them, keys and values."""
    queries = attention.q_proj(normed) * attention.scaling
    keys, values = attention.k_proj(normed), attention.v_proj(normed)
    return _heads(attention, queries), _heads(attention, keys), _heads(attention, values)


def _joined(attention: Any, attended: Sequence[Tensor]) -> Tensor:
    """What the streams attended to, [1, heads, entries, dim] each, through the output projection."""
    found: Tensor = attention.out_proj(torch.cat(list(attended), dim=2).transpose(1, 2).flatten(2))
    return found


def _after(layer: Any, hidden: Tensor) -> Tensor:
    """The feed-forward part of a layer."""
    found: Tensor = hidden + layer.fc2(layer.activation_fn(layer.fc1(layer.final_layer_norm(hidden))))
    return found


def _causal(new: int, past: int, device: torch.device) -> Tensor | None:
    """[new, past + new] True where an entry sees another; None for a single one, which sees all."""
    return None if new == 1 else torch.ones(new, past + new, dtype=torch.bool, device=device).tril(past)
