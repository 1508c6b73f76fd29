"""Speech2Text: the small fairseq S2T models (MuST-C translation, LibriSpeech recognition) that AlignAtt was built on.

Wang et al. 2020, "fairseq S2T: Fast Speech-to-Text Modeling with fairseq".
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from simulst.core.languages import Pair
from simulst.errors import ModelError
from simulst.models.attention import choose_heads, middle_layer
from simulst.models.checkpoint import load_pretrained, read_json
from simulst.models.family import ModelFamily
from simulst.models.options import option
from simulst.models.recorded import ROWS, register
from simulst.models.seq2seq.translator import ManyTongues, Seq2SeqTranslator, decoding
from simulst.models.seq2seq.weights import Seq2SeqOptions
from simulst.models.seq2seq.windows import Features, FilterbankWindow, apart
from simulst.models.vocabulary import PieceVocabulary

MAX_SOURCE_S = 40.0
MARKS = ("<s>", "<pad>", "</s>", "<unk>")


@dataclass(frozen=True, kw_only=True)
class Options(Seq2SeqOptions):
    target: str | None = option(None, "language of the text, for multilingual checkpoints only")


def load(directory: Path, options: Options, *, name: str, device: str, dtype: str | None) -> "Speech2Text":
    """A Speech2Text checkpoint from a local directory; raises ModelError with one sentence for anything unusable."""
    from transformers import Speech2TextFeatureExtractor, Speech2TextForConditionalGeneration

    table = read_json(directory / "vocab.json")
    register()
    model = load_pretrained(
        Speech2TextForConditionalGeneration, directory, device=device, dtype=dtype, attention=ROWS, quantised=True
    )
    config = model.config
    languages = {text[6:-1]: token for text, token in table.items() if text.startswith("<lang:")}
    if languages and options.target not in languages:
        raise ModelError(f"{name} needs option 'target', one of: {', '.join(languages)}.")
    if options.target is not None and not languages:
        raise ModelError(f"{name} knows one target language only; leave out option 'target'.")
    special = {token for text, token in table.items() if text in MARKS or text.startswith("<lang:")}
    frame = 160 * 2 ** int(config.num_conv_layers)
    heads = middle_layer(int(config.decoder_layers), int(config.decoder_attention_heads))
    rest: dict[str, Any] = dict(
        name=name,
        directory=directory,
        model=model,
        encoder=Speech2TextWindow(
            model.get_encoder(), Speech2TextFeatureExtractor(), frame_samples=frame, max_s=1.5 * MAX_SOURCE_S
        ),
        vocabulary=PieceVocabulary(_pieces(table, name), eos=int(config.eos_token_id), special=special),
        options=options,
        heads=choose_heads(directory, options.heads_file, heads),
        max_source_s=MAX_SOURCE_S,
        positions=int(config.max_target_positions),
    )
    if options.target is None:
        return Speech2Text(**rest)
    return ManySpeech2Text(languages=languages, target=options.target, **rest)


def _pieces(table: dict[str, Any], name: str) -> list[bytes]:
    if not table or sorted(table.values()) != list(range(len(table))):
        raise ModelError(f"The vocabulary (vocab.json) of {name} does not number its pieces from 0 on.")
    return [text.replace("\u2581", " ").encode() for text, _ in sorted(table.items(), key=lambda entry: entry[1])]


class Speech2TextWindow(FilterbankWindow):
    """Convolutions that shorten the window, and layers of a Transformer."""

    def together(self, several: Sequence[Features]) -> list[Tensor]:
        return apart([self._entries(one.values) for one in several], self._layers)

    def _entries(self, values: Tensor) -> Tensor:
        hidden = self.encoder.conv(values) * self.encoder.embed_scale
        nothing_padded = torch.zeros(hidden.shape[:2], dtype=torch.long, device=hidden.device)
        placed: Tensor = hidden + self.encoder.embed_positions(nothing_padded)
        return placed

    def _layers(self, hidden: Tensor) -> Tensor:
        for layer in self.encoder.layers:
            hidden = layer(hidden, None)
        states: Tensor = self.encoder.layer_norm(hidden)
        return states


class Speech2Text(Seq2SeqTranslator):
    """Weights of Speech2Text; the prompt is the start mark."""

    def __init__(self, *, model: Any, **rest: Any) -> None:
        self._start_id = int(model.config.decoder_start_token_id)
        super().__init__(model=model, **rest)

    def prompt(self) -> tuple[int, ...]:
        return (self._start_id,)


class ManySpeech2Text(Speech2Text, ManyTongues):
    """Weights of a multilingual Speech2Text; the prompt ends in the target language."""

    def __init__(self, *, languages: dict[str, int], target: str, **rest: Any) -> None:
        self._languages = {code: int(token) for code, token in languages.items()}
        self._target = target
        super().__init__(**rest)

    def prompt(self) -> tuple[int, ...]:
        return (self._start_id, self._languages[self._target])

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """The checkpoint's source language, which it does not name, into each of its targets."""
        codes = sorted(self._languages, key=lambda code: code != self._target)
        return tuple(Pair(source="", target=code) for code in codes)

    def for_pair(self, pair: Pair) -> Self:
        """The same weights with another prompt."""
        other = copy.copy(self)
        other._target = pair.target
        return other


FAMILY = ModelFamily(
    name="speech_to_text", options=Options, provides=decoding, load=load, hub="facebook/s2t-small-mustc-en-de-st"
)
