"""The text side of a speech LLM: continuations of source text and translation of source text, batched (for TAF)."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from simulst.core.translator import Draw, Evidence, Hypothesis, Query
from simulst.models.decoding import Candidate, Rules, Step, Stop, sample, to_hypothesis
from simulst.models.search import RECENT_IDS, search
from simulst.models.speech_llm.weights import Weights
from simulst.models.text.source_model import TextSide


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
                inputs_embeds=model.embed(ids),
                attention_mask=self.mask,
                position_ids=positions,
                past_key_values=self.cache,
                use_cache=True,
            ).last_hidden_state
            return Step(logits=model.output.scores(hidden[:, -1]))


class SpeechLLMText(TextSide):
    """The text side of a speech LLM: its decoder without speech; greedy translations are made in one batch."""

    evidence = frozenset({Evidence.NBEST, Evidence.LOGPROBS})

    def __init__(self, weights: Weights) -> None:
        self.weights, self.device = weights, str(weights.device)

    def continue_source(self, text: str, draw: Draw) -> list[str]:
        """Sampled continuations of `text` by the model's own source language model."""
        weights, vocabulary = self.weights, self.weights.vocabulary
        run = TextRun(weights, [[weights.source_mark, *vocabulary.encode(text)]])
        rules = Rules(eos=vocabulary.eos, max_new=draw.max_tokens, suppress=weights.suppress)
        drawing = {"top_p": draw.top_p, "temperature": draw.temperature}
        found = sample(run, run.start(), rules, count=draw.n, seed=draw.seed, **drawing)
        return [vocabulary.decode(one.ids) for one in found]

    def translate_text(self, texts: Sequence[str], prefix: Sequence[int], *, max_new: int) -> list[Hypothesis]:
        """Greedy translations, all texts in one batch."""
        if not texts:
            return []
        run = TextRun(self.weights, [self._prompt(text, prefix) for text in texts])
        rules = Rules(eos=self.weights.vocabulary.eos, max_new=max_new, suppress=self.weights.suppress)
        return _greedy(run, rules, len(texts))

    def search_text(self, text: str, prefix: Sequence[int], query: Query, *, max_new: int) -> list[Hypothesis]:
        """Hypotheses with log-probabilities, by the search that the query and the options name."""
        weights, options = self.weights, self.weights.options
        run = TextRun(weights, [self._prompt(text, prefix)])
        rules = Rules(
            eos=weights.vocabulary.eos,
            max_new=max_new,
            suppress=weights.suppress,
            no_repeat_ngram=options.no_repeat_ngram,
            recent=tuple(prefix[-RECENT_IDS:]),
        )
        return [_plain(one) for one in search(run, run.start(), rules, options, query, n_valid=0)]

    def _prompt(self, text: str, prefix: Sequence[int]) -> list[int]:
        weights = self.weights
        return [weights.source_mark, *weights.vocabulary.encode(text), weights.text_target_mark, *prefix]


def _greedy(run: TextRun, rules: Rules, count: int) -> list[Hypothesis]:
    """The likeliest tokens of every row of a batch, until all have ended."""
    ids: list[list[int]] = [[] for _ in range(count)]
    stops: list[Stop] = ["length"] * count
    step, live = run.start(), set(range(count))
    for length in range(rules.max_new):
        tokens = rules.log_probs(step.logits, ids).argmax(-1).tolist()
        for row in sorted(live):
            if tokens[row] == rules.eos:
                stops[row] = "eos"
                live.discard(row)
            else:
                ids[row].append(tokens[row])
        if not live or length + 1 == rules.max_new:
            break
        step = run.advance(tokens, list(range(count)))
    return [
        Hypothesis(ids=tuple(one), stop=stop, next_id=rules.eos if stop == "eos" else None)
        for one, stop in zip(ids, stops, strict=True)
    ]


def _plain(found: Candidate) -> Hypothesis:
    return to_hypothesis(found, history=None, n_valid=0, frame_s=1.0, start_s=0.0, logprobs=True)
