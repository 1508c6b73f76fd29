"""Which heads of a speech LLM need only the first and the newest entries of its cache (DuoAttention, 2410.10819).

The model translates in turns; then what it wrote is forced again, each time with one head that sees only the first and
the newest entries. The head's cost is the divergence of the model's next-token distributions from those with every head
whole. The paper learns a gate per head instead, by the same kind of distance on text with passkeys in it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from simulst.core.history import HistoryConfig
from simulst.core.source import SAMPLE_RATE
from simulst.core.translator import ReadWrite
from simulst.errors import DataError, ModelError
from simulst.models.attention import STREAMING_FILE, Head, whole_layers
from simulst.models.fingerprint import fingerprint_of_weights
from simulst.models.sidecar import WEIGHTS
from simulst.models.speech_llm.cache import Tally
from simulst.models.speech_llm.head_budget import HeadBudget
from simulst.models.speech_llm.interleaved import PROMPT, tag
from simulst.models.speech_llm.translator import SpeechLLMTranslator
from simulst.training.calibration_data import read_examples

PLAN = ReadWrite(turn=1, max_new=lambda words: 20, most=1000)
FIRST, RECENT = PROMPT + HistoryConfig().sinks, HistoryConfig().recent


@dataclass(frozen=True, kw_only=True)
class StreamingHeads:
    """The heads that were chosen, the cheapest first."""

    heads: tuple[Head, ...]
    costs: tuple[float, ...]
    """Nats per token of each alone."""
    together: float
    """Nats per token of all of them at once."""
    examples: int
    tokens: int
    weights: str
    """Fingerprint of what they were chosen on."""

    def to_json(self) -> dict[str, object]:
        return {
            "heads": [list(head) for head in self.heads],
            "costs": [round(cost, 5) for cost in self.costs],
            "together": round(self.together, 5),
            "measure": f"divergence in nats per token with the first {FIRST} and the newest {RECENT} entries alone",
            "examples": self.examples,
            "tokens": self.tokens,
            WEIGHTS: self.weights,
        }

    def text(self, path: Path) -> str:
        lines = [
            f"layer {layer:2d}  head {head:2d}  cost {cost:.5f}"
            for (layer, head), cost in zip(self.heads, self.costs, strict=True)
        ]
        judged = f"({self.tokens} tokens, {self.examples} examples)"
        return "\n".join([*lines, f"all together        cost {self.together:.5f}  {judged}", f"stored in {path}"])


@dataclass(frozen=True, kw_only=True, eq=False)
class Sequence:
    """One stream as its decoder saw it."""

    embeds: Tensor
    """[entries, width]"""
    scored: list[int]
    """Entries after which text was decided."""


def choose_streaming_heads(
    model: object, data: Path, *, share: float = 0.5, join: int = 4, limit: int = 20
) -> StreamingHeads:
    """Choose that share of the key heads, on at most `limit` examples of `join` clips (`read_examples`).

    Heads that alignment is read from are never chosen. Raises ModelError for a model that does not work in turns or
    whose decoder is not of plain Llama layers, DataError for examples without text.
    """
    if not isinstance(model, SpeechLLMTranslator) or not model.weights.model.config.reads_and_writes:
        raise ModelError("Streaming heads are chosen on a speech LLM that reads and writes by itself.")
    examples = [sequence_of(model, one.samples) for one in read_examples(data, model, join=join, limit=limit)]
    tokens = sum(len(example.scored) for example in examples)
    if not tokens:
        raise DataError(f"The model writes nothing for {data}; give recordings of its source language.")
    config = model.weights.model.decoder.config
    heads, key_heads = int(config.num_attention_heads), int(config.num_key_value_heads)
    aligned = {(layer, head // (heads // key_heads)) for layer, head in model.weights.attention.heads}
    every = whole_layers(range(int(config.num_hidden_layers)), key_heads)
    whole = [scores(model, example, ()) for example in examples]
    costs = {head: cost(model, examples, whole, (head,)) for head in every if head not in aligned}
    chosen = sorted(costs, key=lambda head: costs[head])[: round(share * len(every))]
    return StreamingHeads(
        heads=tuple(chosen),
        costs=tuple(costs[head] for head in chosen),
        together=cost(model, examples, whole, chosen),
        examples=len(examples),
        tokens=tokens,
        weights=fingerprint_of_weights(model.directory),
    )


def streaming_path(model: object) -> Path:
    assert isinstance(model, SpeechLLMTranslator)
    return model.directory / STREAMING_FILE


def sequence_of(model: SpeechLLMTranslator, samples: np.ndarray[tuple[int], np.dtype[np.float32]]) -> Sequence:
    """What the decoder is fed while the model translates the samples in turns of one block."""
    weights, session = model.weights, model.open()
    vectors, _ = model.compute.hear(torch.from_numpy(samples), weights.model.encoder.open(), is_final=True)
    block = round(weights.block_vectors * weights.frame_s * SAMPLE_RATE)
    mark = weights.vocabulary.mark(tag(PLAN))
    parts, scored = [weights.embed([weights.speech_mark, weights.target_mark, mark])], list[int]()
    prefix, heard, length = list[int](), 0, PROMPT
    for at in range(0, len(samples), block):
        session.extend_source(samples[at : at + block])
        end = min(session.source_end, len(vectors))
        written = session.read_write(prefix, PLAN).ids
        text = weights.embed([weights.write_mark, *written, weights.read_mark])
        parts += [vectors[heard:end].to(text), text]
        scored += range(length + end - heard, length + end - heard + len(written) + 1)
        length += end - heard + len(text)
        prefix += written
        heard = end
    return Sequence(embeds=torch.cat(parts), scored=scored)


def scores(model: SpeechLLMTranslator, example: Sequence, short: Iterable[Head]) -> Tensor:
    """Log-probabilities after the scored entries, [tokens, vocabulary]."""
    budget = HeadBudget(streaming=frozenset(short), first=FIRST, recent=RECENT)
    with torch.inference_mode():
        hidden = model.compute.new_cache(Tally(), budget).extend(example.embeds).hidden
        found: Tensor = model.weights.model.output.scores(hidden[example.scored]).float().log_softmax(-1)
    return found


def cost(model: SpeechLLMTranslator, examples: list[Sequence], whole: list[Tensor], short: Iterable[Head]) -> float:
    """Mean divergence in nats of a next token with `short` heads from the one with `whole` heads."""
    heads, total, tokens = tuple(short), 0.0, 0
    for example, expected in zip(examples, whole, strict=True):
        found = scores(model, example, heads)
        total += float((expected.exp() * (expected - found)).sum())
        tokens += len(found)
    return total / tokens
