"""One decoding run of an encoder-decoder: self-attention cache per run, cross-attention cache per window of audio."""

from collections.abc import Sequence

import torch
from torch import Tensor

from simulst.core.translator import FloatArray
from simulst.models.decoding import Step
from simulst.models.seq2seq.weights import Seq2SeqWeights
from simulst.models.seq2seq.windows import EncodedWindow


class DecoderRun:
    """One decoding run over an encoded window: the decoder's caches, and attention rows where they are wanted."""

    def __init__(self, weights: Seq2SeqWeights, window: EncodedWindow, *, rows: bool, every_head: bool = False) -> None:
        from transformers import DynamicCache, EncoderDecoderCache

        self.weights, self.window, self.rows, self.every_head = weights, window, rows, every_head
        if window.cross_cache is None:
            window.cross_cache = DynamicCache()
        self.cross = window.cross_cache
        self.cache = EncoderDecoderCache(DynamicCache(), self.cross)
        self.prompt_hidden: Tensor | None = None
        self.marks: FloatArray | None = None

    def start(self, prompt: Sequence[int], prefix: Sequence[int]) -> tuple[Step, FloatArray | None]:
        """Feed prompt and prefix; the scores of the first new token, and the rows of the prefix."""
        fed = self.weights.compute.feed(self, [[*prompt, *prefix]])
        self.prompt_hidden = fed.hidden[0, : len(prompt)]
        marks = len(prompt) - 1  # the last one predicts the first token of the text
        rows = self._rows(fed.queries, first=0 if self.every_head else marks)
        if rows is None:
            return Step(logits=fed.logits), None
        if self.every_head:
            self.marks, rows = rows[0, :marks].transpose(0, 1).cpu().numpy(), rows[:, marks:]
        return Step(logits=fed.logits, weights=rows[:, -1]), rows[0, :-1].cpu().numpy()

    def advance(self, tokens: Sequence[int], parents: Sequence[int]) -> Step:
        own = self.cache.self_attention_cache
        if list(parents) != list(range(own.layers[0].keys.shape[0])):
            own.reorder_cache(torch.tensor(parents, device=self.weights.device))
            self._spread(len(parents))
        fed = self.weights.compute.feed(self, [[token] for token in tokens])
        rows = self._rows(fed.queries, first=0)
        return Step(logits=fed.logits, weights=None if rows is None else rows[:, 0])

    def scores(self, hidden: Tensor) -> Tensor:
        with torch.inference_mode():
            logits: Tensor = self.weights.scorer(hidden)
        return logits

    def _rows(self, queries: dict[int, Tensor], *, first: int) -> Tensor | None:
        if not self.rows:
            return None
        keys = [layer.keys for layer in self.cross.layers]
        with torch.inference_mode():
            return self.weights.attention.rows(
                queries,
                keys,
                first=first,
                n_valid=self.window.n_valid,
                median_frames=self.weights.median_frames,
                every_head=self.every_head,
            )

    def _spread(self, batch: int) -> None:
        """Let the cached keys and values of the one source serve `batch` sequences, without copying them."""
        from transformers import DynamicCache, EncoderDecoderCache

        spread = DynamicCache()
        assert self.window.cross_cache is not None
        for i, layer in enumerate(self.window.cross_cache.layers):
            spread.update(layer.keys.expand(batch, -1, -1, -1), layer.values.expand(batch, -1, -1, -1), i)
        self.cross = spread
        self.cache = EncoderDecoderCache(self.cache.self_attention_cache, spread)
