"""Training of a transducer's joint network on a frozen decoder (TAED, 2305.03101).

The loss is that of RNN-T (Graves 2012, 1211.3711): all ways to write the labels between the blanks, in log space by
anti-diagonals. Waiting always makes a label likelier, so each second a label waits costs it something (2211.00490).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from simulst.core.settings import setting
from simulst.errors import DataError
from simulst.models.speech_llm.transducer import JointNetwork
from simulst.training.transducer_data import Lattice, Score

HELD = 10
"""One lattice in so many is not trained on."""
NEVER = -1e30
"""The logarithm of what cannot be; finite, so that gradients are."""


@dataclass(frozen=True, kw_only=True)
class TransducerConfig:
    """Data, network and loss; the table `[transducer]` of a recipe."""

    clips: int = setting(1000, "runs of clips, each translated once and forced after every block", at_least=20)
    minutes: float = setting(60.0, "most time for that", unit="min", above=0)
    longest_s: float = setting(12.0, "longest run", unit="s", above=0)
    hidden: int = setting(256, "width of the joint network", at_least=1)
    steps: int = setting(600, "optimiser steps", at_least=1)
    label_steps: int = setting(
        200, "the last of them, which train what it changes of the tokens' scores too, and cost most", at_least=0
    )
    batch: int = setting(4, "runs a step, of similar length", at_least=1)
    learning_rate: float = setting(1e-3, "of Adam, falling to 0", above=0)
    delay_penalty: float = setting(0.1, "what a second of delay costs a token, in nats", at_least=0)
    checkpoint_steps: int = setting(100, "steps between checkpoints", at_least=1)
    seed: int = 0


def transducer_loss(blank: Tensor, label: Tensor, frames: Tensor, labels: Tensor) -> Tensor:
    """Negative log-likelihood of the labels over all ways, [n].

    `blank` [n, T, U + 1] and `label` [n, T, U] are log-probabilities at frame t after u labels; of item i the first
    `frames[i]` and `labels[i]` count.
    """
    n, t, width = blank.shape
    items, places = torch.arange(n, device=blank.device), torch.arange(width, device=blank.device)
    label = torch.cat((label, label.new_full((n, t, 1), NEVER)), dim=2)
    alpha = torch.where(places == 0, 0.0, NEVER).to(blank).expand(n, width)
    found = [alpha]
    for diagonal in range(1, t + width - 1):
        before = diagonal - 1 - places  # the frame of each place on the diagonal before
        real = (before >= 0) & (before < t)
        at = before.clamp(0, t - 1)
        waited = torch.where(real, alpha + blank[:, at, places], NEVER)
        wrote = torch.where(real, alpha + label[:, at, places], NEVER)
        wrote = torch.cat((torch.full_like(wrote[:, :1], NEVER), wrote[:, :-1]), dim=1)
        alpha = torch.logaddexp(waited, wrote)
        found.append(alpha)
    ends = torch.stack(found, dim=1)[items, frames - 1 + labels, labels]
    return -(ends + blank[items, frames - 1, labels])


@dataclass(frozen=True, kw_only=True, eq=False)
class Padded:
    """Lattices of one step; what is padded counts for nothing."""

    states: Tensor
    """[n, T, U + 1, width]"""
    speech: Tensor
    """[n, T, width]"""
    ids: Tensor
    """[n, U]"""
    own: Tensor
    """[n, T, U]"""
    heard_s: Tensor
    """[n, T]"""
    frames: Tensor
    """[n]"""
    labels: Tensor
    """[n]"""


def padded(lattices: Sequence[Lattice]) -> Padded:
    """The lattices with zeros up to the longest."""
    frames = torch.tensor([len(one.heard_s) for one in lattices])
    labels = torch.tensor([len(one.ids) for one in lattices])
    n, t, u, width = len(lattices), int(frames.max()), int(labels.max()), lattices[0].speech.shape[-1]
    states, speech = torch.zeros(n, t, u + 1, width), torch.zeros(n, t, width)
    ids, own, heard_s = torch.zeros(n, u, dtype=torch.long), torch.zeros(n, t, u), torch.zeros(n, t)
    for i, one in enumerate(lattices):
        j, k = frames[i], labels[i]
        states[i, :j, : k + 1], speech[i, :j] = one.states.float(), one.speech.float()
        ids[i, :k], own[i, :j, :k], heard_s[i, :j] = one.ids, one.own, one.heard_s
    return Padded(states=states, speech=speech, ids=ids, own=own, heard_s=heard_s, frames=frames, labels=labels)


def log_probabilities(network: JointNetwork, batch: Padded, score: Score | None) -> tuple[Tensor, Tensor]:
    """Of blank [n, T, U + 1] and of the next label [n, T, U]; only what counts is computed.

    Without a score labels are as likely as the decoder alone says.
    """
    n, t, u, _ = batch.states.shape
    within = (torch.arange(t) < batch.frames[:, None])[:, :, None] & (torch.arange(u) <= batch.labels[:, None])[:, None]
    at, frame, place = within.nonzero(as_tuple=True)
    logit, states = network(batch.speech[at, frame], batch.states[at, frame, place])
    blank = torch.zeros(n, t, u).index_put((at, frame, place), torch.nn.functional.logsigmoid(logit))
    more = place < batch.labels[at]
    at, frame, place = at[more], frame[more], place[more]
    if score is None:
        written = batch.own[at, frame, place]
    else:
        written = score(states[more]).gather(1, batch.ids[at, place][:, None])[:, 0]
    label = torch.zeros(n, t, u - 1).index_put(
        (at, frame, place), torch.nn.functional.logsigmoid(-logit[more]) + written
    )
    return blank, label


def joint_loss(network: JointNetwork, batch: Padded, score: Score | None, delay_penalty: float) -> Tensor:
    """What is minimised, per label."""
    blank, label = log_probabilities(network, batch, score)
    late = label - delay_penalty * batch.heard_s[:, :, None]
    return transducer_loss(blank, late, batch.frames, batch.labels).sum() / batch.labels.sum()


def judged(network: JointNetwork, batch: Padded, score: Score | None) -> tuple[float, float]:
    """Per label: the negative log-likelihood, and the mean time it is written at in s."""
    with torch.no_grad():
        blank, label = log_probabilities(network, batch, score)
    label.requires_grad_()
    loss = transducer_loss(blank, label, batch.frames, batch.labels).sum()
    posterior = -torch.autograd.grad(loss, label)[0]
    count = float(batch.labels.sum())
    return float(loss.detach()) / count, float((posterior * batch.heard_s[:, :, None]).sum()) / count


@dataclass(kw_only=True, eq=False)
class Training:
    """A network, its optimiser and how far they are."""

    network: JointNetwork
    optimiser: torch.optim.Adam
    step: int = 0

    @classmethod
    def begin(cls, width: int, config: TransducerConfig) -> "Training":
        torch.manual_seed(config.seed)
        network = JointNetwork(width, config.hidden)
        return cls(network=network, optimiser=torch.optim.Adam(network.parameters(), lr=config.learning_rate))

    def state(self) -> dict[str, object]:
        return {"network": self.network.state_dict(), "optimiser": self.optimiser.state_dict(), "step": self.step}


def split(lattices: Sequence[Lattice]) -> tuple[list[Lattice], list[Lattice]]:
    """Those to train on, by size, and those held back; DataError where there are too few."""
    if len(lattices) < 2 * HELD:
        raise DataError(f"{len(lattices)} clips are too few to train a transducer; {2 * HELD} are needed.")
    train = [one for i, one in enumerate(lattices) if i % HELD]
    return sorted(train, key=lambda one: one.states.numel()), list(lattices[::HELD])


def train_joint(
    training: Training,
    lattices: Sequence[Lattice],
    score: Score,
    config: TransducerConfig,
    save: Callable[[Training], None],
) -> JointNetwork:
    """Go on with a training to its last step; every `checkpoint_steps` it is saved and a line says what the lattices
    cost that are held back."""
    train, held = split(lattices)
    while training.step < config.steps:
        chance = torch.Generator().manual_seed(1_000_003 * config.seed + training.step)
        at = int(torch.randint(max(1, len(train) - config.batch + 1), (1,), generator=chance))
        batch = padded(train[at : at + config.batch])
        for group in training.optimiser.param_groups:
            group["lr"] = config.learning_rate * (1 - training.step / config.steps)
        scored = score if config.steps - training.step <= config.label_steps else None
        loss = joint_loss(training.network, batch, scored, config.delay_penalty)
        training.optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(training.network.parameters(), 1.0)
        training.optimiser.step()
        training.step += 1
        if training.step % config.checkpoint_steps == 0 or training.step == config.steps:
            save(training)
            print(_line(training, held, scored, config), flush=True)
    return training.network.eval().requires_grad_(False)


def _line(training: Training, held: Sequence[Lattice], score: Score | None, config: TransducerConfig) -> str:
    """Where a training stands, by the lattices that are held back."""
    parts = [
        judged(training.network, padded(held[at : at + config.batch]), score)
        for at in range(0, len(held), config.batch)
    ]
    nats, written_s = (sum(column) / len(parts) for column in zip(*parts, strict=True))
    return f"step {training.step}  {nats:.3f} nats a token  written at {written_s:.2f} s"
