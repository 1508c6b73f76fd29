"""Attention rows of chosen heads of any model of transformers that calls its attention through the library's interface.

The model is loaded with `attention=ROWS`: the library's fused kernel, and beside it, only while somebody records, the
rows of the chosen heads from the very queries and keys the kernel was given, after norm and rotation. They equal
`output_attentions=True`. In a forward over several sequences (`simulst.models.packed`) each attends to its own.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn

from simulst.models.attention import Head, by_layer, check_heads, ordered_heads
from simulst.models.packed import Packed, packed
from simulst.models.recording import Recording

ROWS = "simulst_rows"
"""Name of the attention function, for `load_pretrained(attention=ROWS)` after `register()`."""


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

    def masked(*given: Any, **named: Any) -> Tensor | None:
        return sdpa_mask(*given, **named) if packed() is None else None

    AttentionMaskInterface.register(ROWS, masked)


def current() -> Recording | None:
    """What the caller wants of its forward, for one that has it computed by others."""
    return _RECORDING.get()


def _attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    together = packed()
    if together is None:
        return _alone(module, query, key, value, attention_mask, **options)
    return _each(together, module, query, key, value, options), None


def _each(
    together: Packed, module: nn.Module, query: Tensor, key: Tensor, value: Tensor, options: dict[str, Any]
) -> Tensor:
    """Attention [1, entries, heads, dim] of every sequence to what it sees."""
    found, width = [], query.shape[-1]
    parts = zip(together.parts, torch.split(query, together.sizes, 2), together.seen(module, key, value), strict=True)
    for part, queries, seen in parts:
        keys, values = (nn.functional.pad(one, (0, width - one.shape[-1])) for one in (seen.keys, seen.values))
        own = options | {"is_causal": False, "position_bias": seen.bias}
        token = _RECORDING.set(part.recording)
        try:
            found.append(_alone(module, queries, keys, values, seen.mask, **own)[0])
        finally:
            _RECORDING.reset(token)
    return torch.cat(found, dim=1)


def _alone(
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
