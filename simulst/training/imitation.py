"""Fine-tune the block-causal encoder to imitate its full-context output (the idea of CarelessWhisper, 2508.12301)."""

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from simulst.audio.samples import SAMPLE_RATE
from simulst.models.speech_llm.encoder import FRAME_SAMPLES, TAIL_SAMPLES, BlockCausalEncoder, padded_samples
from simulst.training.averaging import write_checkpoint
from simulst.training.computing import ON_CPU, Computing, adam, ahead
from simulst.training.speech import SpeechStore, augment, joined


@dataclass(frozen=True, kw_only=True)
class ImitationConfig:
    """Budget and optimiser of encoder fine-tuning."""

    steps: int = 1500
    batch_s: float = 40.0
    """Seconds of audio per step; every clip of a batch has the same length."""
    lengths_s: tuple[float, ...] = (2.0, 4.0, 8.0, 16.0, 30.0)
    learning_rate: float = 2e-4
    warmup_steps: int = 50
    seed: int = 0


def full_context(encoder: BlockCausalEncoder) -> BlockCausalEncoder:
    """The same weights as one block that sees the whole clip, on the same device: Moonshine as it was trained."""
    big = 1 << 20
    config = replace(encoder.config, block_frames=big, lookahead_frames=0, left_frames=0)
    teacher = BlockCausalEncoder(config).eval().requires_grad_(False)
    teacher.load_state_dict(encoder.state_dict())
    return teacher.to(next(encoder.parameters()).device)


def _batch(store: SpeechStore, config: ImitationConfig, rng: random.Random) -> Tensor:
    length_s = rng.choice(config.lengths_s)
    frames = max(4, int(length_s * SAMPLE_RATE / FRAME_SAMPLES) // 4 * 4)
    samples = frames * FRAME_SAMPLES
    rows = []
    for _ in range(max(1, int(config.batch_s / length_s))):
        parts, total = [], 0
        numbers = store.by_voice[rng.choice(list(store.by_voice))]
        while total < samples:
            parts.append(store.audio(rng.choice(numbers)))
            total += len(parts[-1])
        rows.append(augment(joined(parts, rng)[:samples], rng))
    return torch.from_numpy(np.stack(rows))


def frames_full(teacher: BlockCausalEncoder, audio: Tensor) -> Tensor:
    """Frames of the one-block form without padding to its block size."""
    unit = teacher.config.frame_multiple
    frames = (padded_samples(audio.shape[1], unit) - TAIL_SAMPLES) // FRAME_SAMPLES
    teacher.config = replace(teacher.config, block_frames=frames)
    return teacher.full(audio)


@dataclass(frozen=True, eq=False)
class Imitation:
    """What a step minimises: how far the frames of `encoder` are from those of its full-context `teacher`."""

    encoder: BlockCausalEncoder
    teacher: BlockCausalEncoder
    computing: Computing

    def loss(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        """(what is minimised, 1 - cosine, to be shown) of clips [clips, samples] of the CPU."""
        audio = audio.to(self.computing.device, non_blocking=True)
        with self.computing.autocast():
            with torch.no_grad():
                want = frames_full(self.teacher, audio)
            got = self.encoder.full(audio)
        got, want = got.float(), want.float()
        away = 1 - F.cosine_similarity(got, want, dim=-1).mean()
        return away + (got - want).square().mean() / want.square().mean(), away.detach()


def _clips(store: SpeechStore, config: ImitationConfig, first: int) -> Iterator[Tensor]:
    for step in range(first, config.steps):
        yield _batch(store, config, random.Random(f"{config.seed}/{step}"))


def imitate(
    encoder: BlockCausalEncoder,
    store: SpeechStore,
    folder: Path,
    config: ImitationConfig,
    computing: Computing = ON_CPU,
) -> None:
    """Train in place; writes `encoder.pt` (resumable) into `folder` every 100 steps and a line of log every 25."""
    folder.mkdir(parents=True, exist_ok=True)
    encoder.to(computing.device)
    optimiser = adam(encoder.parameters(), computing, config.learning_rate, 0.0)
    checkpoint, first = folder / "encoder.pt", 0
    imitation = Imitation(encoder, full_context(encoder), computing)
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
        encoder.load_state_dict(state["encoder"])
        optimiser.load_state_dict(state["optimiser"])
        first = int(state["step"])
    encoder.train()
    began, losses = time.monotonic(), list[Tensor]()
    for step, audio in enumerate(ahead(_clips(store, config, first)), first):
        scale = min(1.0, (step + 1) / config.warmup_steps) * max(0.03, 1 - step / config.steps)
        for group in optimiser.param_groups:
            group["lr"] = config.learning_rate * scale
        optimiser.zero_grad(set_to_none=True)
        loss, away = imitation.loss(audio)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(encoder.parameters(), 1.0)
        optimiser.step()
        losses.append(away)
        if step % 25 == 24:
            per_step = (time.monotonic() - began) / (step + 1 - first)
            left = per_step * (config.steps - step - 1) / 60
            shown = f"step {step + 1}/{config.steps}  1-cos {torch.stack(losses).mean():.4f}  {per_step:.2f} s/step"
            print(f"{shown}  {left:.0f} min left", flush=True)
            losses = []
        if step % 100 == 99 or step + 1 == config.steps:
            state = {"encoder": encoder.state_dict(), "optimiser": optimiser.state_dict(), "step": step + 1}
            write_checkpoint(state, checkpoint)
    encoder.eval()
