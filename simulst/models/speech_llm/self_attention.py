"""Alignment from a decoder-only model: attention of chosen heads over the speech positions of its own context.

As in `attention`, hooks record queries (before rotation) for the caller only; rows are rebuilt from them and the cached
keys, and equal those of `output_attentions=True`.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from simulst.errors import ModelError
from simulst.models.attention import Head, RecordedHeads, by_layer, smoothed
from simulst.models.speech_llm.rotary import TurnTable

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class SelfAttention(RecordedHeads):
    """Rows of the chosen heads of a rotary causal language model of transformers (Llama, Qwen2, Qwen3, Mistral)."""

    def __init__(self, decoder: "PreTrainedModel", heads: Sequence[Sequence[int]]) -> None:
        self.model = decoder.model
        config = decoder.config
        layers = list(self.model.layers)
        attentions = [dict(layer.self_attn.named_children()) for layer in layers]
        if "rotary_emb" not in dict(self.model.named_children()) or "q_proj" not in attentions[0]:
            raise ModelError(
                f"Alignment needs a rotary decoder with separate query projections; {config.model_type} has none."
            )
        sources = [one["q_norm" if "q_norm" in one else "q_proj"] for one in attentions]
        super().__init__(sources, num_heads=int(config.num_attention_heads), heads=heads)
        self._turns = TurnTable(self.model.rotary_emb)
        self._index: dict[int, tuple[Tensor, Tensor]] = {}
        self.head_dim = int(vars(layers[0].self_attn).get("head_dim", config.hidden_size // self.num_heads))

    def use(self, heads: Sequence[Head] | None) -> list[Head]:
        found = super().use(heads)
        self._index = {}
        return found

    def rows(
        self,
        queries: dict[int, Tensor],
        keys: dict[int, Tensor],
        positions: Sequence[int],
        *,
        source: "tuple[int, int] | Tensor",
        median_frames: int,
        every_head: bool,
    ) -> Tensor:
        """Attention of the query positions over the source: mean over heads [batch, rows, frames], or
        [batch, rows, heads, frames] with `every_head`.

        `positions` [rows] turn the queries, which belong to the last entries: a query sees those up to its own.
        `source` are the entries [first, end) that stand for source, or their indices.
        """
        layers = sorted(by_layer(self.heads).items())
        one = queries[layers[0][0]]
        turns = self._turns(positions, one.new_zeros(1, dtype=torch.float32))
        chosen = slice(*source) if isinstance(source, tuple) else source
        found = [
            smoothed(self._layer_rows(queries[at], keys[at], turns, at, heads)[..., chosen], median_frames)
            for at, heads in layers
        ]
        joined = torch.cat(found, dim=1)
        return joined.transpose(1, 2) if every_head else joined.mean(dim=1)

    def _layer_rows(
        self, queries: Tensor, keys: Tensor, turns: tuple[Tensor, Tensor], layer: int, heads: Sequence[int]
    ) -> Tensor:
        """[batch, heads, rows, entries]"""
        batch, count = queries.shape[:2]
        own, of_keys = self._heads(layer, heads, keys)
        q = queries.reshape(batch, count, self.num_heads, self.head_dim).index_select(2, own).float()
        q = (q * turns[0] + q.roll(self.head_dim // 2, -1) * turns[1]).transpose(1, 2)
        scores = q @ keys.index_select(1, of_keys).float().transpose(2, 3) * self.head_dim**-0.5
        if count > 1:
            entries = keys.shape[2]
            seen = torch.ones(count, entries, dtype=torch.bool, device=keys.device).tril(entries - count)
            scores = scores.masked_fill(~seen, -torch.inf)
        rows: Tensor = scores.softmax(-1)
        return rows

    def _heads(self, layer: int, heads: Sequence[int], keys: Tensor) -> tuple[Tensor, Tensor]:
        """Indices of the heads and of their keys' heads, on the device of the keys."""
        found = self._index.get(layer)
        if found is None or found[0].device != keys.device:
            group = self.num_heads // keys.shape[1]
            found = self._index[layer] = (
                torch.tensor(list(heads), device=keys.device),
                torch.tensor([head // group for head in heads], device=keys.device),
            )
        return found
