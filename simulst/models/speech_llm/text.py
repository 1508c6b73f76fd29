"""The text side of a speech LLM: continuations of source text and translation of source text, batched (for TAF)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from simulst.core.translator import Draw, Evidence, FloatArray, Hypothesis, Query
from simulst.models.decoding import Rules, Step, Stop, sample, to_hypothesis
from simulst.models.search import RECENT_IDS, search
from simulst.models.speech_llm.weights import Weights
from simulst.models.text.source_model import TextSide
from simulst.models.text.words import columns_of_words

if TYPE_CHECKING:
    from transformers import DynamicCache


class TextRun:
    """Decoding after text prompts of different length: padded on the left, each row at its own positions.

    With a source it is one prompt, and every step tells the attention over the words of the source.
    """

    def __init__(self, weights: Weights, prompts: Sequence[Sequence[int]], source: "SourceWords | None" = None) -> None:
        from transformers import DynamicCache

        self.weights, self.cache, self._source = weights, DynamicCache(), source
        longest = max(map(len, prompts))
        self.ids = [[0] * (longest - len(p)) + list(p) for p in prompts]
        device = weights.device
        self.mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts], device=device)

    def start(self) -> Step:
        return self._feed(torch.tensor(self.ids, device=self.weights.device))[0]

    def start_with_rows(self, last: int) -> tuple[Step, FloatArray | None]:
        """`start` of one prompt, and the rows of its last entries but the very last one, which the step has."""
        step, rows = self._feed(torch.tensor(self.ids, device=self.weights.device), last)
        return step, None if rows is None else rows[0, :-1].cpu().numpy()

    def advance(self, tokens: Sequence[int], parents: Sequence[int]) -> Step:
        order = torch.tensor(parents, device=self.weights.device)
        if list(parents) != list(range(len(self.mask))):
            self.cache.reorder_cache(order)
            self.mask = self.mask[order]
        self.mask = F.pad(self.mask, (0, 1), value=1)
        return self._feed(torch.tensor([[t] for t in tokens], device=self.weights.device))[0]

    def _feed(self, ids: Tensor, last: int = 1) -> tuple[Step, Tensor | None]:
        """The scores after the ids, and the rows of the last of them, [sequences, last, (heads,) words]."""
        model, source = self.weights.model, self._source
        positions = (self.mask.cumsum(1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        with torch.inference_mode(), self.weights.attention.recording() as queries:
            hidden = model.decoder.model(
                inputs_embeds=model.embed(ids),
                attention_mask=self.mask,
                position_ids=positions,
                past_key_values=self.cache,
                use_cache=True,
            ).last_hidden_state
            logits = model.output.scores(hidden[:, -1])
            if source is None:
                return Step(logits=logits), None
            rows = source.rows(self.weights, queries, self.cache, last)
        return Step(logits=logits, weights=rows[:, -1]), rows


@dataclass(frozen=True, kw_only=True, eq=False)
class SourceWords:
    """Where the words of a source text stand behind its mark, and whose attention over them is wanted."""

    columns: Tensor
    """[tokens, words] of ones and zeros: which token is of which word."""
    every_head: bool

    @classmethod
    def of(cls, weights: Weights, text: str, *, every_head: bool) -> "SourceWords":
        words, count, at = list[int | None](), len(text.split()), -1
        for token in weights.vocabulary.encode(text):
            at = min(at + (weights.vocabulary.starts_word(token) or at < 0), count - 1)
            words.append(at)
        return cls(columns=columns_of_words(words, count, weights.device), every_head=every_head)

    def rows(self, weights: Weights, queries: dict[int, Tensor], cache: "DynamicCache", last: int) -> Tensor:
        """Attention of the last entries over the words, [sequences, last, (heads,) words]."""
        entries = cache.get_seq_length()
        rows = weights.attention.rows(
            {layer: found[:, -last:] for layer, found in queries.items()},
            {layer: cache.layers[layer].keys for layer in queries},
            range(entries - last, entries),
            source=(1, 1 + len(self.columns)),
            median_frames=1,
            every_head=self.every_head,
        )
        return rows @ self.columns


class SpeechLLMText(TextSide):
    """The text side of a speech LLM: its decoder without speech; greedy translations are made in one batch.

    The heads that follow the audio follow the words of a text too.
    """

    evidence = frozenset({Evidence.NBEST, Evidence.LOGPROBS, Evidence.ALIGNMENT, Evidence.ALIGNMENT_HEADS})

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
        """Hypotheses with log-probabilities, by the search that the query and the options name, and with rows over the
        words of the text where they are wanted."""
        weights, options, words = self.weights, self.weights.options, len(text.split())
        source = self._source(text, query)
        run = TextRun(weights, [self._prompt(text, prefix)], source)
        step, history = run.start_with_rows(1 + len(prefix))
        rules = Rules(
            eos=weights.vocabulary.eos,
            max_new=max_new,
            suppress=weights.suppress,
            no_repeat_ngram=options.no_repeat_ngram,
            recent=tuple(prefix[-RECENT_IDS:]),
        )
        found = search(run, step, rules, options, query, n_valid=words)
        return [
            to_hypothesis(one, history=history, n_valid=words, frame_s=1.0, start_s=0.0, logprobs=True) for one in found
        ]

    def _source(self, text: str, query: Query) -> SourceWords | None:
        every_head = Evidence.ALIGNMENT_HEADS in query.want
        wanted = every_head or Evidence.ALIGNMENT in query.want
        return SourceWords.of(self.weights, text, every_head=every_head) if wanted else None

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
