"""Train projector and decoder of the speech LLM on stored speech vectors and text; resumable, CPU or GPU."""

import json
import math
import random
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from simulst.models.speech_llm.network import OUTPUT_WEIGHT, SpeechLLM
from simulst.outputs import whole_file
from simulst.training import grouped
from simulst.training.ranks import Ranks
from simulst.training.sample import Marks, Sample, SampleConfig
from simulst.training.samples import Sampler, batches, open_vectors


@dataclass(frozen=True, kw_only=True)
class DecoderTrainingConfig:
    """Optimiser, budget and mixture."""

    steps: int = 9000
    positions: int = 2300
    """Padded positions per batch of each process."""
    learning_rate: float = 1.2e-3
    warmup_steps: int = 300
    decay_share: float = 0.4
    """The last part of the steps in which the learning rate falls linearly to 3 %."""
    label_smoothing: float = 0.1
    ctc_weight: float = 0.3
    ctc_random_tokens: int = 400
    weight_decay: float = 0.01
    checkpoint_steps: int = 250
    samples: SampleConfig = field(default_factory=SampleConfig)
    seed: int = 0


def learning_rate_scale(step: int, config: DecoderTrainingConfig) -> float:
    """Warm-up, constant, linear decay."""
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    start = config.steps * (1 - config.decay_share)
    return 1.0 if step < start else max(0.03, 1 - 0.97 * (step - start) / max(1.0, config.steps - start))


@dataclass
class Batch:
    """Tensors of one step: ids [N, S] (0 where speech or padding), masks [N, S], stacked vectors [M, width]."""

    ids: Tensor
    is_speech: Tensor
    weights: Tensor
    stacked: Tensor
    lengths: list[int]
    """Vectors per speech sample, in row order."""
    sources: list[list[int] | None]
    positions: Tensor | None = None
    """[N, S] and `mask` [N, 1, S, S], True where attention is allowed, when a sample has group positions."""
    mask: Tensor | None = None


def collate(samples: list[Sample], vectors: npt.NDArray[np.uint16] | None, width: int) -> Batch:
    longest = max(len(s.ids) for s in samples)
    ids = torch.zeros(len(samples), longest, dtype=torch.long)
    is_speech = torch.zeros(len(samples), longest, dtype=torch.bool)
    weights = torch.zeros(len(samples), longest)
    parts: list[npt.NDArray[np.uint16]] = []
    lengths, sources = [], []
    for row, sample in enumerate(samples):
        at = torch.tensor(sample.ids)
        is_speech[row, : len(at)] = at < 0
        ids[row, : len(at)] = torch.where(at < 0, -1 - at, at)
        weights[row, : len(at)] = torch.tensor(sample.weights)
        if sample.vectors is not None and vectors is not None:
            parts.append(np.asarray(vectors[sample.vectors[0] : sample.vectors[1]]))
            lengths.append(len(parts[-1]))
            sources.append(sample.source)
    flat = np.concatenate(parts) if parts else np.zeros((0, width), np.uint16)
    stacked = torch.from_numpy(flat.copy()).view(torch.bfloat16).float()
    return Batch(ids, is_speech, weights, stacked, lengths, sources, *_groups(samples, longest))


def _groups(samples: list[Sample], longest: int) -> tuple[Tensor, Tensor] | tuple[None, None]:
    """Positions and mask of a batch in which some samples have group positions."""
    if all(sample.visible is None for sample in samples):
        return None, None
    positions = torch.arange(longest).repeat(len(samples), 1)
    mask = torch.ones(longest, longest, dtype=torch.bool).tril().repeat(len(samples), 1, 1)
    for row, sample in enumerate(samples):
        if sample.visible is not None:
            source, size = len(sample.ids) - len(sample.visible), len(sample.ids)
            positions[row, :size] = grouped.positions(source, len(sample.visible))
            mask[row, :size, :size] = grouped.visibility(source, sample.visible)
    return positions, mask[:, None]


