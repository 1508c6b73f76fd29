"""Encoder-decoders of text: Marian (OPUS-MT), M2M100 and NLLB, mBART, T5 and MADLAD.

Rows of cross-attention are told over the words of the source. Tiedemann & Thottingal 2020, "OPUS-MT"; Fan et al. 2021,
"Beyond English-Centric Multilingual Machine Translation"; NLLB Team 2022; Kudugunta et al. 2023, "MADLAD-400".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from simulst.core.translator import Evidence
from simulst.errors import ModelError
from simulst.models.checkpoint import load_pretrained, read_json
from simulst.models.family import ModelFamily
from simulst.models.recorded import ROWS, register
from simulst.models.text.languages import is_spaced, language_name, long_code
from simulst.models.text.local import SEARCHED, LocalModel, LocalOptions, TextRun, load_tokenizer, read_pieces
from simulst.models.text.translator import TEXT
from simulst.models.text.words import columns_of_words, words_of_pieces
from simulst.models.vocabulary import PieceVocabulary

CROSS_ATTENTION = ("encoder_attn", "EncDecAttention")
"""What the module is called in a layer of the decoder: of the BART kind, and of T5."""


@dataclass(frozen=True, kw_only=True)
class Options(LocalOptions):
    pass


@dataclass(frozen=True, kw_only=True)
class Languages:
    """How a checkpoint is told its languages: text before the source, a token before the translation."""

    before: str = ""
    forced: int | None = None


def load(directory: Path, options: Options, *, name: str, device: str, dtype: str | None) -> "EncoderDecoder":
    """A text encoder-decoder from a local directory; raises ModelError with one sentence for anything unusable."""
    from transformers import AutoModelForSeq2SeqLM

    register()
    tokenizer = load_tokenizer(directory)
    kind = str(read_json(directory / "config.json").get("model_type"))
    languages = choose_languages(tokenizer, options, name, kind=kind)
    model = load_pretrained(AutoModelForSeq2SeqLM, directory, device=device, dtype=dtype, attention=ROWS)
    return EncoderDecoder(name, directory, model, tokenizer, languages, options)


def choose_languages(tokenizer: Any, options: Options, name: str, *, kind: str) -> Languages:
    """What tells the languages of the options; ModelError for one that the checkpoint does not know.

    Many languages share a code with a script (`deu_Latn`, `de_DE`): their beginning is enough where one fits alone.
    """
    marks = {str(text): int(token) for text, token in tokenizer.get_vocab().items()}
    for shape in (">>{}<<", "<2{}>"):
        known = [text for text in marks if _inside(text, shape)]
        if known:
            return Languages(before=f"{_chosen(options.target, known, shape, name)} ")
    codes = [text for text in marks if text in tokenizer.all_special_tokens or _inside(text, "__{}__")]
    codes = [code for code in codes if _is_code(code)]
    if codes:
        shape = "__{}__" if codes[0].startswith("__") else "{}"
        tokenizer.src_lang = _chosen(options.source, codes, shape, name, "source").strip("_")
        return Languages(forced=marks[_chosen(options.target, codes, shape, name)])
    if kind == "t5":
        source, target = language_name(options.source), language_name(options.target)
        return Languages(before=f"translate {source} to {target}: ")
    return Languages()


def _inside(text: str, shape: str) -> str:
    """The language that a mark names; "" where it is no such mark."""
    before, after = shape.split("{}")
    inner = text[len(before) : len(text) - len(after)]
    return inner if text == shape.format(inner) and inner.replace("_", "").isalnum() else ""


def _is_code(mark: str) -> bool:
    """`deu_Latn`, `de_DE` or `__de__`."""
    head, _, tail = mark.strip("_").partition("_")
    named = mark.startswith("__") or bool(tail and tail.isalpha() and tail[:1].isupper())
    return named and 2 <= len(head) <= 4 and head.isalpha() and head.islower()


def _chosen(language: str, known: Sequence[str], shape: str, name: str, option: str = "target") -> str:
    """The mark of a language: its own, or the only one that begins with its code."""
    exact = shape.format(language)
    if exact in known or language in known:
        return exact if exact in known else language
    long = long_code(language)
    if long != language:
        return _chosen(long, known, shape, name, option)
    begun = [mark for mark in known if mark.startswith(shape.split("{}")[0] + language + "_")]
    if len(begun) == 1:
        return begun[0]
    listed = ", ".join(sorted(_inside(mark, shape) or mark for mark in (begun or known))[:60])
    raise ModelError(f"{name} does not know the {option} language '{language}'; it knows: {listed}.")


class EncoderDecoder(LocalModel):
    """Weights of a text encoder-decoder."""

    def __init__(
        self, name: str, directory: Path, model: Any, tokenizer: Any, languages: Languages, options: Options
    ) -> None:
        config = model.config.to_dict()
        modules = [one for at, one in model.get_decoder().named_modules() if at.endswith(CROSS_ATTENTION)]
        if not modules:
            raise ModelError(f"{name} is of type {config['model_type']}, whose cross-attention is not known here.")
        pieces, special = read_pieces(tokenizer, directory)
        self.languages, self.tokenizer, self.encoder = languages, tokenizer, model.get_encoder()
        self.start_id = int(config.get("decoder_start_token_id") or model.generation_config.decoder_start_token_id or 0)
        forced = {languages.forced} if languages.forced is not None else set()
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

    def run(self, text: str, *, rows: bool, every_head: bool) -> tuple["EncoderDecoderRun", Sequence[int]]:
        given = [int(token) for token in self.tokenizer(self.languages.before + text).input_ids]
        columns = None
        if rows:
            special = self.vocabulary.special
            names = self.tokenizer.convert_ids_to_tokens(given)
            pieces = [None if token in special else str(piece) for token, piece in zip(given, names, strict=True)]
            count = len(text.split())
            columns = columns_of_words(words_of_pieces(pieces, count), count, self.device)
        forced = () if self.languages.forced is None else (self.languages.forced,)
        return EncoderDecoderRun(self, given, columns, every_head=every_head), (self.start_id, *forced)


class EncoderDecoderRun(TextRun):
    """One decoding run: the source is encoded once, the decoder's caches grow."""

    def __init__(
        self, model: EncoderDecoder, source: Sequence[int], columns: Tensor | None, *, every_head: bool
    ) -> None:
        from transformers import DynamicCache, EncoderDecoderCache

        super().__init__(model.rows, columns, every_head=every_head)
        self._model, self._cache = model, EncoderDecoderCache(DynamicCache(), DynamicCache())
        with torch.inference_mode():
            self._states: Tensor = model.encoder(torch.tensor([source], device=self.device)).last_hidden_state

    @property
    def device(self) -> torch.device:
        return self._model.device

    def reorder(self, parents: Sequence[int]) -> None:
        if list(parents) != list(range(len(self._states))):
            order = torch.tensor(parents, device=self.device)
            self._cache.reorder_cache(order)
            self._states = self._states[order]

    def forward(self, ids: Tensor) -> Tensor:
        from transformers.modeling_outputs import BaseModelOutput

        logits: Tensor = self._model.model(
            encoder_outputs=BaseModelOutput(last_hidden_state=self._states),
            decoder_input_ids=ids,
            past_key_values=self._cache,
            use_cache=True,
        ).logits
        return logits[:, -1]


def _provides(directory: Path, options: Options) -> frozenset[Evidence]:
    return TEXT | SEARCHED


FAMILY = ModelFamily(
    name="encoder_decoder", options=Options, provides=_provides, load=load, hub="google/madlad400-3b-mt"
)
