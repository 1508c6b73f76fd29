"""Write probabilities of a speech LLM (EMMA, 2312.04515): small energies on a decoder that knows nothing of them.

A head says with p = sigmoid((f(q) . g(v) / sqrt(d) + b) / 0.2) whether the next token may be written: q is the query
of its layer where the token is predicted, v the mean of the layer's values of the newest speech (pre-decision pooling),
f and g are small networks. The decoder's own attention stays an ordinary softmax over all that is heard.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from simulst.models.sidecar import load_networks, save_networks
from simulst.models.speech_llm.cache import StreamCache

MONOTONIC_FILE = "monotonic.safetensors"
POOLED = 2
"""Newest speech vectors whose values are averaged, as in SeamlessStreaming."""
TEMPERATURE = 0.2
FIRST_BIAS = -0.5
LARGEST = 4096
"""No size of these networks is beyond this."""


class MonotonicHeads(nn.Module):
    """Energies of some layers; `heads` of `size` each, the networks `hidden` wide."""

    def __init__(self, layers: Sequence[int], *, widths: tuple[int, int], heads: int, size: int, hidden: int) -> None:
        """`widths` of the decoder's queries and values."""
        super().__init__()
        self.at, self.widths, self.heads, self.size, self.hidden = tuple(layers), widths, heads, size, hidden
        self.query = nn.ModuleList(_network(widths[0], hidden, heads * size) for _ in self.at)
        self.source = nn.ModuleList(_network(widths[1], hidden, heads * size) for _ in self.at)
        self.bias = nn.Parameter(torch.full((len(self.at) * heads,), FIRST_BIAS))

    def energies(self, queries: Tensor, values: Tensor) -> Tensor:
        """Before the sigmoid: queries [.., layers, width], values [.., layers, width] -> [.., layers * heads]."""
        found = []
        for i, (f, g) in enumerate(zip(self.query, self.source, strict=True)):
            q, v = f(queries[..., i, :]), g(values[..., i, :])
            products = (q * v).unflatten(-1, (self.heads, self.size)).sum(-1)
            found.append(products * self.size**-0.5)
        return (torch.cat(found, dim=-1) + self.bias) / TEMPERATURE

    def forward(self, queries: Tensor, values: Tensor) -> Tensor:
        """Write probability of every head, [.., layers * heads]."""
        return self.energies(queries, values).sigmoid()

    def least(self, queries: Mapping[int, Tensor], cache: StreamCache, source_end: int) -> Tensor:
        """The smallest probability of any layer and head for the last query of each layer [1, n, ..]; a number."""
        with torch.inference_mode():
            last = torch.stack([queries[layer][0, -1].flatten() for layer in self.at]).to(self.bias)
            found: Tensor = self(last, newest_values(cache, self.at, source_end).to(self.bias)).min()
        return found


def newest_values(cache: StreamCache, layers: Sequence[int], end: int) -> Tensor:
    """Mean values of the newest speech before entry `end`, [layers, heads * dim]."""
    first = max(0, end - POOLED)
    with torch.inference_mode():
        return torch.stack([cache.layers[layer].values[0, :, first:end].mean(dim=1).flatten() for layer in layers])


def _network(width: int, hidden: int, size: int) -> nn.Sequential:
    return nn.Sequential(nn.LayerNorm(width), nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, size))


def save_heads(heads: MonotonicHeads, path: Path) -> None:
    """Write the networks in half precision, their sizes and the fingerprint of the folder's weights beside them."""
    sizes = {
        "layers": heads.at,
        "widths": heads.widths,
        "heads": heads.heads,
        "size": heads.size,
        "hidden": heads.hidden,
    }
    save_networks(heads, path, key="monotonic", sizes=sizes)


def load_heads(path: Path, *, layers: int, query_width: int, value_width: int) -> MonotonicHeads:
    """The networks of a file, for a decoder of these sizes; ModelError where they do not fit.

    One warning where they were made for other weights of these sizes.
    """
    return load_networks(
        path,
        lambda sizes: _made(sizes, layers, (query_width, value_width)),
        key="monotonic",
        what="write probabilities",
        remedy="`simulst train RECIPE`, whose stage `monotonic` writes it",
    )


def _made(sizes: Mapping[str, object], layers: int, widths: tuple[int, int]) -> MonotonicHeads:
    """Networks of the sizes that a file names; ValueError for sizes that cannot be."""
    at, numbers = sizes["layers"], [sizes[key] for key in ("heads", "size", "hidden")]
    if not isinstance(at, list) or not at or not all(isinstance(one, int) and 0 <= one < layers for one in at):
        raise ValueError(f"its layers are not numbers below {layers}")
    if sizes["widths"] != list(widths):
        raise ValueError(f"it is for queries and values of width {sizes['widths']}, not {list(widths)}")
    heads, size, hidden = (one if isinstance(one, int) and 0 < one <= LARGEST else 0 for one in numbers)
    if not heads * size * hidden:
        raise ValueError(f"its heads, size and hidden are not from 1 to {LARGEST}")
    return MonotonicHeads(at, widths=widths, heads=heads, size=size, hidden=hidden)
