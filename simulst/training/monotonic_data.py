"""What write probabilities of a speech LLM are trained on: its own states and losses after every block of a clip.

The decoder is frozen, so it is run once: after each block its translation of the whole clip is forced, and its queries,
the values of the newest speech and the loss of every token are kept.
"""

import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from simulst.core.query import Query
from simulst.models.speech_llm.cache import StreamCache, Tally
from simulst.models.speech_llm.monotonic import newest_values
from simulst.models.speech_llm.translator import SpeechLLMTranslator
from simulst.training.speech import Samples, SpeechStore, augment, joined

SHORTEST = 4
"""Tokens of a translation that is worth learning from."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Table:
    """One clip: `steps` are the blocks after which something may be written, the last one hears everything."""

    queries: Tensor
    """[steps, tokens, layers, width], float16"""
    values: Tensor
    """[steps, layers, width], float16"""
    losses: Tensor
    """Of each token when it is written after that step, [steps, tokens], nats."""
    heard_s: Tensor
    """[steps]"""


def clips(store: SpeechStore, *, seed: int, most_s: float) -> Iterator[Samples]:
    """Runs of one to three clips of a voice with pauses between them, changed as in training, at most `most_s` long."""
    rng = random.Random(seed)
    voices = sorted(store.by_voice)
    while True:
        numbers = rng.choices(store.by_voice[rng.choice(voices)], k=rng.choice((1, 2, 2, 3, 3)))
        run = augment(joined([store.audio(number) for number in numbers], rng), rng)
        if len(run) <= most_s * 16_000:
            yield run


def tables(
    model: SpeechLLMTranslator, store: SpeechStore, layers: Sequence[int], *, seed: int, count: int, minutes: float
) -> list[Table]:
    """Tables of `count` runs of clips, fewer when the minutes are over."""
    found, began = list[Table](), time.monotonic()
    for samples in clips(store, seed=seed, most_s=model.max_source_s or 24.0):
        if len(found) >= count or (found and time.monotonic() - began > 60 * minutes):
            return found
        table = table_of(model, samples, layers)
        if table is not None:
            found.append(table)
    return found


def table_of(model: SpeechLLMTranslator, samples: Samples, layers: Sequence[int]) -> Table | None:
    """The model's own translation of the whole clip, forced after each block; None where it says next to nothing."""
    session = model.open()
    session.extend_source(samples, is_final=True)
    ids = session.hypothesise((), Query())[0].ids
    if len(ids) < SHORTEST:
        return None
    weights = model.weights
    vectors, _ = model.compute.hear(torch.from_numpy(samples), weights.model.encoder.open(), is_final=True)
    cache = model.compute.new_cache(Tally())
    cache.extend(weights.embed([weights.speech_mark]))
    text = weights.embed([weights.target_mark, *ids[:-1]])
    ends = [*range(weights.block_vectors, len(vectors), weights.block_vectors), len(vectors)]
    steps = [_step(model, cache, vectors[a:b], text, ids, layers) for a, b in zip([0, *ends], ends, strict=False)]
    queries, values, losses = (torch.stack(parts) for parts in zip(*steps, strict=True))
    heard_s = torch.tensor(ends) * weights.frame_s
    return Table(queries=queries.half(), values=values.half(), losses=losses, heard_s=heard_s)


def _step(
    model: SpeechLLMTranslator, cache: StreamCache, new: Tensor, text: Tensor, ids: Sequence[int], layers: Sequence[int]
) -> tuple[Tensor, Tensor, Tensor]:
    """Queries [tokens, layers, width], values [layers, width] and losses [tokens] once `new` vectors are heard too."""
    cache.extend(new)
    heard = len(cache)
    values = newest_values(cache, layers, heard)
    fed = cache.extend(text, record=True)
    with torch.inference_mode():
        scores = model.weights.model.output.scores(fed.hidden).float().log_softmax(-1)
        losses = -scores[torch.arange(len(ids)), list(ids)]
        queries = torch.stack([fed.queries[layer][0].flatten(1) for layer in layers], dim=1)
    cache.crop(heard)
    return queries, values, losses
