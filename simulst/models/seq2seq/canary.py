"""Canary: a FastConformer encoder and a Transformer decoder for 25 European languages, from and into English.

Puvvada et al. 2024, "Less is More: Accurate Speech Recognition & Translation without Web-Scale Data". The prompt is
that of Canary 2 (NeMo's `canary2`): source and target language, punctuation, neither times nor speakers.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from torch import Tensor

from simulst.core.languages import Pair
from simulst.core.source import SAMPLE_RATE, FloatArray
from simulst.errors import ModelError
from simulst.models.attention import choose_heads, middle_layer
from simulst.models.checkpoint import load_pretrained
from simulst.models.family import ModelFamily
from simulst.models.options import option
from simulst.models.packed import filled_up
from simulst.models.recorded import ROWS, register
from simulst.models.seq2seq.translator import ManyTongues, decoding
from simulst.models.seq2seq.weights import Seq2SeqOptions
from simulst.models.seq2seq.windows import Features, JointWindow
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
    register()
    pieces, special = read_tokenizer(directory / TOKENIZER_FILE)
    pair = Pair(source=options.source, target=options.target or options.source)
    prompts = read_prompts(directory, pair, name)
    model = load_pretrained(
        CanaryForConditionalGeneration, directory, device=device, dtype=dtype, attention=ROWS, quantised=True
    )
    config, decoder = model.config, model.config.decoder_config
    extractor = ParakeetFeatureExtractor(feature_size=int(config.encoder_config.num_mel_bins))
    window = CanaryWindow(model.get_encoder(), extractor, frame=int(config.encoder_config.subsampling_factor))
    vocabulary = TokenizerVocabulary(
        directory / TOKENIZER_FILE,
        pieces,
        eos=int(config.eos_token_id),
        special={*special, *prompts.of(pair), *prompts.tongues()},
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
        prompts=prompts,
        pair=pair,
    )


@dataclass(frozen=True, kw_only=True)
class Prompts:
    """The ids of the marks of a checkpoint."""

    ids: Mapping[str, int]
    languages: tuple[str, ...]

    def tongues(self) -> set[int]:
        """Those that name a language."""
        return {self.ids[f"<|{code}|>"] for code in self.languages}

    def of(self, pair: Pair) -> tuple[int, ...]:
        """Those before the text."""
        return tuple(self.ids[mark.format(source=pair.source, target=pair.target)] for mark in PROMPT)


def read_prompts(directory: Path, pair: Pair, name: str) -> Prompts:
    """The marks of a checkpoint; ModelError for a language of the pair that it does not know."""
    known = {str(text): int(token) for text, token in load_tokenizer(directory).get_vocab().items()}
    languages = sorted(text[2:-2] for text in known if text.startswith("<|") and len(text) == 6)
    for role, language in (("source", pair.source), ("target", pair.target)):
        if language not in languages:
            raise ModelError(
                f"{name} does not know the {role} language '{language}'; it knows: {', '.join(languages)}."
            )
    for mark in PROMPT:
        if mark.format(source=pair.source, target=pair.target) not in known:
            raise ModelError(
                f"The tokenizer of {name} has no {mark}; only checkpoints with Canary 2's prompt are read."
            )
    return Prompts(ids=known, languages=tuple(languages))


class CanaryWindow(JointWindow):
    """Canary's encoder over features that are normalised over the window."""

    min_samples = 3200

    def __init__(self, encoder: Any, extractor: Any, *, frame: int) -> None:
        self.encoder, self.extractor = encoder, extractor
        self.frame_samples = 160 * frame
        self.max_samples = int(1.5 * MAX_SOURCE_S * SAMPLE_RATE)

    def features(self, samples: FloatArray) -> Features:
        samples = np.ascontiguousarray(samples[-self.max_samples :])
        features = self.extractor(samples, sampling_rate=SAMPLE_RATE, return_tensors="pt")
        weight = next(self.encoder.parameters())
        return Features(
            values=features.input_features.to(weight.device, weight.dtype),
            samples=len(samples),
            mask=features.attention_mask.to(weight.device),
        )

    def alone(self, one: Features) -> Tensor:
        return self.together([one])[0]

    def together(self, several: Sequence[Features]) -> list[Tensor]:
        """The frames; what is padding after them has been cut off, so that no mask is needed."""
        values, _ = filled_up([one.values for one in several])
        mask, _ = filled_up([one.mask for one in several if one.mask is not None])
        output = self.encoder(values, attention_mask=mask)
        frames = output.attention_mask.sum(dim=1).tolist()
        states: Tensor = output.last_hidden_state
        return [own[None, : int(count)] for own, count in zip(states, frames, strict=True)]


class Canary(ManyTongues):
    """Weights of Canary; the prompt names both languages."""

    def __init__(self, *, prompts: Prompts, pair: Pair, **rest: Any) -> None:
        self._prompts, self._pair = prompts, pair
        super().__init__(**rest)

    def prompt(self) -> tuple[int, ...]:
        return self._prompts.of(self._pair)

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """Every language transcribed, into English and from English; the pair it was loaded for first."""
        codes = self._prompts.languages
        known = [Pair(source=code, target=code) for code in codes]
        if "en" in codes:
            known += [Pair(source=code, target="en") for code in codes if code != "en"]
            known += [Pair(source="en", target=code) for code in codes if code != "en"]
        return (self._pair, *(pair for pair in known if pair != self._pair))

    def for_pair(self, pair: Pair) -> Self:
        """The same weights with another prompt."""
        other = copy.copy(self)
        other._pair = pair
        return other


FAMILY = ModelFamily(name="canary", options=Options, provides=decoding, load=load, hub="nvidia/canary-1b-v2")
