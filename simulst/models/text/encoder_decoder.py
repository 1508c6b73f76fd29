"""Encoder-decoders of text: Marian (OPUS-MT), M2M100 and NLLB, mBART, T5 and MADLAD.

Rows of cross-attention are told over the words of the source. Tiedemann & Thottingal 2020, "OPUS-MT"; Fan et al. 2021,
"Beyond English-Centric Multilingual Machine Translation"; NLLB Team 2022; Kudugunta et al. 2023, "MADLAD-400".
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from simulst.core.languages import Pair
from simulst.core.translator import Evidence, Translator
from simulst.errors import ModelError
from simulst.models.checkpoint import load_pretrained, read_json
from simulst.models.family import ModelFamily
from simulst.models.meeting import Meeting
from simulst.models.packed import CROSS_ATTENTION
from simulst.models.recorded import ROWS, register
from simulst.models.text.compute import Compute, Direct, ReadOnce
from simulst.models.text.languages import is_spaced
from simulst.models.text.local import SEARCHED, LocalModel, LocalOptions, TextRun, load_tokenizer, read_pieces
from simulst.models.text.marks import Asked, Told, told_targets
from simulst.models.text.translator import TEXT
from simulst.models.text.words import columns_of_words, words_of_pieces
from simulst.models.vocabulary import PieceVocabulary


@dataclass(frozen=True, kw_only=True)
class Options(LocalOptions):
    pass


def load(directory: Path, options: Options, *, name: str, device: str, dtype: str | None) -> "EncoderDecoder":
    """A text encoder-decoder from a local directory; raises ModelError with one sentence for anything unusable."""
    from transformers import AutoModelForSeq2SeqLM

    register()
    tokenizer = load_tokenizer(directory)
    kind = str(read_json(directory / "config.json").get("model_type"))
    wanted = Asked(source=options.source, target=options.target)
    targets = told_targets(tokenizer, wanted, name, kind=kind)
    model = load_pretrained(
        AutoModelForSeq2SeqLM, directory, device=device, dtype=dtype, attention=ROWS, quantised=True
    )
    return EncoderDecoder(name, directory, model, tokenizer, targets, options)


class EncoderDecoder(LocalModel):
    """Weights of a text encoder-decoder."""

    def __init__(
        self, name: str, directory: Path, model: Any, tokenizer: Any, targets: dict[str, Told], options: Options
    ) -> None:
        config = model.config.to_dict()
        modules = [one for at, one in model.get_decoder().named_modules() if at.endswith(CROSS_ATTENTION)]
        if not modules:
            raise ModelError(f"{name} is of type {config['model_type']}, whose cross-attention is not known here.")
        pieces, special = read_pieces(tokenizer, directory)
        self.targets, self.tokenizer, self.target = targets, tokenizer, options.target
        self.compute: Compute = Direct(model)
        self.start_id = int(config.get("decoder_start_token_id") or model.generation_config.decoder_start_token_id or 0)
        forced = {told.forced for told in targets.values() if told.forced is not None}
        padding = {int(config["pad_token_id"])} if config.get("pad_token_id") is not None else set()
        super().__init__(
            name=name,
            directory=directory,
            model=model,
            vocabulary=PieceVocabulary(
                pieces,
                eos=int(config.get("eos_token_id") or tokenizer.eos_token_id),
                special=special | forced | padding | {self.start_id},
                spaced=is_spaced(options.target),
            ),
            options=options,
            attentions=modules,
            num_heads=int(config.get("decoder_attention_heads") or config["num_heads"]),
            causal=False,
            size=int(model.get_output_embeddings().weight.shape[0]),
        )

    @property
    def meeting(self) -> Meeting | None:
        """Where its streams meet."""
        return self.compute.meeting

    def computed_by(self, compute: Compute) -> Self:
        """The same weights under the same name, run by `compute`."""
        other = copy.copy(self)
        other.compute = compute
        return other

    @property
    def told(self) -> Told:
        """What tells the target language."""
        return self.targets[self.target]

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """Into every target that the checkpoint can be told; none where it is told nothing."""
        if self.told == Told():
            return ()
        codes = sorted(self.targets, key=lambda code: code != self.target)
        return tuple(Pair(source=self.options.source, target=code) for code in codes)

    def for_pair(self, pair: Pair) -> Self:
        """The same weights, told another target."""
        other = copy.copy(self)
        other.target, other.vocabulary = pair.target, copy.copy(self.vocabulary)
        other.vocabulary.spaced = is_spaced(pair.target)
        return other

    def side_by_side(self, pairs: Sequence[Pair]) -> list[Translator]:
        """The weights told each target; a source text that is the same for all is encoded once."""
        compute = ReadOnce(self.compute)
        return [self.for_pair(pair).computed_by(compute) for pair in pairs]

    def run(self, text: str, *, rows: bool, every_head: bool) -> tuple["EncoderDecoderRun", Sequence[int]]:
        given = [int(token) for token in self.tokenizer(self.told.before + text).input_ids]
        columns = None
        if rows:
            special = self.vocabulary.special
            names = self.tokenizer.convert_ids_to_tokens(given)
            pieces = [None if token in special else str(piece) for token, piece in zip(given, names, strict=True)]
            count = len(text.split())
            columns = columns_of_words(words_of_pieces(pieces, count), count, self.device)
        forced = () if self.told.forced is None else (self.told.forced,)
        return EncoderDecoderRun(self, given, columns, every_head=every_head), (self.start_id, *forced)


class EncoderDecoderRun(TextRun):
    """One decoding run: the source is encoded once, the decoder's caches grow."""

    def __init__(
        self, model: EncoderDecoder, source: Sequence[int], columns: Tensor | None, *, every_head: bool
    ) -> None:
        from transformers import DynamicCache, EncoderDecoderCache

        super().__init__(model.rows, columns, every_head=every_head)
        self._model, self.cache = model, EncoderDecoderCache(DynamicCache(), DynamicCache())
        self.states = model.compute.encode(source)

    @property
    def device(self) -> torch.device:
        return self._model.device

    def reorder(self, parents: Sequence[int]) -> None:
        if list(parents) != list(range(len(self.states))):
            order = torch.tensor(parents, device=self.device)
            self.cache.reorder_cache(order)
            self.states = self.states[order]

    def forward(self, ids: Sequence[Sequence[int]]) -> Tensor:
        return self._model.compute.feed(self, ids)


def _provides(directory: Path, options: Options) -> frozenset[Evidence]:
    return TEXT | SEARCHED


FAMILY = ModelFamily(
    name="encoder_decoder", options=Options, provides=_provides, load=load, hub="google/madlad400-3b-mt"
)
