"""Cross-attention of chosen heads, recomputed from the queries so that the model may keep its fused kernels.

A hook on the query projection of each chosen layer records the queries of one forward; with the cached keys they give
exactly the rows that `output_attentions=True` would return, for the wanted heads and positions only.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

import torch
from torch import Tensor, nn

from simulst.errors import ModelError
from simulst.models.sidecar import WEIGHTS, warn_of_others

Head = tuple[int, int]
"""Layer and head, both counted from 0."""

HEADS_FILE = "alignment_heads.json"
STREAMING_FILE = "streaming_heads.json"
"""Heads of keys that need nothing but the first and the newest entries of a cache."""

_QUERIES: ContextVar[dict[int, Tensor] | None] = ContextVar("queries", default=None)


class RecordedHeads:
    """Chosen heads of a decoder whose queries are recorded for the caller only.

    `sources` are the modules that give the queries, one a layer. Safe to share between sessions and threads.
    """

    def __init__(self, sources: Sequence[nn.Module], *, num_heads: int, heads: Sequence[Sequence[int]]) -> None:
        self.num_heads = num_heads
        self.layers = len(sources)
        self.heads = check_heads(heads, layers=self.layers, num_heads=num_heads)
        for layer, source in enumerate(sources):
            source.register_forward_hook(_recorder(layer))

    def use(self, heads: Sequence[Head] | None) -> list[Head]:
        """Take rows from these heads, or from all; their order in `Alignment.heads`."""
        self.heads = ordered_heads(heads, layers=self.layers, num_heads=self.num_heads)
        return list(self.heads)

    @contextmanager
    def recording(self) -> Iterator[dict[int, Tensor]]:
        """Queries per layer of the forwards inside, [batch, positions, heads * head_dim]."""
        queries: dict[int, Tensor] = {}
        token = _QUERIES.set(queries)
        try:
            yield queries
        finally:
            _QUERIES.reset(token)


class CrossAttention(RecordedHeads):
    """Rows of the chosen heads of a decoder.

    `layers` are the cross-attention modules in order; each has `q_proj`, `num_heads` queries of `head_dim` and scores
    scaled by `head_dim ** -0.5`. Safe to share between sessions and threads: what is recorded belongs to the caller.
    """

    def __init__(self, layers: Sequence[nn.Module], *, num_heads: int, heads: Sequence[Sequence[int]]) -> None:
        super().__init__([layer.get_submodule("q_proj") for layer in layers], num_heads=num_heads, heads=heads)

    def rows(
        self,
        queries: Mapping[int, Tensor],
        keys: Sequence[Tensor],
        *,
        first: int,
        n_valid: int,
        median_frames: int,
        every_head: bool,
    ) -> Tensor:
        """Rows of the positions from `first` on; `keys` per layer as cached.

        The mean over the chosen heads, each smoothed, [batch, positions, n_valid], or with `every_head` each of them
        as it is, [batch, positions, heads, n_valid], layer by layer: a policy that compares heads filters by itself.
        """
        found = [
            self.layer_rows(queries[layer], keys[layer], heads, first=first, n_valid=n_valid)
            for layer, heads in sorted(by_layer(self.heads).items())
        ]
        if every_head:
            rows = torch.cat(found, dim=1).transpose(1, 2)
        else:
            rows = torch.stack([smoothed(one, median_frames).sum(dim=1) for one in found]).sum(dim=0) / len(self.heads)
        return rows

    def layer_rows(self, queries: Tensor, keys: Tensor, heads: Sequence[int], *, first: int, n_valid: int) -> Tensor:
        """Attention of some heads of one layer, [batch, heads, positions, n_valid], float32."""
        batch, positions, width = queries.shape
        head_dim = width // self.num_heads
        chosen = queries[:, first:].view(batch, positions - first, self.num_heads, head_dim)[:, :, heads]
        group = self.num_heads // keys.shape[1]
        source = keys[:, [head // group for head in heads]].float()
        scores = chosen.transpose(1, 2).float() * head_dim**-0.5 @ source.transpose(2, 3)
        return torch.softmax(scores, dim=-1)[..., :n_valid]


def _recorder(layer: int) -> Callable[[nn.Module, object, Tensor], None]:
    def record(_module: nn.Module, _inputs: object, output: Tensor) -> None:
        queries = _QUERIES.get()
        if queries is not None:
            queries[layer] = output

    return record


def median_width(seconds: float, frame_s: float) -> int:
    """The largest odd number of frames that lasts at most about `seconds`; 1, no filter, where that is below three."""
    frames = int(seconds / frame_s + 0.5)
    return max(1, frames - (frames + 1) % 2)


def smoothed(weights: Tensor, width: int) -> Tensor:
    """Median over `width` neighbouring frames (odd; 0 or 1 changes nothing); NaN stays NaN.

    The newest `width // 2` frames stay as they are: what follows them is not heard yet, and a peak there must not be
    moved to frames that count as safe. At the other end the edge is repeated.
    """
    count = weights.shape[-1]
    half = min(width // 2, count)
    if width <= 1 or weights.numel() == 0:
        return weights
    padded = nn.functional.pad(weights.reshape(1, -1, count), (width // 2, 0), mode="replicate")
    if padded.shape[-1] < width:
        return weights
    middle = padded.unfold(-1, width, 1).median(dim=-1).values.reshape(*weights.shape[:-1], -1)
    return torch.cat((middle, weights[..., count - half :]), dim=-1)


def by_layer(heads: Sequence[Head]) -> dict[int, list[int]]:
    chosen: dict[int, list[int]] = {}
    for layer, head in heads:
        chosen.setdefault(layer, []).append(head)
    return chosen


def whole_layers(layers: Sequence[int], num_heads: int) -> list[Head]:
    """Every head of the given layers."""
    return [(layer, head) for layer in layers for head in range(num_heads)]


def middle_layer(layers: int, num_heads: int) -> list[Head]:
    """Every head of the layer in the middle: where source and text meet in a model about which nothing is known."""
    return whole_layers([layers // 2], num_heads)


def check_heads(heads: Sequence[Sequence[int]], *, layers: int, num_heads: int, what: str = "alignment") -> list[Head]:
    """The heads as pairs of int, in order; ModelError where one does not exist or none is named."""
    chosen: list[Head] = []
    for entry in heads:
        try:
            layer, head = (int(number) for number in entry)
        except (TypeError, ValueError, OverflowError):
            raise ModelError(f"{what.capitalize()} heads are pairs [layer, head], not {entry!r}.") from None
        if not (0 <= layer < layers and 0 <= head < num_heads):
            raise ModelError(
                f"{what.capitalize()} head [{layer}, {head}] does not exist: the decoder has layers 0 to {layers - 1} "
                f"with heads 0 to {num_heads - 1}."
            )
        chosen.append((layer, head))
    if not chosen:
        raise ModelError(f"The list of {what} heads is empty; run `simulst calibrate` on the model or name some heads.")
    return chosen


def ordered_heads(heads: Sequence[Head] | None, *, layers: int, num_heads: int) -> list[Head]:
    """These heads, or every one, layer by layer."""
    wanted = whole_layers(range(layers), num_heads) if heads is None else heads
    return sorted(check_heads(wanted, layers=layers, num_heads=num_heads), key=lambda head: head[0])


def choose_heads(directory: Path, heads_file: str | None, default: Sequence[Sequence[int]]) -> list[Sequence[int]]:
    """Heads from that file, else from the file in the model's folder, else the default."""
    if heads_file is not None:
        return read_heads(Path(heads_file).expanduser())
    if (directory / HEADS_FILE).is_file():
        return read_heads(directory / HEADS_FILE, remedy="`simulst calibrate MODEL --data DATA`")
    return list(default)


def read_heads(path: Path, *, remedy: str | None = None) -> list[Sequence[int]]:
    """The heads of an `alignment_heads.json` as `simulst calibrate` writes it: {"heads": [[layer, head], ...], ...}.

    With a `remedy`, the command that makes the file anew, one made for other weights than those beside it is warned of.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        heads = content["heads"] if isinstance(content, dict) else content
        found = list(heads)
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError, RecursionError) as error:
        raise ModelError(f"The alignment heads {path} cannot be read: {error or type(error).__name__}.") from error
    if remedy is not None and isinstance(content, dict):
        warn_of_others(path, content.get(WEIGHTS), remedy)
    return found
