"""Fine-tune the block-causal encoder to imitate its full-context output (the idea of CarelessWhisper, 2508.12301)."""

import random
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from simulst.audio.samples import SAMPLE_RATE
from simulst.models.speech_llm.encoder import FRAME_SAMPLES, TAIL_SAMPLES, BlockCausalEncoder, padded_samples
from simulst.outputs import whole_file
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
    """The same weights as one block that sees the whole clip: Moonshine as it was trained."""
    big = 1 << 20
    config = replace(encoder.config, block_frames=big, lookahead_frames=0, left_frames=0)
    teacher = BlockCausalEncoder(config).eval().requires_grad_(False)
    teacher.load_state_dict(encoder.state_dict())
    return teacher


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


def imitate(encoder: BlockCausalEncoder, store: SpeechStore, folder: Path, config: ImitationConfig) -> None:
    """Train in place; writes `encoder.pt` (resumable) into `folder` every 100 steps and a line of log every 25."""
    folder.mkdir(parents=True, exist_ok=True)
    teacher = full_context(encoder)
    optimiser = torch.optim.AdamW(encoder.parameters(), lr=config.learning_rate, betas=(0.9, 0.98), weight_decay=0.0)
    checkpoint, first = folder / "encoder.pt", 0
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
        encoder.load_state_dict(state["encoder"])
        optimiser.load_state_dict(state["optimiser"])
        first = int(state["step"])
    encoder.train()
    began, losses = time.monotonic(), []
    for step in range(first, config.steps):
        rng = random.Random(f"{config.seed}/{step}")
        audio = _batch(store, config, rng)
        scale = min(1.0, (step + 1) / config.warmup_steps) * max(0.03, 1 - step / config.steps)
        for group in optimiser.param_groups:
            group["lr"] = config.learning_rate * scale
        with torch.autocast("cpu", torch.bfloat16):
            with torch.no_grad():
                want = frames_full(teacher, audio)
            got = encoder.full(audio)
        got, want = got.float(), want.float()
        cosine = F.cosine_similarity(got, want, dim=-1).mean()
        error = (got - want).square().mean() / want.square().mean()
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(1 - cosine + error)
        torch.nn.utils.clip_grad_norm_(encoder.parameters(), 1.0)
        optimiser.step()
        losses.append(1 - cosine.item())
        if step % 25 == 24:
            per_step = (time.monotonic() - began) / (step + 1 - first)
            left = per_step * (config.steps - step - 1) / 60
            shown = f"step {step + 1}/{config.steps}  1-cos {np.mean(losses):.4f}  {per_step:.2f} s/step"
            print(f"{shown}  {left:.0f} min left", flush=True)
            losses = []
        if step % 100 == 99 or step + 1 == config.steps:
            state = {"encoder": encoder.state_dict(), "optimiser": optimiser.state_dict(), "step": step + 1}
            with whole_file(checkpoint) as file:
                torch.save(state, file)
    encoder.eval()
