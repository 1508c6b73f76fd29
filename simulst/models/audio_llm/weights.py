"""What the streams of one speech LLM share: audio encoder, language model, vocabulary, prompt."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from simulst.models.attention import choose_heads, middle_layer
from simulst.models.audio_llm.encoder import AudioEncoder
from simulst.models.audio_llm.options import Options
from simulst.models.audio_llm.prompts import AudioPrompt
from simulst.models.recorded import RowsOfHeads
from simulst.models.seq2seq.weights import WindowWeights
from simulst.models.vocabulary import PieceVocabulary


class AudioLLMWeights(WindowWeights):
    """Weights and vocabulary of a speech LLM; alignment is its self-attention from the text to the audio."""

    tokens_per_second = 8.0  # for a vocabulary that was not made for the target language
    attention: RowsOfHeads
    encoder: AudioEncoder
    options: Options

    def __init__(
        self,
        *,
        model: Any,
        vocabulary: PieceVocabulary,
        options: Options,
        prompts: AudioPrompt,
        transcript: AudioPrompt | None,
        ends: frozenset[int],
        scale: float = 1.0,
        **shared: Any,
    ) -> None:
        self._breaks = frozenset(at for at, piece in enumerate(vocabulary.pieces) if b"\n" in piece)
        self._ends = ends
        super().__init__(model=model, vocabulary=vocabulary, options=options, **shared)
        self.prompts, self.transcript, self.scale = prompts, transcript, scale
        self.ends = torch.tensor(sorted(ends), device=self.device)
        config = self.decoder.config
        heads = middle_layer(int(config.num_hidden_layers), int(config.num_attention_heads))
        self.attention = RowsOfHeads(
            [layer.self_attn for layer in self.decoder.layers],
            num_heads=int(config.num_attention_heads),
            heads=choose_heads(self.directory, options.heads_file, heads),
            causal=True,
        )

    def suppressed(self) -> frozenset[int]:
        """Line breaks, which answers of a sentence do not need, and the other ends, which count as the first."""
        return self._breaks | self._ends

    def embed(self, ids: Sequence[int]) -> Tensor:
        """Embeddings [ids, width] of the language model."""
        table = self.decoder.get_input_embeddings()
        with torch.inference_mode():
            embeds: Tensor = table(torch.tensor(ids, dtype=torch.long, device=self.device))
        return embeds

    def scores(self, hidden: Tensor) -> Tensor:
        """Scores [batch, vocabulary], float32; every end adds to that of the first."""
        with torch.inference_mode():
            logits: Tensor = self.scorer(hidden).float() / self.scale
            logits[:, self.vocabulary.eos] = logits[:, self.ends].logsumexp(-1)
        return logits
