"""Positions of a causal language model: which ones take them explicitly, and how a cached key moves to another place.

A rotary key is turned by an angle in proportion to its position, so a key that was computed at one position becomes the
key of another one by one more turn: entries of a cache can be evicted and the rest closed up without computing anything
again. Whether a model of transformers is of that kind is not read off its name but tried (`Rotary.of`).
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from simulst.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

SHORTEST_WINDOW = 1024
"""Sliding windows shorter than this would hide entries that are kept."""
PROBE = ((0, 1, 2), (5, 9, 11))
KEPT_TURNS = 1 << 16
"""Sines and cosines of that many positions may be kept."""

Turns = tuple[Tensor, Tensor]


class TurnTable:
    """Cosines, and sines with the sign of a half turn, of a model's `rotary_emb`: computed once for all streams.

    A vector x [.., dim] at a position becomes x * cos + x.roll(dim / 2) * sin.
    """

    def __init__(self, rotary_emb: Callable[[Tensor, Tensor], Turns]) -> None:
        self._rotary = rotary_emb
        self._known: Turns | None = None

    def __call__(self, positions: Sequence[int], like: Tensor) -> Turns:
        """[n, 1, dim], of the type and on the device of `like`; positions that follow each other copy nothing."""
        first, last, count = positions[0], max(positions), len(positions)
        if last >= KEPT_TURNS:
            return self._computed(torch.tensor(list(positions), device=like.device), like)
        known = self._known
        if known is None or len(known[0]) <= last or (known[0].dtype, known[0].device) != (like.dtype, like.device):
            size = 1 << max(10, last.bit_length())
            known = self._known = self._computed(torch.arange(size, device=like.device), like)
        if list(positions) == list(range(first, first + count)):
            return known[0][first : first + count], known[1][first : first + count]
        index = torch.tensor(list(positions), device=like.device)
        return known[0][index], known[1][index]

    def _computed(self, positions: Tensor, like: Tensor) -> Turns:
        """A half turn swaps the halves and negates one; the sign is in the sines, which leaves a plain roll."""
        cos, sin = (one[0, :, None] for one in self._rotary(like, positions[None]))
        half = sin.shape[-1] // 2
        return cos, torch.cat((-sin[..., :half], sin[..., half:]), dim=-1)


class Rotary:
    """Turns keys [..., n, head_dim] of a model whose `rotary_emb` gives cosines and sines by position."""

    def __init__(self, base: "PreTrainedModel") -> None:
        self.module = base.rotary_emb

    @classmethod
    def of(cls, decoder: "PreTrainedModel") -> "Rotary":
        """The positions of a causal language model of transformers; ModelError unless they can be given and moved."""
        config, base = decoder.config, dict(decoder.named_children()).get("model")
        reason = _unfit(config.to_dict(), base)
        if reason is None:
            rotary = cls(base)
            reason = _disproved(rotary, decoder)
            if reason is None:
                return rotary
        raise ModelError(
            f"The decoder {config.model_type} {reason}; positions=grouped, cache=evict and read/write streams need a "
            "rotary model that takes explicit position ids, such as Llama, Mistral, Qwen2 or Qwen3."
        )

    def move(self, keys: Tensor, old: Sequence[int], new: Sequence[int]) -> Tensor:
        """Keys [..., n, head_dim] that stand at `old` positions, turned to `new` ones; computed in float32."""
        difference = torch.tensor(new, device=keys.device) - torch.tensor(old, device=keys.device)
        if not difference.any():
            return keys
        wide = keys.float()
        cos, sin = self.module(wide, difference[None])
        scale = (cos.square() + sin.square()).sqrt()  # YaRN scales both; a move must not scale again
        half = keys.shape[-1] // 2
        turned = torch.cat((-wide[..., half:], wide[..., :half]), dim=-1)
        moved: Tensor = (wide * cos + turned * sin) / scale
        return moved.to(keys.dtype)


def _unfit(config: dict[str, Any], base: nn.Module | None) -> str | None:
    if base is None or not {"rotary_emb", "layers"} <= set(dict(base.named_children())):
        return "has no rotary positions"
    scaling = config.get("rope_scaling") or config.get("rope_parameters") or {}
    kind = scaling.get("rope_type", scaling.get("type", "default")) if isinstance(scaling, dict) else "default"
    if kind in ("dynamic", "longrope"):
        return f"has rotary angles that depend on the length of the text ({kind})"
    window = config.get("sliding_window")
    kinds = config.get("layer_types")
    slides = "sliding_attention" in kinds if kinds else config.get("use_sliding_window", True)
    if window is not None and slides and window < SHORTEST_WINDOW:
        return f"attends within a sliding window of {window} entries"
    return None


def _disproved(rotary: Rotary, decoder: "PreTrainedModel") -> str | None:
    """Compute three keys at two sets of positions: moving the first must give the second."""
    from transformers import DynamicCache

    weight = decoder.get_input_embeddings().weight
    generator = torch.Generator().manual_seed(0)
    embeds = torch.randn(1, 3, weight.shape[1], generator=generator).to(weight)
    keys = []
    for positions in PROBE:
        cache = DynamicCache()
        try:
            with torch.inference_mode():
                decoder.model(
                    inputs_embeds=embeds,
                    position_ids=torch.tensor([positions], device=weight.device),
                    past_key_values=cache,
                    use_cache=True,
                )
        except TypeError:
            return "takes no position ids"
        keys.append(cache.layers[0].keys)
    size = keys[1].abs().max()
    close = 1e-4 if weight.dtype == torch.float32 else 3e-2
    if (keys[0] - keys[1]).abs().max() < close * size:
        return "does not heed the position ids it is given"
    try:
        moved = rotary.move(keys[0], *PROBE)
    except (TypeError, RuntimeError):
        return "turns its keys in a way of its own"
    return None if (moved - keys[1]).abs().max() < close * size else "turns its keys in a way of its own"