def forward(model: SpeechLLM, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """(logits of weighted positions [M, V], their targets [M], projected vectors [sum of lengths, width])."""
    embeds = F.embedding(batch.ids, model.embeddings)
    projected = model.projector(batch.stacked)
    if len(projected):
        embeds = embeds.masked_scatter(batch.is_speech[..., None], projected.to(embeds.dtype))
    # padding stands at the end only, so the causal mask alone keeps it out of every weighted row
    groups = {} if batch.mask is None else {"attention_mask": _added(batch.mask), "position_ids": batch.positions}
    hidden = model.decoder.model(inputs_embeds=embeds, use_cache=False, **groups).last_hidden_state
    chosen = batch.weights[:, 1:] > 0
    logits = model.output.scores(hidden[:, :-1][chosen])
    return logits, batch.ids[:, 1:][chosen], projected


def _added(mask: Tensor) -> Tensor:
    """The mask as what is added to the scores, which every way of computing attention takes."""
    return torch.zeros(mask.shape, device=mask.device).masked_fill(~mask, torch.finfo(torch.float32).min)


def ctc_loss(
    model: SpeechLLM, projected: Tensor, batch: Batch, blank: int, rng: random.Random, random_tokens: int
) -> Tensor:
    """CTC per source token over the tokens of the batch, some random others and the blank."""
    rows = [i for i, source in enumerate(batch.sources) if source]
    if not rows:
        return projected.sum() * 0.0
    used = sorted({t for i in rows for t in batch.sources[i] or ()})
    others = rng.sample(range(model.embeddings.shape[0]), random_tokens)
    tokens = [blank, *used, *sorted(set(others) - set(used) - {blank})]
    index = {token: k for k, token in enumerate(tokens)}
    pieces = torch.split(projected, batch.lengths)
    lengths = [batch.lengths[i] for i in rows]
    padded = torch.nn.utils.rnn.pad_sequence([pieces[i] for i in rows])
    scores = F.linear(padded, model.embeddings[torch.tensor(tokens, device=padded.device)]).float().log_softmax(-1)
    targets = torch.tensor([index[t] for i in rows for t in batch.sources[i] or ()])
    sizes = torch.tensor([len(batch.sources[i] or ()) for i in rows])
    loss = F.ctc_loss(scores, targets, torch.tensor(lengths), sizes, reduction="sum", zero_infinity=True)
    return loss / sizes.sum()


def trainable_state(model: SpeechLLM) -> dict[str, Tensor]:
    """Projector and decoder; the encoder is frozen and stored apart."""
    left_out = OUTPUT_WEIGHT if model.tied else None
    return {k: v for k, v in model.state_dict().items() if not k.startswith("encoder.") and k != left_out}


@torch.no_grad()
def dev_losses(model: SpeechLLM, groups: dict[str, list[Batch]]) -> dict[str, float]:
    """Cross-entropy per target token (no smoothing) of every named set."""
    model.eval()
    losses = {}
    for name, sets in groups.items():
        total, count = 0.0, 0
        for batch in sets:
            with torch.autocast("cpu", torch.bfloat16):
                logits, targets, _ = forward(model, batch)
            total += F.cross_entropy(logits.float(), targets, reduction="sum").item()
            count += len(targets)
        losses[name] = total / max(1, count)
    model.train()
    return losses


@dataclass
class Progress:
    """Where training stands: the next step, the step at which the present pool of batches was drawn, and what all
    runs together have used."""

    step: int = 0
    origin: int = 0
    samples: int = 0
    hours: float = 0.0


class DecoderTraining:
    """One run of `train_decoder`; `decoder.pt` (resumable) and `log.jsonl` go to `folder`."""

    def __init__(self, model: SpeechLLM, folder: Path, config: DecoderTrainingConfig, blank: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.model, self.folder, self.config, self.blank = model, folder, config, blank
        self.ranks = Ranks()
        model.encoder.requires_grad_(False)
        if model.embeddings.device.type == "cpu":  # whose fused attention takes 1.3 times as long a step of sentences
            model.decoder.set_attn_implementation("eager")
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.optimiser = torch.optim.AdamW(
            self.parameters, lr=config.learning_rate, betas=(0.9, 0.98), weight_decay=config.weight_decay, fused=True
        )
        self.progress = Progress()
        self.checkpoint = folder / "decoder.pt"
        if self.checkpoint.exists():
            self._resume()
        self.losses: list[Tensor] = []
        self.ctc: list[Tensor] = []
        self._since, self._began, self._first, self._seen = time.monotonic(), time.monotonic(), self.progress.step, 0

    def _resume(self) -> None:
        state = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
        self.model.load_state_dict(state["model"], strict=False)
        self.optimiser.load_state_dict(state["optimiser"])
        step = int(state["step"])
        self.progress = Progress(
            step, int(state.get("origin", step)), int(state.get("samples", 0)), float(state.get("hours", 0.0))
        )

    def save(self) -> None:
        """Write the checkpoint whole or not at all."""
        now = time.monotonic()
        self.progress.hours += (now - self._since) / 3600
        self._since = now
        state = {"model": trainable_state(self.model), "optimiser": self.optimiser.state_dict()}
        with whole_file(self.checkpoint) as file:
            torch.save(state | asdict(self.progress), file)

    def loss(self, batch: Batch) -> Tensor:
        """What one step minimises: smoothed cross-entropy of the weighted tokens, and CTC."""
        config = self.config
        with torch.autocast("cpu", torch.bfloat16):
            logits, targets, projected = forward(self.model, batch)
            weights = batch.weights[:, 1:][batch.weights[:, 1:] > 0]
            each = F.cross_entropy(logits.float(), targets, reduction="none", label_smoothing=config.label_smoothing)
            loss = (each * weights).sum() / weights.sum()
            rng = random.Random(f"{config.seed}/{self.progress.step}/ctc")
            ctc = ctc_loss(self.model, projected, batch, self.blank, rng, config.ctc_random_tokens)
        self.losses.append(loss.detach())
        if len(batch.lengths):
            self.ctc.append(ctc.detach())
        return loss + config.ctc_weight * ctc

    def step(self, batch: Batch) -> None:
        """One optimiser step."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.config.learning_rate * learning_rate_scale(self.progress.step, self.config)
        self.optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(self.loss(batch))
        self.ranks.average_gradients(self.parameters)
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimiser.step()
        self.progress.step += 1
        self.progress.samples += len(batch.ids) * self.ranks.size
        self._seen += len(batch.ids) * self.ranks.size

    def record(self, found: dict[str, float]) -> None:
        """A line of the log, and the same for people."""
        spent, done = time.monotonic() - self._began, self.progress.step - self._first
        values: dict[str, float] = {
            "step": self.progress.step,
            "loss": _mean(self.losses),
            "ctc": _mean(self.ctc),
            "hours": self.progress.hours + (time.monotonic() - self._since) / 3600,
            "samples": self.progress.samples,
            "samples_per_s": self._seen / spent,
            "minutes_left": (self.config.steps - self.progress.step) * spent / done / 60,
            **found,
        }
        self.losses, self.ctc = [], []
        with (self.folder / "log.jsonl").open("a") as log:
            log.write(json.dumps(values) + "\n")
        print("  ".join(f"{k} {v:.3f}" if isinstance(v, float) else f"{k} {v}" for k, v in values.items()), flush=True)


def _mean(losses: list[Tensor]) -> float:
    return torch.stack(losses).mean().item() if losses else math.nan


def train_decoder(
    model: SpeechLLM,
    sampler_of: Callable[[], Sampler],
    features: Path,
    marks: Marks,
    folder: Path,
    config: DecoderTrainingConfig,
    score: Callable[[SpeechLLM], dict[str, float]] | None = None,
) -> None:
    """Train in place; `decoder.pt` (resumable) and `log.jsonl` go to `folder`.

    `sampler_of()` is called again now and then, so that talks finished meanwhile are used; `score` gives the figures
    of the log at every checkpoint.
    """
    training = DecoderTraining(model, folder, config, marks.blank)
    progress, ranks = training.progress, training.ranks
    width = model.config.stack * model.config.encoder.model_dim
    model.train()
    rounds = 0
    while progress.step < config.steps:
        if rounds % 30 == 0:
            sampler = sampler_of()
            vectors = open_vectors(features, width) if sampler.talks else None
        rounds += 1
        seed = f"{config.seed}/{progress.origin}" + (f"/{ranks.rank}" if ranks.rank else "")
        drawn = list(batches(sampler, seed, progress.origin / config.steps, config.positions))
        for samples in drawn[progress.step - progress.origin : ranks.smallest(len(drawn))]:
            training.step(collate(samples, vectors, width))
            due = progress.step % config.checkpoint_steps == 0 or progress.step >= config.steps
            if ranks.first and (due or progress.step % 50 == 0):
                training.record(score(model) if score and due else {})
            if ranks.first and due:
                training.save()
            if progress.step >= config.steps:
                break
        progress.origin = progress.step
    model.eval()
