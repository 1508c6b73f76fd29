"""Canary: a FastConformer encoder and a Transformer decoder for 25 European languages, from and into English.

Puvvada et al. 2024, "Less is More: Accurate Speech Recognition & Translation without Web-Scale Data". The prompt is
that of Canary 2 (NeMo's `canary2`): source and target language, punctuation, neither times nor speakers.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from simulst.core.source import SAMPLE_RATE, FloatArray
from simulst.errors import ModelError
from simulst.models.attention import choose_heads, middle_layer
from simulst.models.checkpoint import load_pretrained
from simulst.models.family import ModelFamily
from simulst.models.options import option
from simulst.models.seq2seq.translator import Seq2SeqTranslator, decoding
from simulst.models.seq2seq.weights import Seq2SeqOptions
from simulst.models.seq2seq.windows import EncodedWindow
from simulst.models.text.local import load_tokenizer
from simulst.models.vocabulary import TOKENIZER_FILE, TokenizerVocabulary, read_tokenizer

MAX_SOURCE_S = 40.0
"""The length of the clips that it was trained on."""
PROMPT = (
    "<|startofcontext|>", "<|startoftranscript|>", "<|emo:undefined|>", "<|{source}|>", "<|{target}|>", "<|pnc|>",
    "<|noitn|>", "<|notimestamp|>", "<|nodiarize|>",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Options(Seq2SeqOptions):
    source: str = option("en", "language of the speech: a code such as en")
    target: str | None = option(None, "language of the text: a code such as de; none: that of the speech")


def load(directory: Path, options: Options, *, name: str, device: str, dtype: str | None) -> "Canary":
    """A Canary checkpoint from a local directory; raises ModelError with one sentence for anything unusable."""
    from transformers import ParakeetFeatureExtractor

    try:
        from transformers import CanaryForConditionalGeneration
    except ImportError as error:
        raise ModelError("Canary needs a transformers that has it; `pip install -U transformers`.") from error
    pieces, special = read_tokenizer(directory / TOKENIZER_FILE)
    prompt = read_prompt(directory, options, name)
    model = load_pretrained(CanaryForConditionalGeneration, directory, device=device, dtype=dtype)
    config, decoder = model.config, model.config.decoder_config
    extractor = ParakeetFeatureExtractor(feature_size=int(config.encoder_config.num_mel_bins))
    window = CanaryWindow(model.get_encoder(), extractor, frame=int(config.encoder_config.subsampling_factor))
    vocabulary = TokenizerVocabulary(
        directory / TOKENIZER_FILE, pieces, eos=int(config.eos_token_id), special={*special, *prompt}
    )
    heads = middle_layer(int(decoder.num_hidden_layers), int(decoder.num_attention_heads))
    return Canary(
        name=name,
        directory=directory,
        model=model,
        encoder=window,
        vocabulary=vocabulary,
        options=options,
        heads=choose_heads(directory, options.heads_file, heads),
        max_source_s=MAX_SOURCE_S,
        positions=int(decoder.max_position_embeddings),
        num_heads=int(decoder.num_attention_heads),
        prompt=prompt,
    )


def read_prompt(directory: Path, options: Options, name: str) -> tuple[int, ...]:
    """Ids of the marks before the text; ModelError for a language that the checkpoint does not know."""
    known = {str(text): int(token) for text, token in load_tokenizer(directory).get_vocab().items()}
    languages = sorted(text[2:-2] for text in known if text.startswith("<|") and len(text) == 6)
    target = options.target or options.source
    for role, language in (("source", options.source), ("target", target)):
        if language not in languages:
            raise ModelError(
                f"{name} does not know the {role} language '{language}'; it knows: {', '.join(languages)}."
            )
    marks = [mark.format(source=options.source, target=target) for mark in PROMPT]
    for mark in marks:
        if mark not in known:
            raise ModelError(
                f"The tokenizer of {name} has no {mark}; only checkpoints with Canary 2's prompt are read."
            )
    return tuple(known[mark] for mark in marks)


class CanaryWindow:
    """Canary's encoder over features that are normalised over the window."""

    min_samples = 3200

    def __init__(self, encoder: Any, extractor: Any, *, frame: int) -> None:
        self.encoder, self.extractor = encoder, extractor
        self.frame_samples = 160 * frame
        self.max_samples = int(1.5 * MAX_SOURCE_S * SAMPLE_RATE)

    def encode(self, samples: FloatArray) -> EncodedWindow:
        """The frames; what is padding after them has been cut off, so that no mask is needed."""
        samples = np.ascontiguousarray(samples[-self.max_samples :])
        features = self.extractor(samples, sampling_rate=SAMPLE_RATE, return_tensors="pt")
        weight = next(self.encoder.parameters())
        mask = features.attention_mask.to(weight.device)
        with torch.inference_mode():
            output = self.encoder(features.input_features.to(weight.device, weight.dtype), attention_mask=mask)
        frames = int(output.attention_mask[0].sum())
        n_valid = min(frames, -(-len(samples) // self.frame_samples))
        return EncodedWindow(states=output.last_hidden_state[:, :frames], n_valid=n_valid)


class Canary(Seq2SeqTranslator):
    """Weights of Canary; the prompt names both languages."""

    def __init__(self, *, prompt: tuple[int, ...], **rest: Any) -> None:
        self._prompt_ids = prompt
        super().__init__(**rest)

    def prompt(self) -> tuple[int, ...]:
        return self._prompt_ids


FAMILY = ModelFamily(name="canary", options=Options, provides=decoding, load=load, hub="nvidia/canary-1b-v2")
