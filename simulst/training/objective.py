"""What the training of the decoder minimises: cross-entropy of the tokens that count, and CTC of the speech vectors."""

import random

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers.cache_utils import DynamicCache, DynamicLayer

from simulst.models.speech_llm.network import SpeechLLM
from simulst.training.batch import Batch
from simulst.training.computing import Computing
from simulst.training.early import EarlyConfig, early_loss

LATE = EarlyConfig()
"""Plain CTC."""


def forward(model: SpeechLLM, batch: Batch, *, compiled: bool = False) -> tuple[Tensor, Tensor]:
    """(logits of the tokens that count [T, V], projected vectors [M, width]).

    Compiled layers have no cache: they would be compiled once for each layer, whose number in it they ask for.
    """
    embeds = model.embed(batch.ids)
    projected = model.projector(batch.stacked.float())
    if len(projected):
        embeds = embeds.masked_scatter(batch.is_speech[..., None], projected.to(embeds.dtype))
    # padding stands at the end only, so the causal mask alone keeps it out of every weighted row
    groups = {} if batch.mask is None else {"attention_mask": _added(batch.mask), "position_ids": batch.positions}
    cache = None if compiled else _nothing_kept(int(model.decoder.config.num_hidden_layers))
    hidden = model.decoder.model(
        inputs_embeds=embeds, past_key_values=cache, use_cache=not compiled, **groups
    ).last_hidden_state
    return model.output.scores(hidden.flatten(0, 1)[batch.rows]), projected


class _Passing(DynamicLayer):  # type: ignore[misc]
    """A layer of a cache that keeps nothing."""

    def __init__(self) -> None:
        self.is_initialized = True

    def get_seq_length(self, *_: object) -> int:
        return 0

    def update(self, key_states: Tensor, value_states: Tensor, *_: object, **__: object) -> tuple[Tensor, Tensor]:
        return key_states, value_states


def _nothing_kept(layers: int) -> DynamicCache:
    """Where there is a cache, transformers does not look for packed sequences, which would wait for the device."""
    cache = DynamicCache()
    cache.layers = [_Passing() for _ in range(layers)]
    return cache


def _added(mask: Tensor) -> Tensor:
    """The mask as what is added to the scores, which every way of computing attention takes."""
    return torch.zeros(mask.shape, device=mask.device).masked_fill(~mask, torch.finfo(torch.float32).min)


def cross_entropy(logits: Tensor, batch: Batch, *, smoothing: float) -> Tensor:
    """Mean over the tokens that count, by their weights."""
    each = F.cross_entropy(logits.float(), batch.targets, reduction="none", label_smoothing=smoothing)
    return (each * batch.weights).sum() / batch.weights.sum()


def ctc_loss(
    model: SpeechLLM,
    projected: Tensor,
    batch: Batch,
    blank: int,
    rng: random.Random,
    random_tokens: int,
    early: EarlyConfig = LATE,
) -> Tensor:
    """CTC per source token over the tokens of the batch, some random others and the blank, and the weighted loss of
    `early` where that has a weight."""
    rows = [i for i, source in enumerate(batch.sources) if source]
    if not rows:
        return projected.sum() * 0.0
    used = sorted({t for i in rows for t in batch.sources[i] or ()})
    size = int(model.config.decoder["vocab_size"])
    others = rng.sample(range(size), min(random_tokens, size))
    tokens = [blank, *used, *sorted(set(others) - set(used) - {blank})]
    index = {token: k for k, token in enumerate(tokens)}
    pieces, device = torch.split(projected, batch.lengths), projected.device
    padded = torch.nn.utils.rnn.pad_sequence([pieces[i] for i in rows])
    columns = model.embed(torch.tensor(tokens, device=device))
    scores = F.linear(padded, columns).float().log_softmax(-1)
    targets = torch.tensor([index[t] for i in rows for t in batch.sources[i] or ()], device=device)
    lengths, sizes = [batch.lengths[i] for i in rows], [len(batch.sources[i] or ()) for i in rows]
    loss: Tensor = torch.ctc_loss(scores, targets, lengths, sizes, reduction=2, zero_infinity=True)  # 2: the sum
    loss = loss / sum(sizes)
    if early.weight:
        generator = torch.Generator(device).manual_seed(rng.getrandbits(31))
        loss = loss + early.weight * early_loss(scores, lengths, early, blank=0, generator=generator)
    return loss


@torch.no_grad()
def dev_losses(model: SpeechLLM, groups: dict[str, list[Batch]], computing: Computing) -> dict[str, float]:
    """Cross-entropy per target token (no smoothing) of every named set, whose batches lie on the device."""
    model.eval()
    losses = {}
    for name, sets in groups.items():
        total, count = torch.zeros((), device=computing.device), 0
        for batch in sets:
            with computing.autocast():
                logits, _ = forward(model, batch)
            total += F.cross_entropy(logits.float(), batch.targets, reduction="sum")
            count += len(batch.targets)
        losses[name] = float(total) / max(1, count)
    model.train()
    return losses
