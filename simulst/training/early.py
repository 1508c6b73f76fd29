"""CTC that emits early: of two paths with the same text the earlier one is preferred (Align With Purpose, 2307.01715).

Paths are drawn from the model. Each is compared with one that has lost a repeated frame, so that all after it comes a
frame earlier and the text stays the same; where the model does not prefer that one by a margin, the difference is the
loss. The paper compares probabilities of whole paths; ours are log-probabilities per frame, which long audio does not
make vanish.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from simulst.core.settings import setting


@dataclass(frozen=True, kw_only=True)
class EarlyConfig:
    """How much early emission counts beside CTC."""

    weight: float = setting(0.0, "weight of the loss relative to CTC per token; 0: off", at_least=0)
    paths: int = setting(5, "paths drawn for each sample", at_least=1, at_most=100)
    margin: float = setting(0.01, "by how much the earlier path is to be likelier, in nats per frame", at_least=0)


def earlier(paths: Tensor, lengths: Tensor, blank: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Paths [K, frames, N] with one repeated frame of each left out, and whether there was one [K, N].

    Which one is drawn; the frames after it come one earlier, and a blank fills the last of `lengths` [N].
    """
    frames = torch.arange(paths.shape[1], device=paths.device)[None, :, None]
    repeats = torch.zeros_like(paths, dtype=torch.bool)
    repeats[:, 1:] = paths[:, 1:] == paths[:, :-1]
    repeats &= frames < lengths
    chance = torch.rand(paths.shape, generator=generator, device=paths.device).masked_fill(~repeats, -1.0)
    left_out = chance.argmax(dim=1, keepdim=True)
    taken = (frames + (frames >= left_out)).clamp(max=paths.shape[1] - 1)
    moved = paths.gather(1, taken).masked_fill(frames == lengths - 1, blank)
    return moved, repeats.any(dim=1)


def early_loss(
    log_probs: Tensor, lengths: Sequence[int], config: EarlyConfig, *, blank: int, generator: torch.Generator
) -> Tensor:
    """Mean hinge over drawn paths of log-probabilities [frames, N, tokens], of which sample n has `lengths[n]` frames.

    0 where no path repeats a frame.
    """
    device = log_probs.device
    counts = torch.tensor(lengths, device=device)
    shape = (config.paths, *log_probs.shape)
    noise = -torch.rand(shape, generator=generator, device=device).clamp_min(1e-9).log()
    paths = (log_probs.detach() - noise.log()).argmax(-1)  # Gumbel: draws from the probabilities
    moved, found = earlier(paths, counts, blank, generator)
    heard = torch.arange(len(log_probs), device=device)[:, None] < counts
    difference = _chosen(log_probs, paths) - _chosen(log_probs, moved)
    per_frame = (difference * heard).sum(1) / counts
    hinge = (per_frame + config.margin).clamp_min(0) * found
    return hinge.sum() / found.sum().clamp_min(1)


def _chosen(log_probs: Tensor, paths: Tensor) -> Tensor:
    """Log-probabilities of the tokens of paths, [K, frames, N]."""
    return log_probs.expand(len(paths), *log_probs.shape).gather(-1, paths[..., None])[..., 0]
