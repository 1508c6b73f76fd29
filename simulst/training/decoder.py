"""Train projector and decoder of the speech LLM on stored speech vectors and text; resumable, CPU or GPU."""

import json
import random
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from warnings import catch_warnings

import torch
from torch import Tensor

from simulst.core.settings import setting
from simulst.models.speech_llm.network import SpeechLLM
from simulst.training.averaging import keep_newest, write_checkpoint
from simulst.training.batch import Batch, collate
from simulst.training.compiling import compile_layers, uncompiled
from simulst.training.computing import ON_CPU, Computing, adam, ahead
from simulst.training.early import EarlyConfig
from simulst.training.masking import MaskConfig, masked
from simulst.training.objective import cross_entropy, ctc_loss, forward
from simulst.training.ranks import Ranks
from simulst.training.sample import Marks, SampleConfig
from simulst.training.samples import Sampler, batches, open_vectors
from simulst.training.sharding import is_sharded, shard
from simulst.training.state import base_of, fill, trainable_state


@dataclass(frozen=True, kw_only=True)
class DecoderTrainingConfig:
    """Optimiser, budget and mixture."""

    steps: int = 9000
    positions: int = 2300
    """Padded positions per batch."""
    accumulate: int = setting(
        1, "batches whose mean gradient makes a step, divided among the processes, at least one each", at_least=1
    )
    learning_rate: float = 1.2e-3
    warmup_steps: int = 300
    decay_share: float = 0.4
    """The last part of the steps in which the learning rate falls linearly to 3 %."""
    label_smoothing: float = 0.1
    ctc_weight: float = 0.3
    ctc_steps: int = setting(
        0,
        "first steps that train CTC alone, for which the decoder computes nothing: a cheap begin for the projector",
        at_least=0,
    )
    ctc_random_tokens: int = 2000
    """Beside the tokens of a batch, those that CTC is scored against; with few, the others are never learned away."""
    early_ctc: EarlyConfig = field(default_factory=EarlyConfig)
    masks: MaskConfig = field(default_factory=MaskConfig)
    weight_decay: float = 0.01
    gradient_checkpointing: bool = False
    """Whether what the decoder's layers compute is computed again on the way back: more time, less memory."""
    checkpoint_steps: int = 250
    keep: int = setting(1, "newest checkpoints that stay, for means of them", at_least=1)
    samples: SampleConfig = field(default_factory=SampleConfig)
    seed: int = 0


