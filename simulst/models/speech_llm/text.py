"""The text side of a speech LLM: continuations of source text and translation of source text, batched (for TAF)."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from simulst.core.prefix import common_prefix
from simulst.core.translator import Draw, Evidence, FloatArray, Hypothesis, Query
from simulst.models.decoding import Rules, Step, Stop, sample, to_hypothesis
from simulst.models.search import RECENT_IDS, search
from simulst.models.speech_llm.cache import StreamCache
from simulst.models.speech_llm.contexts import Rows, SpeechRun
from simulst.models.speech_llm.weights import Weights
from simulst.models.text.source_model import TextSide
from simulst.models.text.words import columns_of_words, words_of_pieces


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


class WordRun(SpeechRun):
    """A run over a text instead of speech; rows are over its words."""

    def __init__(self, weights: Weights, cache: StreamCache, *, columns: Tensor, rows: Rows) -> None:
        super().__init__(weights, cache, source=(1, 1 + len(columns)), rows=rows, median_frames=1)
        self._columns = columns

    def attended(self, queries: dict[int, Tensor], keys: dict[int, Tensor], positions: Sequence[int]) -> Tensor:
        return super().attended(queries, keys, positions) @ self._columns


class SpeechLLMText(TextSide):
    """The text side of a speech LLM: its decoder without speech; greedy translations are made in one batch.

    The heads that follow the audio follow the words of a text too.
    """

    evidence = frozenset({Evidence.NBEST, Evidence.LOGPROBS, Evidence.ALIGNMENT, Evidence.ALIGNMENT_HEADS})

    def __init__(self, weights: Weights, new_cache: Callable[[], StreamCache]) -> None:
        self.weights, self.device, self._new_cache = weights, str(weights.device), new_cache
        self._cache: StreamCache | None = None
        self._read: list[int] = []
        """Ids of a source text that the cache holds."""

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
        run, step, history = self._begun(text, prefix, query.want)
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

    def _begun(
        self, text: str, prefix: Sequence[int], want: frozenset[Evidence]
    ) -> tuple[WordRun, Step, FloatArray | None]:
        """A run behind text and prefix, the scores of the first new token, and the rows of the prefix; of the text only
        what is new since the last call is computed."""
        weights, every_head = self.weights, Evidence.ALIGNMENT_HEADS in want
        if self._cache is None:
            self._cache = self._new_cache()
        cache, ids = self._cache, [weights.source_mark, *weights.vocabulary.encode(text)]
        known = 0 if cache.forgets else common_prefix(self._read, ids)
        self._read = self._read[:known]
        cache.crop(known)
        rows = Rows(wanted=every_head or Evidence.ALIGNMENT in want, every_head=every_head)
        run = WordRun(weights, cache, columns=columns_of(weights, text, ids[1:]), rows=rows)
        embeds = weights.embed([*ids[known:], weights.text_target_mark, *prefix])
        step, found = run.start(embeds, range(known, known + len(embeds)), text=1 + len(prefix))
        self._read = ids
        return run, step, None if found is None else found[:-1]

    def _prompt(self, text: str, prefix: Sequence[int]) -> list[int]:
        weights = self.weights
        return [weights.source_mark, *weights.vocabulary.encode(text), weights.text_target_mark, *prefix]


def columns_of(weights: Weights, text: str, ids: Sequence[int]) -> Tensor:
    """[ids, words] of ones and zeros: which token of a text is of which of its words."""
    pieces = [weights.vocabulary.decode([token]).replace(" ", "\u2581") for token in ids]
    count = len(text.split())
    return columns_of_words(words_of_pieces(pieces, count), count, weights.device)


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
