"""The decoder written out: a Llama's layers with fewer and larger products, on the entries of one stream.

A token costs little arithmetic and much calling, so queries, keys and values are one product, so are the two halves of
the feed-forward layer, and sines and cosines lie in a table. It shares its weights with the model of transformers,
which runs all that is not one stream alone (beams, batches, text), and gives the same hidden states.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from simulst.errors import ModelError
from simulst.models.kernels import plain
from simulst.models.speech_llm.cache import DirectForward, Fed, RowLayer, StreamCache
from simulst.models.speech_llm.output import OutputLayer
from simulst.models.speech_llm.rotary import Rotary, Turns, TurnTable

PROBED = (3, 1, 2)
"""Entries of the forwards by which a written decoder is compared with the model."""


class Attended(Protocol):
    """What is cached of one layer, as attention fills it and looks at it."""

    def write(self, start: int, keys: Tensor, values: Tensor) -> None:
        """New entries [1, heads, n, dim] from place `start` on."""
        ...

    def attend(self, queries: Tensor, mask: Tensor | None) -> Tensor:
        """What the queries [1, heads, n, dim] of the new entries see."""
        ...


class WrittenLayer(nn.Module):
    """One layer; the projections that it fuses become views of the fused weights."""

    def __init__(self, layer: Any, heads: int, key_heads: int, head_dim: int) -> None:
        super().__init__()
        attention, mlp = layer.self_attn, layer.mlp
        self.heads, self.key_heads, self.head_dim = heads, key_heads, head_dim
        self.qkv = _fused(attention.q_proj, attention.k_proj, attention.v_proj)
        self.output = plain(attention.o_proj.weight, attention.o_proj.bias)
        self.gate_up = _fused(mlp.gate_proj, mlp.up_proj)
        self.down = plain(mlp.down_proj.weight, mlp.down_proj.bias)
        self.norm, self.mlp_norm = layer.input_layernorm, layer.post_attention_layernorm

    def project(self, x: Tensor, turns: Turns) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """[n, width] -> queries as the model records them [n, heads * dim]; queries, keys, values [1, h, n, dim]."""
        qkv = self.qkv(_normed(x, self.norm))
        turning, cos, sin = self.heads + self.key_heads, *turns
        qk = qkv[:, : turning * self.head_dim].view(len(x), turning, self.head_dim)
        turned = (qk * cos + qk.roll(self.head_dim // 2, -1) * sin).transpose(0, 1)[None]
        v = qkv[:, turning * self.head_dim :].view(len(x), self.key_heads, self.head_dim).transpose(0, 1)[None]
        return qkv[:, : self.heads * self.head_dim], turned[:, : self.heads], turned[:, self.heads :], v

    def forward(self, x: Tensor, q: Tensor, cached: Attended, mask: Tensor | None) -> Tensor:
        """What comes after the projections, [n, width]."""
        x = x + self.output(cached.attend(q, mask)[0].transpose(0, 1).reshape(len(x), -1))
        gate, up = self.gate_up(_normed(x, self.mlp_norm)).chunk(2, dim=-1)
        after: Tensor = x + self.down(F.silu(gate) * up)
        return after


class WrittenDecoder(nn.Module):
    """All layers of a causal language model of transformers; implements no cache of its own."""

    def __init__(self, decoder: Any) -> None:
        super().__init__()
        config, base = decoder.config, decoder.model
        self.heads, self.key_heads = int(config.num_attention_heads), int(config.num_key_value_heads)
        heads, key_heads = self.heads, self.key_heads
        head_dim = base.layers[0].self_attn.q_proj.out_features // heads
        self.layers = nn.ModuleList(WrittenLayer(layer, heads, key_heads, head_dim) for layer in base.layers)
        self.norm = base.norm
        self.turns = TurnTable(base.rotary_emb)

    def forward(
        self, embeds: Tensor, positions: Sequence[int], cached: Sequence[RowLayer], recorded: dict[int, Tensor] | None
    ) -> Tensor:
        """Hidden states [n, width] of new entries, whose keys and values are appended; queries by layer if wanted."""
        past, mask = cached[0].length, None
        if len(embeds) > 1 and past:
            mask = torch.ones(len(embeds), past + len(embeds), dtype=torch.bool, device=embeds.device).tril(past)
        return self.through(embeds, self.turns(positions, embeds), cached, recorded, past=past, mask=mask)

    def through(
        self,
        x: Tensor,
        turns: Turns,
        cached: Sequence[Attended],
        recorded: dict[int, Tensor] | None,
        *,
        past: int = 0,
        mask: Tensor | None = None,
    ) -> Tensor:
        """The same for entries whose places are known to the caches."""
        for index, layer in enumerate(self.layers):
            queries, q, k, v = layer.project(x, turns)  # type: ignore[operator]
            if recorded is not None:
                recorded[index] = queries[None]
            cached[index].write(past, k, v)
            x = layer(x, q, cached[index], mask)
        return _normed(x, self.norm)


class WrittenForward:
    """One stream at a time, in the thread that asks; implements `cache.Forward`."""

    def __init__(self, written: WrittenDecoder, output: OutputLayer) -> None:
        self.written, self.output = written, output

    def __call__(
        self, cache: StreamCache, embeds: Tensor, positions: Sequence[int], *, record: bool, score: bool
    ) -> Fed:
        recorded: dict[int, Tensor] | None = {} if record else None
        with torch.inference_mode():
            hidden = self.written(embeds, positions, cache.layers, recorded)
            logits = self.output.scores(hidden[-1:]) if score else None
        cache.appended(positions)
        return Fed(hidden=hidden, queries=recorded or {}, logits=logits)


def written_out(decoder: Any) -> WrittenDecoder | None:
    """The decoder of a model of transformers written out; None where it is of another kind, which is tried and not
    read off its name: hidden states must be those of the model."""
    if decoder.config.to_dict().get("sliding_window") is not None:
        return None
    try:
        rotary, written = Rotary.of(decoder), WrittenDecoder(decoder)
        close = _difference(written, decoder, rotary) < (1e-4 if decoder.dtype == torch.float32 else 5e-2)
    except (ModelError, AttributeError, TypeError, RuntimeError):
        return None
    return written if close else None


def _difference(written: WrittenDecoder, decoder: Any, rotary: Rotary) -> float:
    """How far hidden states of a few forwards are from those of the model, in parts of the largest."""
    output, layers = OutputLayer.of(decoder), len(written.layers)
    forwards = (DirectForward(decoder, lambda: nullcontext({})), WrittenForward(written, output))
    caches = [StreamCache(forward, layers, rotary=rotary) for forward in forwards]
    weight, generator = decoder.get_input_embeddings().weight, torch.Generator().manual_seed(0)
    largest = 0.0
    for count in PROBED:
        embeds = torch.randn(count, weight.shape[1], generator=generator).to(weight)
        theirs, ours = (cache.extend(embeds).hidden.float() for cache in caches)
        largest = max(largest, float((theirs - ours).abs().max() / theirs.abs().max()))
    return largest


def _normed(x: Tensor, norm: Any) -> Tensor:
    return F.rms_norm(x, x.shape[-1:], norm.weight, norm.variance_epsilon)


def _fused(*layers: nn.Linear) -> nn.Linear:
    """One layer with the outputs of all, whose weights they share from now on."""
    weight = _joined([layer.weight for layer in layers])
    biases = [layer.bias for layer in layers if layer.bias is not None]
    for layer, part in zip(layers, torch.split(weight, [len(layer.weight) for layer in layers]), strict=True):
        layer.weight = nn.Parameter(part, requires_grad=False)
    return plain(weight, _joined(biases) if biases else None)


def _joined(parts: Sequence[Tensor]) -> Tensor:
    return torch.cat([part.detach() for part in parts])
