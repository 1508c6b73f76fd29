"""Train projector and decoder of the speech LLM on stored speech vectors and text; resumable, CPU or GPU."""

import json
import math
import random
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from simulst.training import grouped
from simulst.training.ranks import Ranks
from simulst.training.samples import Marks, Sample, SampleConfig, Sampler, batches
from simulst.translators.speech_llm_model import SpeechLLM


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
    groups = {} if batch.mask is None else {"attention_mask": batch.mask, "position_ids": batch.positions}
    hidden = model.decoder.model(inputs_embeds=embeds, use_cache=False, **groups).last_hidden_state
    chosen = batch.weights[:, 1:] > 0
    logits = F.linear(hidden[:, :-1][chosen], model.embeddings)
    return logits, batch.ids[:, 1:][chosen], projected


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


def save_checkpoint(path: Path, model: SpeechLLM, optimiser: torch.optim.Optimizer, step: int, origin: int) -> None:
    """`origin` is the step at which the present pool of batches was drawn, so that a resumed run draws it again."""
    state = {"model": trainable_state(model), "optimiser": optimiser.state_dict(), "step": step, "origin": origin}
    torch.save(state, path.with_suffix(".tmp"))
    path.with_suffix(".tmp").replace(path)


def trainable_state(model: SpeechLLM) -> dict[str, Tensor]:
    """Projector and decoder; the encoder is frozen and stored apart."""
    return {k: v for k, v in model.state_dict().items() if not k.startswith("encoder.") and "lm_head" not in k}


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


def train_decoder(
    model: SpeechLLM,
    sampler_of: Any,
    features: Path,
    marks: Marks,
    folder: Path,
    config: DecoderTrainingConfig,
    dev: dict[str, list[Batch]] | None = None,
) -> None:
    """Train in place; `decoder.pt` (resumable) and `log.jsonl` go to `folder`.

    `sampler_of()` is called again now and then, so that talks finished meanwhile are used.
    """
    from simulst.training.samples import open_vectors

    folder.mkdir(parents=True, exist_ok=True)
    ranks = Ranks()
    width = model.config.stack * model.config.encoder.model_dim
    model.encoder.requires_grad_(False)
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(
        parameters, lr=config.learning_rate, betas=(0.9, 0.98), weight_decay=config.weight_decay, fused=True
    )
    checkpoint, step, origin = folder / "decoder.pt", 0, 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"], strict=False)
        optimiser.load_state_dict(state["optimiser"])
        step = int(state["step"])
        origin = int(state.get("origin", step))
    model.train()
    began, first, seen = time.monotonic(), step, 0
    sums: dict[str, list[float]] = {"loss": [], "ctc": []}
    round_number = 0
    sampler: Sampler = sampler_of()
    vectors = open_vectors(features, width) if sampler.talks else None
    while step < config.steps:
        if round_number % 30 == 29:
            sampler = sampler_of()
            vectors = open_vectors(features, width) if sampler.talks else None
        round_number += 1
        seed = f"{config.seed}/{origin}" + (f"/{ranks.rank}" if ranks.rank else "")
        drawn = list(batches(sampler, seed, origin / config.steps, config.positions))
        for samples in drawn[step - origin : ranks.smallest(len(drawn))]:
            rng = random.Random(f"{config.seed}/{step}/ctc")
            for group in optimiser.param_groups:
                group["lr"] = config.learning_rate * learning_rate_scale(step, config)
            batch = collate(samples, vectors, width)
            with torch.autocast("cpu", torch.bfloat16):
                logits, targets, projected = forward(model, batch)
                weights = batch.weights[:, 1:][batch.weights[:, 1:] > 0]
                each = F.cross_entropy(
                    logits.float(), targets, reduction="none", label_smoothing=config.label_smoothing
                )
                loss = (each * weights).sum() / weights.sum()
                ctc = ctc_loss(model, projected, batch, marks.blank, rng, config.ctc_random_tokens)
            optimiser.zero_grad(set_to_none=True)
            (loss + config.ctc_weight * ctc).backward()  # type: ignore[no-untyped-call]
            ranks.average_gradients(parameters)
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimiser.step()
            step += 1
            seen += len(samples)
            sums["loss"].append(loss.item())
            if ctc.item() > 0:
                sums["ctc"].append(ctc.item())
            if step % 50 == 0 and ranks.first:
                spent = time.monotonic() - began
                record = {
                    "step": step,
                    "loss": float(np.mean(sums["loss"])),
                    "ctc": float(np.mean(sums["ctc"] or [math.nan])),
                    "samples_per_s": seen * ranks.size / spent,
                    "talks": len(sampler.talks),
                    "minutes_left": (config.steps - step) * spent / (step - first) / 60,
                }
                sums = {"loss": [], "ctc": []}
                if dev and step % config.checkpoint_steps == 0:
                    record |= dev_losses(model, dev)
                with (folder / "log.jsonl").open("a") as log:
                    log.write(json.dumps(record) + "\n")
                shown = "  ".join(f"{k} {v:.3f}" if isinstance(v, float) else f"{k} {v}" for k, v in record.items())
                print(shown, flush=True)
            if ranks.first and (step % config.checkpoint_steps == 0 or step >= config.steps):
                save_checkpoint(checkpoint, model, optimiser, step, origin)
            if step >= config.steps:
                break
        origin = step
    model.eval()
