"""SeamlessM4T (1 and 2): speech in some hundred languages to text in as many; StreamAtt's figures were measured on it.

Seamless Communication 2023, "SeamlessM4T: Massively Multilingual & Multimodal Machine Translation".
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from torch import Tensor

from simulst.core.languages import Pair
from simulst.errors import ModelError
from simulst.models.attention import choose_heads, middle_layer
from simulst.models.checkpoint import load_pretrained, read_json
from simulst.models.family import ModelFamily
from simulst.models.options import option
from simulst.models.packed import filled_up
from simulst.models.recorded import ROWS, register
from simulst.models.seq2seq.translator import ManyTongues, decoding
from simulst.models.seq2seq.weights import Seq2SeqOptions
from simulst.models.seq2seq.windows import Features, FilterbankWindow
from simulst.models.vocabulary import TOKENIZER_FILE, TokenizerVocabulary, read_tokenizer

MAX_SOURCE_S = 40.0
UNSPACED = frozenset({"cmn", "cmn_Hant", "yue", "jpn", "tha", "lao", "mya", "khm"})
_SHORT = {
    "ar": "arb", "cs": "ces", "de": "deu", "en": "eng", "es": "spa", "fr": "fra", "it": "ita", "ja": "jpn",
    "nl": "nld", "pl": "pol", "pt": "por", "ru": "rus", "tr": "tur", "uk": "ukr", "zh": "cmn",
}  # fmt: skip
"""Two-letter codes for the three-letter ones of the model."""
_LONG = {long: short for short, long in _SHORT.items()}


@dataclass(frozen=True, kw_only=True)
class Options(Seq2SeqOptions):
    target: str = option("eng", "language of the text: a code of the model such as deu, or de, en, es, fr, ...")


def load(directory: Path, options: Options, *, name: str, device: str, dtype: str | None) -> "Seamless":
    """A SeamlessM4T checkpoint from a local directory; raises ModelError with one sentence for anything unusable."""
    from transformers import SeamlessM4TFeatureExtractor, SeamlessM4TForSpeechToText, SeamlessM4Tv2ForSpeechToText

    register()
    second = read_json(directory / "config.json").get("model_type") == "seamless_m4t_v2"
    kind = SeamlessM4Tv2ForSpeechToText if second else SeamlessM4TForSpeechToText
    pieces, special = read_tokenizer(directory / TOKENIZER_FILE)
    model = load_pretrained(kind, directory, device=device, dtype=dtype, attention=ROWS, quantised=True)
    config = model.config
    codes = model.generation_config.to_dict().get("text_decoder_lang_to_code_id") or {}
    languages = {str(code).strip("_"): int(token) for code, token in codes.items()}
    target = _SHORT.get(options.target, options.target).strip("_")
    if target not in languages:
        raise ModelError(
            f"{name} does not know the target language '{options.target}'; it knows: {', '.join(languages)}."
        )
    stride = 2 * int(config.adaptor_stride) ** int(config.num_adapter_layers)
    window = SeamlessWindow(
        model.get_encoder(), SeamlessM4TFeatureExtractor(), frame_samples=160 * stride, max_s=1.5 * MAX_SOURCE_S
    )
    vocabulary = TokenizerVocabulary(
        directory / TOKENIZER_FILE,
        pieces,
        eos=int(config.eos_token_id),
        special={*special, *languages.values(), int(config.pad_token_id)},
        spaced=target not in UNSPACED,
    )
    heads = middle_layer(int(config.decoder_layers), int(config.decoder_attention_heads))
    return Seamless(
        name=name,
        directory=directory,
        model=model,
        encoder=window,
        vocabulary=vocabulary,
        options=options,
        heads=choose_heads(directory, options.heads_file, heads),
        max_source_s=MAX_SOURCE_S,
        positions=int(config.max_position_embeddings),
        languages=languages,
        target=target,
    )


class SeamlessWindow(FilterbankWindow):
    """SeamlessM4T's conformer, and the adapter that shortens what it says."""

    def together(self, several: Sequence[Features]) -> list[Tensor]:
        """The adapter, which has no mask for its convolutions, sees each window alone."""
        values, mask = filled_up([one.values for one in several])
        projected = self.encoder.feature_projection(values)
        hidden = self.encoder.encoder(projected, attention_mask=mask.long())
        return [self._shortened(own[None, : one.values.shape[1]]) for own, one in zip(hidden, several, strict=True)]

    def _shortened(self, hidden: Tensor) -> Tensor:
        hidden = hidden + 0.5 * self.encoder.intermediate_ffn(hidden)
        if self.encoder.adapter is not None:
            hidden = self.encoder.adapter(hidden, attention_mask=None)
        states: Tensor = self.encoder.inner_layer_norm(hidden)
        return states


class Seamless(ManyTongues):
    """Weights of SeamlessM4T's speech encoder and text decoder; the prompt ends in the target language."""

    cross_attention = "cross_attention"

    def __init__(self, *, model: Any, languages: dict[str, int], target: str, **rest: Any) -> None:
        self._start_id = int(model.config.decoder_start_token_id)
        self._languages, self._target = languages, target
        super().__init__(model=model, **rest)

    def prompt(self) -> tuple[int, ...]:
        return (self._start_id, self._languages[self._target])

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """Any language into each of the model's, the one it was loaded for first."""
        codes = sorted(self._languages, key=lambda code: code != self._target)
        return tuple(Pair(source="", target=_LONG.get(code, code)) for code in codes)

    def for_pair(self, pair: Pair) -> Self:
        """The same weights with another prompt."""
        other = copy.copy(self)
        other._target = _SHORT.get(pair.target, pair.target)
        other.vocabulary = copy.copy(self.vocabulary)
        other.vocabulary.spaced = other._target not in UNSPACED
        return other


FAMILY = ModelFamily(
    name="seamless_m4t", options=Options, provides=decoding, load=load, hub="facebook/seamless-m4t-v2-large"
)
