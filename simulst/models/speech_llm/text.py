"""The text side of a speech LLM: continuations of source text and translation of source text, batched (for TAF)."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from simulst.core.translator import Draw, Hypothesis, Query
from simulst.models.decoding import Candidate, Rules, Step, sample, to_hypothesis
from simulst.models.search import RECENT_IDS, search
from simulst.models.speech_llm.weights import Weights


class TextRun:
    """Decoding after text prompts of different length: padded on the left, each row at its own positions."""

    def __init__(self, weights: Weights, prompts: Sequence[Sequence[int]]) -> None:
        from transformers import DynamicCache

        self.weights, self.cache = weights, DynamicCache()
        longest = max(map(len, prompts))
        self.ids = [[0] * (longest - len(p)) + list(p) for p in prompts]
        device = weights.device
        self.mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts], device=device)

    def start(self) -> Step:
        return self._feed(torch.tensor(self.ids, device=self.weights.device))

    def advance(self, tokens: Sequence[int], parents: Sequence[int]) -> Step:
        order = torch.tensor(parents, device=self.weights.device)
        if list(parents) != list(range(len(self.mask))):
            self.cache.reorder_cache(order)
            self.mask = self.mask[order]
        self.mask = F.pad(self.mask, (0, 1), value=1)
        return self._feed(torch.tensor([[t] for t in tokens], device=self.weights.device))

    def _feed(self, ids: Tensor) -> Step:
        model = self.weights.model
        positions = (self.mask.cumsum(1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        with torch.inference_mode():
            hidden = model.decoder.model(
                inputs_embeds=F.embedding(ids, model.embeddings),
                attention_mask=self.mask,
                position_ids=positions,
                past_key_values=self.cache,
                use_cache=True,
            ).last_hidden_state
            return Step(logits=model.output.scores(hidden[:, -1]))


def continue_source(weights: Weights, text: str, draw: Draw) -> list[str]:
    """Sampled continuations of `text` by the model's own source language model."""
    vocabulary = weights.vocabulary
    run = TextRun(weights, [[weights.source_mark, *vocabulary.encode(text)]])
    rules = Rules(eos=vocabulary.eos, max_new=draw.max_tokens, suppress=weights.suppress)
    drawing = {"top_p": draw.top_p, "temperature": draw.temperature}
    found = sample(run, run.start(), rules, count=draw.n, seed=draw.seed, **drawing)
    return [vocabulary.decode(one.ids) for one in found]


def translate_text(weights: Weights, texts: Sequence[str], prefix: Sequence[int], *, max_new: int) -> list[Hypothesis]:
    """Greedy translations, all texts in one batch."""
    if not texts:
        return []
    vocabulary = weights.vocabulary
    prompts = [[weights.source_mark, *vocabulary.encode(text), weights.text_target_mark, *prefix] for text in texts]
    run = TextRun(weights, prompts)
    rules = Rules(eos=vocabulary.eos, max_new=max_new, suppress=weights.suppress)
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


def search_text(weights: Weights, text: str, prefix: Sequence[int], query: Query, *, max_new: int) -> list[Hypothesis]:
    """Hypotheses of one source text that begin with `prefix`, by the search that the options name; best first."""
    vocabulary, options = weights.vocabulary, weights.options
    prompt = [weights.source_mark, *vocabulary.encode(text), weights.text_target_mark, *prefix]
    run = TextRun(weights, [prompt])
    rules = Rules(
        eos=vocabulary.eos,
        max_new=max_new,
        suppress=weights.suppress,
        no_repeat_ngram=options.no_repeat_ngram,
        recent=tuple(prefix[-RECENT_IDS:]),
    )
    found = search(run, run.start(), rules, options, query, n_valid=0)
    return [_plain(one) for one in found]


def _plain(found: Candidate) -> Hypothesis:
    return to_hypothesis(found, history=None, n_valid=0, frame_s=1.0, start_s=0.0, logprobs=True)
