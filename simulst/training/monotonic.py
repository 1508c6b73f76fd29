"""Training of write probabilities on a frozen decoder: the losses of EMMA (2312.04515) where nothing else may change.

alpha[t, j] is the probability that token t is written after step j: of being there when the token before was written,
and of having passed by all steps between. EMMA expects the attention under alpha; a frozen decoder says what each token
costs after each step, so here the cross-entropy itself is expected. Latency (mean expected time of a token) and the
variance of that time are weighed against it, as there. Every head is trained alone; policies read the least of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from simulst.core.settings import setting
from simulst.errors import DataError
from simulst.models.speech_llm.monotonic import MonotonicHeads
from simulst.training.monotonic_data import Table

HELD = 10
"""One table in so many is not trained on."""
NEVER = 1e-6
"""Probabilities stay this far from 0 and 1, so that logarithms are finite."""


@dataclass(frozen=True, kw_only=True)
class MonotonicConfig:
    """Data, networks and weights of the losses; the table `[monotonic]` of a recipe."""

    clips: int = setting(2000, "runs of clips, each translated once and forced after every block", at_least=20)
    minutes: float = setting(60.0, "most time for that", unit="min", above=0)
    layers: int = setting(3, "layers with write probabilities, the last of the decoder", at_least=1)
    heads: int = setting(2, "heads a layer", at_least=1)
    size: int = setting(16, "width of a head", at_least=1)
    hidden: int = setting(32, "width of the networks", at_least=1)
    steps: int = setting(800, "optimiser steps", at_least=1)
    batch: int = setting(8, "runs a step, of similar length", at_least=1)
    learning_rate: float = setting(2e-3, "of Adam, falling to 0", above=0)
    latency_weight: float = setting(0.05, "what a second of mean delay costs, in nats per token", at_least=0)
    variance_weight: float = setting(0.01, "what a squared second of its variance costs, in nats", at_least=0)
    seed: int = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class Padded:
    """Tables of one step; what is padded is written nowhere and counts for nothing."""

    queries: Tensor
    """[runs, steps, tokens, layers, width]"""
    values: Tensor
    """[runs, steps, layers, width]"""
    losses: Tensor
    """[runs, steps, tokens]"""
    heard_s: Tensor
    """[runs, steps]"""
    last: Tensor
    """[runs, steps], True at the step that hears everything and at those after it."""
    counts: Tensor
    """[runs, tokens], True for a token."""


def padded(tables: Sequence[Table]) -> Padded:
    """The tables with zeros up to the longest."""
    steps, tokens = (max(table.losses.shape[axis] for table in tables) for axis in (0, 1))
    n = len(tables)
    queries = torch.zeros(n, steps, tokens, *tables[0].queries.shape[2:])
    values = torch.zeros(n, steps, *tables[0].values.shape[1:])
    losses, heard_s = torch.zeros(n, steps, tokens), torch.zeros(n, steps)
    last, counts = torch.ones(n, steps, dtype=torch.bool), torch.zeros(n, tokens, dtype=torch.bool)
    for i, table in enumerate(tables):
        j, t = table.losses.shape
        queries[i, :j, :t], values[i, :j] = table.queries.float(), table.values.float()
        losses[i, :j, :t], heard_s[i, :j] = table.losses, table.heard_s
        last[i, : j - 1], counts[i, :t] = False, True
    return Padded(queries=queries, values=values, losses=losses, heard_s=heard_s, last=last, counts=counts)


def write_times(p: Tensor) -> Tensor:
    """alpha [.., tokens, steps] of write probabilities p [.., tokens, steps], of which the last step's is 1.

    The recursion over tokens is alpha_t = p_t * (alpha_{t-1} M_t), M_t[k, j] the chance to pass by steps k to j - 1.
    """
    passed = torch.log1p(-p.clamp(NEVER, 1 - NEVER)).cumsum(-1).roll(1, -1)
    passed = torch.cat((torch.zeros_like(passed[..., :1]), passed[..., 1:]), dim=-1)
    ways = (passed[..., None, :] - passed[..., :, None]).clamp(max=0).exp().triu()
    alpha, found = torch.zeros_like(p[..., 0, :]), []
    alpha[..., 0] = 1
    for t in range(p.shape[-2]):
        alpha = p[..., t, :] * (alpha[..., None, :] @ ways[..., t, :, :])[..., 0, :]
        found.append(alpha)
    return torch.stack(found, dim=-2)


def monotonic_loss(heads: MonotonicHeads, batch: Padded, config: MonotonicConfig) -> tuple[Tensor, Tensor, Tensor]:
    """What is minimised, the expected cross-entropy and the mean expected time of a token, over all heads."""
    p = heads(batch.queries, batch.values[:, :, None]).permute(0, 3, 2, 1)  # [runs, heads, tokens, steps]
    p = torch.where(batch.last[:, None, None], torch.ones_like(p), p)
    alpha = write_times(p)
    heard_s, mask = batch.heard_s[:, None, None], batch.counts[:, None].expand(alpha.shape[:-1])
    entropy = (alpha * batch.losses.transpose(1, 2)[:, None]).sum(-1)[mask].mean()
    time = (alpha * heard_s).sum(-1)
    variance = ((alpha * heard_s**2).sum(-1) - time**2)[mask].mean()
    delay = time[mask].mean()
    return entropy + config.latency_weight * delay + config.variance_weight * variance, entropy, delay


def train_heads(tables: Sequence[Table], layers: Sequence[int], config: MonotonicConfig) -> MonotonicHeads:
    """Networks trained on nine tables in ten; every hundred steps a line says what the others cost.

    DataError where there are too few tables.
    """
    if len(tables) < 2 * HELD:
        raise DataError(f"{len(tables)} clips are too few to train write probabilities; {2 * HELD} are needed.")
    widths = (tables[0].queries.shape[-1], tables[0].values.shape[-1])
    torch.manual_seed(config.seed)
    heads = MonotonicHeads(layers, widths=widths, heads=config.heads, size=config.size, hidden=config.hidden)
    optimiser = torch.optim.Adam(heads.parameters(), lr=config.learning_rate)
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.02, total_iters=config.steps)
    train, held = [t for i, t in enumerate(tables) if i % HELD], padded(tables[::HELD])
    train.sort(key=lambda table: table.losses.numel())
    chance = torch.Generator().manual_seed(config.seed)
    for step in range(1, config.steps + 1):
        at = int(torch.randint(max(1, len(train) - config.batch + 1), (1,), generator=chance))
        loss, *_ = monotonic_loss(heads, padded(train[at : at + config.batch]), config)
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(heads.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if step % 100 == 0 or step == config.steps:
            with torch.no_grad():
                found = [float(one) for one in monotonic_loss(heads, held, config)]
            print(f"step {step}  loss {found[0]:.3f}  cross-entropy {found[1]:.3f}  time {found[2]:.2f} s", flush=True)
    return heads.eval().requires_grad_(False)