def learning_rate_scale(step: int, config: DecoderTrainingConfig) -> float:
    """Warm-up, constant, linear decay."""
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    start = config.steps * (1 - config.decay_share)
    return 1.0 if step < start else max(0.03, 1 - 0.97 * (step - start) / max(1.0, config.steps - start))


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

    def __init__(
        self,
        model: SpeechLLM,
        folder: Path,
        config: DecoderTrainingConfig,
        blank: int,
        computing: Computing = ON_CPU,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.computing, self.ranks = computing, Ranks(computing.device)
        self.model, self.folder, self.config, self.blank = model, folder, config, blank
        self.own = self.ranks.share(config.accumulate)
        self._placed()
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.optimiser = adam(self.parameters, computing, config.learning_rate, config.weight_decay)
        self.progress = Progress()
        self.checkpoint = folder / "decoder.pt"
        if self.checkpoint.exists():
            self._resume()
        self.losses: list[Tensor] = []
        self.ctc: list[Tensor] = []
        self._since, self._began, self._first, self._seen = time.monotonic(), time.monotonic(), self.progress.step, 0

    def _placed(self) -> None:
        """Bring the model to the device, as it is to compute there."""
        model, computing = self.model, self.computing
        if self.config.gradient_checkpointing:
            with catch_warnings(action="ignore"):  # the name that transformers 5 prefers is not in 4
                model.decoder.gradient_checkpointing_enable({"use_reentrant": False})
        model.encoder.requires_grad_(False)
        if computing.on_cpu:  # whose fused attention takes 1.3 times as long a step of sentences
            model.decoder.set_attn_implementation("eager")
        if computing.sharded:
            shard(model, self.ranks, computing.device)
        model.to(computing.device)
        if not model.adapted:
            model.decoder.tie_weights()  # where moving made two of one
        if computing.compiled:
            compile_layers(model.decoder, int(model.decoder.config.num_hidden_layers), computing.device)

    def _resume(self) -> None:
        state = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
        fill(self.model, state["model"], str(self.checkpoint), base=state.get("base", ""))
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
        weights = trainable_state(self.model)
        state = {"model": weights, "optimiser": self.optimiser.state_dict(), "base": base_of(self.model)}
        write_checkpoint(state | asdict(self.progress), self.checkpoint)
        keep_newest(weights, self.folder, self.progress.step, self.config.keep)

    def loss(self, batch: Batch, number: int = 0) -> Tensor:
        """What one step minimises over its batch `number`: smoothed cross-entropy of the weighted tokens, and CTC."""
        config, alone = self.config, self.progress.step < self.config.ctc_steps
        with self.computing.autocast():
            if alone:
                projected, loss = self.model.projector(batch.stacked.float()), None
            else:
                logits, projected = forward(self.model, batch, compiled=self.computing.compiled)
                loss = cross_entropy(logits, batch, smoothing=config.label_smoothing)
            rng = random.Random(f"{config.seed}/{self.progress.step}/ctc" + (f"/{number}" if number else ""))
            ctc = ctc_loss(self.model, projected, batch, self.blank, rng, config.ctc_random_tokens, config.early_ctc)
        if len(batch.lengths):
            self.ctc.append(ctc.detach())
        if loss is None:
            return ctc
        self.losses.append(loss.detach())
        return loss + config.ctc_weight * ctc

    def step(self, own: list[Batch]) -> None:
        """One optimiser step on the batches of this process."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.config.learning_rate * learning_rate_scale(self.progress.step, self.config)
        self.optimiser.zero_grad(set_to_none=True)
        for number, batch in zip(self.own, own, strict=True):
            torch.autograd.backward(self.loss(batch.on(self.computing), number) / len(own))
        self.ranks.average_gradients(self.parameters)
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimiser.step()
        samples = sum(len(batch.ids) for batch in own) * self.ranks.size
        self.progress.step += 1
        self.progress.samples += samples
        self._seen += samples

    def steps(self, sampler_of: Callable[[], Sampler], features: Path) -> Iterator["Drawn"]:
        """The batches of every step that is left; `sampler_of()` is called again now and then."""
        config, origin, step = self.config, self.progress.origin, self.progress.step
        width = self.model.config.stack * self.model.config.encoder.model_dim
        rounds = 0
        while step < config.steps:
            if rounds % 30 == 0:
                sampler = sampler_of()
                vectors = open_vectors(features, width) if sampler.talks else None
            rounds += 1
            seeds = [f"{config.seed}/{origin}" + (f"/{number}" if number else "") for number in self.own]
            pools = [list(batches(sampler, seed, origin / config.steps, config.positions)) for seed in seeds]
            for at in range(step - origin, min(self.ranks.smallest(min(map(len, pools))), config.steps - origin)):
                own = [
                    masked(collate(pool[at], vectors, width), config.masks, random.Random(f"{seed}/{at}/masks"))
                    for seed, pool in zip(seeds, pools, strict=True)
                ]
                yield Drawn([one if self.computing.on_cpu else one.pinned() for one in own], origin)
                step += 1
            origin = step

    def record(self, found: dict[str, float]) -> None:
        """A line of the log, and the same for people."""
        spent, done = time.monotonic() - self._began, self.progress.step - self._first
        values: dict[str, float] = {
            "step": self.progress.step,
            **{name: _mean(had) for name, had in (("loss", self.losses), ("ctc", self.ctc)) if had},
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


@dataclass(frozen=True)
class Drawn:
    """The batches of a process in one step, and the step at which their pool was drawn."""

    own: list[Batch]
    origin: int


def _mean(losses: list[Tensor]) -> float:
    return torch.stack(losses).mean().item()


def train_decoder(
    model: SpeechLLM,
    sampler_of: Callable[[], Sampler],
    features: Path,
    marks: Marks,
    folder: Path,
    config: DecoderTrainingConfig,
    score: Callable[[SpeechLLM], dict[str, float]] | None = None,
    computing: Computing = ON_CPU,
) -> None:
    """Train in place; `decoder.pt` (resumable) and `log.jsonl` go to `folder`.

    `sampler_of()` is called again now and then, so that talks finished meanwhile are used; `score` gives the figures
    of the log at every checkpoint.
    """
    training = DecoderTraining(model, folder, config, marks.blank, computing)
    progress, ranks = training.progress, training.ranks
    model.train()
    for drawn in ahead(training.steps(sampler_of, features)):
        progress.origin = drawn.origin
        training.step(drawn.own)
        due = progress.step % config.checkpoint_steps == 0 or progress.step >= config.steps
        found = {}
        if score and due and (ranks.first or is_sharded(model)):
            with uncompiled() if computing.compiled else nullcontext():
                found = score(model)
        if ranks.first and (due or progress.step % 50 == 0):
            training.record(found)
        if ranks.first and due:
            training.save()
    ranks.wait()
    model.eval()
