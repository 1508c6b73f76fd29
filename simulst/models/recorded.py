"""Attention rows of chosen heads of any model of transformers that calls its attention through the library's interface.

The model is loaded with `attention=ROWS`: the library's fused kernel, and beside it, only while somebody records, the
rows of the chosen heads from the very queries and keys the kernel was given, after norm and rotation. They equal
`output_attentions=True`.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from simulst.models.attention import Head, by_layer, check_heads, ordered_heads

ROWS = "simulst_rows"
"""Name of the attention function, for `load_pretrained(attention=ROWS)` after `register()`."""


@dataclass(kw_only=True, eq=False)
class Recording:
    """What one caller wants of the forwards inside `RowsOfHeads.recording`."""

    wanted: Mapping[nn.Module, tuple[int, Sequence[int]]]
    """An attention module to its layer and heads."""
    columns: Tensor | slice
    """[keys, units]: which keys are added up to which unit of the source, later keys count for nothing; or the keys
    that are a unit each."""
    last: int
    """How many of the newest queries give a row."""
    causal: bool
    """Whether a query sees no key after its own where no mask says anything."""
    rows: dict[int, Tensor] = field(default_factory=dict)
    """Per layer [batch, heads, last, units], float32."""


_RECORDING: ContextVar[Recording | None] = ContextVar("recording", default=None)


class RowsOfHeads:
    """Chosen heads of the attention modules of a decoder, one a layer: self-attention where it is causal, else
    cross-attention. Safe to share between sessions and threads."""

    def __init__(self, modules: Sequence[nn.Module], *, num_heads: int, heads: Sequence[Any], causal: bool) -> None:
        self.modules, self.num_heads, self.causal = list(modules), num_heads, causal
        self.heads = check_heads(heads, layers=len(self.modules), num_heads=num_heads)

    def use(self, heads: Sequence[Head] | None) -> list[Head]:
        """Take rows from these heads, or from all; their order in `Alignment.heads`."""
        self.heads = ordered_heads(heads, layers=len(self.modules), num_heads=self.num_heads)
        return list(self.heads)

    @contextmanager
    def recording(self, columns: Tensor | slice, last: int) -> Iterator[Recording]:
        """Rows of the newest `last` queries of one forward inside."""
        wanted = {self.modules[layer]: (layer, heads) for layer, heads in by_layer(self.heads).items()}
        recording = Recording(wanted=wanted, columns=columns, last=last, causal=self.causal)
        token = _RECORDING.set(recording)
        try:
            yield recording
        finally:
            _RECORDING.reset(token)

    def joined(self, recording: Recording, *, every_head: bool) -> Tensor:
        """Mean over heads [batch, rows, units], or each, layer by layer: [batch, rows, heads, units]."""
        rows = torch.cat([recording.rows[layer] for layer in sorted(recording.rows)], dim=1)
        return rows.transpose(1, 2) if every_head else rows.mean(dim=1)


def register() -> None:
    """Make the attention function known to transformers; a second call changes nothing."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(ROWS, _attention)
    AttentionMaskInterface.register(ROWS, sdpa_mask)


def _attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    recording = _RECORDING.get()
    if recording is not None and module in recording.wanted:
        layer, heads = recording.wanted[module]
        rows = _rows(query, key, attention_mask, heads, recording, options)
        recording.rows[layer] = _by_unit(rows, recording.columns)
    output: tuple[Tensor, None] = sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    return output


def _by_unit(rows: Tensor, columns: Tensor | slice) -> Tensor:
    if isinstance(columns, slice):
        return rows[..., columns]
    known = columns[: rows.shape[-1]]
    return rows[..., : len(known)] @ known


def _rows(
    query: Tensor, key: Tensor, mask: Tensor | None, heads: Sequence[int], recording: Recording, options: dict[str, Any]
) -> Tensor:
    """[batch, heads, last, keys] of the newest queries."""
    last, group = recording.last, query.shape[1] // key.shape[1]
    keys = key[:, [head // group for head in heads]].float()
    scaling = options.get("scaling") or query.shape[-1] ** -0.5
    scores = query[:, list(heads), -last:].float() @ keys.transpose(2, 3) * scaling
    bias = options.get("position_bias")
    if bias is not None:
        scores = scores + (bias if bias.shape[1] == 1 else bias[:, list(heads)])[..., -last:, :].float()
    if mask is not None:
        hidden = (mask if mask.shape[1] == 1 else mask[:, list(heads)])[..., -last:, : key.shape[2]]
        scores = scores.masked_fill(~hidden, -torch.inf) if hidden.dtype == torch.bool else scores + hidden.float()
    elif recording.causal and query.shape[2] > 1:
        first = key.shape[2] - scores.shape[2]
        later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(first + 1)
        scores = scores.masked_fill(later, -torch.inf)
    rows: Tensor = scores.softmax(-1)
    return rows
