"""The text side of a speech LLM: continuations of source text and translation of source text, batched (for TAF)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from simulst.core.translator import Hypothesis
from simulst.models.decoding import Rules, Step, sample

if TYPE_CHECKING:
    from simulst.models.speech_llm.translator import SpeechLLMTranslator


class TextRun:
    """Decoding after text prompts of different length: padded on the left, each row at its own positions."""

    def __init__(self, translator: "SpeechLLMTranslator", prompts: Sequence[Sequence[int]]) -> None:
        from transformers import DynamicCache

        self.translator, self.cache = translator, DynamicCache()
        longest = max(map(len, prompts))
        self.ids = [[0] * (longest - len(p)) + list(p) for p in prompts]
        device = translator.device
        self.mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts], device=device)

    def start(self) -> Step:
        return self._feed(torch.tensor(self.ids, device=self.translator.device))

    def advance(self, tokens: Sequence[int], parents: Sequence[int]) -> Step:
        order = torch.tensor(parents, device=self.translator.device)
        if list(parents) != list(range(len(self.mask))):
            self.cache.reorder_cache(order)
            self.mask = self.mask[order]
        self.mask = F.pad(self.mask, (0, 1), value=1)
        return self._feed(torch.tensor([[t] for t in tokens], device=self.translator.device))

    def _feed(self, ids: Tensor) -> Step:
        model = self.translator.model
        positions = (self.mask.cumsum(1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        with torch.inference_mode():
            hidden = model.decoder.model(
                inputs_embeds=F.embedding(ids, model.embeddings),
                attention_mask=self.mask,
                position_ids=positions,
                past_key_values=self.cache,
                use_cache=True,
            ).last_hidden_state
            return Step(logits=F.linear(hidden[:, -1], model.embeddings))


def continue_source(
    translator: "SpeechLLMTranslator",
    text: str,
    *,
    n: int,
    max_tokens: int,
    top_p: float,
    temperature: float,
    seed: int,
) -> list[str]:
    """Sampled continuations of `text` by the model's own source language model."""
    vocabulary = translator.vocabulary
    run = TextRun(translator, [[translator.source_mark, *vocabulary.encode(text)]])
    rules = Rules(eos=vocabulary.eos, max_new=max_tokens, suppress=translator.suppress)
    found = sample(run, run.start(), rules, count=n, seed=seed, top_p=top_p, temperature=temperature)
    return [vocabulary.decode(one.ids) for one in found]


def translate_text(
    translator: "SpeechLLMTranslator", texts: Sequence[str], prefix: Sequence[int], *, max_new: int
) -> list[Hypothesis]:
    """Greedy translations, all texts in one batch."""
    if not texts:
        return []
    vocabulary = translator.vocabulary
    prompts = [
        [translator.source_mark, *vocabulary.encode(text), translator.text_target_mark, *prefix] for text in texts
    ]
    run = TextRun(translator, prompts)
    rules = Rules(eos=vocabulary.eos, max_new=max_new, suppress=translator.suppress)
    ids: list[list[int]] = [[] for _ in texts]
    stops: list[Any] = ["length"] * len(texts)
    step, live = run.start(), set(range(len(texts)))
    for count in range(max_new):
        tokens = rules.log_probs(step.logits, ids).argmax(-1).tolist()
        for row in sorted(live):
            if tokens[row] == vocabulary.eos:
                stops[row] = "eos"
                live.discard(row)
            else:
                ids[row].append(tokens[row])
        if not live or count + 1 == max_new:
            break
        step = run.advance(tokens, list(range(len(texts))))
    return [
        Hypothesis(ids=tuple(one), stop=stop, next_id=vocabulary.eos if stop == "eos" else None)
        for one, stop in zip(ids, stops, strict=True)
    ]
