"""One decoding run of a speech LLM: the prompt, audio included, is computed again only from where it changed."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from simulst.core.translator import FloatArray
from simulst.models.attention import smoothed
from simulst.models.audio_llm.weights import AudioLLMWeights
from simulst.models.decoding import Step
from simulst.models.seq2seq.windows import EncodedWindow

if TYPE_CHECKING:
    from transformers import DynamicCache


class PromptCache:
    """Keys and values of the prompt that a stream decoded after last."""

    def __init__(self) -> None:
        self._embeds: Tensor | None = None
        self._layers: list[tuple[Tensor, Tensor]] = []
        self.computed = 0
        """Entries that were computed so far, all calls together."""

    def after(self, weights: AudioLLMWeights, embeds: Tensor) -> "DynamicCache":
        """A `DynamicCache` that holds the entries [count, width], and is the caller's own."""
        from transformers import DynamicCache

        shared = self._shared(embeds)
        cache = DynamicCache()
        for at, (keys, values) in enumerate(self._layers if shared else ()):
            cache.update(keys[..., :shared, :], values[..., :shared, :], at)
        if shared < len(embeds):
            with torch.inference_mode():
                weights.decoder(inputs_embeds=embeds[None, shared:], past_key_values=cache, use_cache=True)
            self.computed += len(embeds) - shared
        self._embeds, self._layers = embeds, [(layer.keys, layer.values) for layer in cache.layers]
        return cache

    def _shared(self, embeds: Tensor) -> int:
        """How many of the first entries are those of the last prompt."""
        if self._embeds is None:
            return 0
        count = min(len(embeds), len(self._embeds))
        same = (embeds[:count] == self._embeds[:count]).all(dim=-1)
        return count if bool(same.all()) else int(same.int().argmin())


class AudioRun:
    """Decoding after a prompt that holds the embeddings of one window of audio."""

    def __init__(
        self, weights: AudioLLMWeights, window: EncodedWindow, kept: PromptCache, *, rows: bool, every_head: bool
    ) -> None:
        self.weights, self.window, self._kept = weights, window, kept
        self._rows, self._every = rows, every_head
        self.marks: FloatArray | None = None

    def start(self, prompt: Sequence[int], prefix: Sequence[int]) -> tuple[Step, FloatArray | None]:
        """Feed prompt and prefix; the scores of the first new token, and the rows of the prefix."""
        weights, heard = self.weights, self.window.states[0]
        first = prompt.index(weights.prompts.mark)
        self._columns = slice(first, first + self.window.n_valid)
        embeds = torch.cat((weights.embed(prompt[:first]), heard, weights.embed(prompt[first + len(heard) :])))
        self._cache, self._batch = self._kept.after(weights, embeds[:-1]), 1
        hidden, rows = self._feed(torch.cat((embeds[-1:], weights.embed(prefix)))[None])
        if rows is None:
            return Step(logits=weights.scores(hidden)), None
        return Step(logits=weights.scores(hidden), weights=rows[:, -1]), rows[0, :-1].cpu().numpy()

    def advance(self, tokens: Sequence[int], parents: Sequence[int]) -> Step:
        if list(parents) != list(range(self._batch)):
            self._cache.reorder_cache(torch.tensor(parents, device=self.weights.device))
            self._batch = len(parents)
        hidden, rows = self._feed(self.weights.embed(tokens)[:, None])
        return Step(logits=self.weights.scores(hidden), weights=None if rows is None else rows[:, 0])

    def _feed(self, embeds: Tensor) -> tuple[Tensor, Tensor | None]:
        """The newest hidden states [batch, width] after the embeddings [batch, new, width], and a row for each."""
        heads = self.weights.attention
        with torch.inference_mode():
            if not self._rows:
                return self._forward(embeds), None
            with heads.recording(self._columns, embeds.shape[1]) as recording:
                hidden = self._forward(embeds)
            rows = heads.joined(recording, every_head=True)
            return hidden, rows if self._every else smoothed(rows, self.weights.median_frames).mean(dim=2)

    def _forward(self, embeds: Tensor) -> Tensor:
        output = self.weights.decoder(inputs_embeds=embeds, past_key_values=self._cache, use_cache=True)
        hidden: Tensor = output.last_hidden_state[:, -1]
        return hidden
