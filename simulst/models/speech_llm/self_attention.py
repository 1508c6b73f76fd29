"""Alignment from a decoder-only model: attention of chosen heads over the speech positions of its own context.

As in `attention`, hooks record queries (before rotation) for the caller only; rows are rebuilt from them and the cached
keys, and equal those of `output_attentions=True`.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from simulst.core.translator import FloatArray
from simulst.errors import ModelError
from simulst.models.attention import RecordedHeads, by_layer, smoothed

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
        self.head_dim = int(vars(layers[0].self_attn).get("head_dim", config.hidden_size // self.num_heads))

    def rows(
        self,
        queries: dict[int, Tensor],
        keys: dict[int, Tensor],
        positions: Tensor,
        *,
        source: "tuple[int, int] | Tensor",
        median_frames: int,
        every_head: bool,
        places: Tensor | None = None,
    ) -> FloatArray:
        """Attention of the query positions over the source: mean over heads [batch, rows, frames], or
        [batch, rows, heads, frames] with `every_head`.

        `positions` [rows] turn the queries; `places` (default: the same) are the cache entries that hold them, and a
        query sees entries up to its own. `source` are the entries [first, end) that stand for source, or their indices.
        """
        columns = torch.arange(*source, device=positions.device) if isinstance(source, tuple) else source
        places = positions if places is None else places
        found = [
            smoothed(self._layer_rows(queries[at], keys[at], positions, places, heads, columns), median_frames)
            for at, heads in sorted(by_layer(self.heads).items())
        ]
        joined = torch.cat(found, dim=1)
        rows = joined.transpose(1, 2) if every_head else joined.mean(dim=1)
        result: FloatArray = rows.float().cpu().numpy()
        return result

    def _layer_rows(
        self, queries: Tensor, keys: Tensor, positions: Tensor, places: Tensor, heads: Sequence[int], columns: Tensor
    ) -> Tensor:
        """[batch, heads, rows, frames]"""
        batch, count = queries.shape[:2]
        q = queries.reshape(batch, count, self.num_heads, self.head_dim).transpose(1, 2)[:, list(heads)].float()
        cos, sin = self.model.rotary_emb(q, positions[None])
        half = self.head_dim // 2
        turned = torch.cat((-q[..., half:], q[..., :half]), dim=-1)
        q = q * cos[:, None] + turned * sin[:, None]
        group = self.num_heads // keys.shape[1]
        k = keys[:, [head // group for head in heads]].float()
        scores = q @ k.transpose(2, 3) * self.head_dim**-0.5
        later = torch.arange(keys.shape[2], device=keys.device) > places[:, None]
        rows: Tensor = scores.masked_fill(later, -torch.inf).softmax(-1)
        return rows.index_select(-1, columns)
