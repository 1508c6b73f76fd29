"""Causal language models as translators of text: an instruction or examples, then the begun translation as forced ids.

Rows of self-attention from the translation to the words of the source follow Alignatt4LLM (decoder-only AlignAtt).
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from simulst.core.languages import Pair
from simulst.core.translator import Draw, Evidence
from simulst.errors import ModelError
from simulst.models.checkpoint import load_pretrained
from simulst.models.family import ModelFamily
from simulst.models.options import option
from simulst.models.recorded import ROWS, register
from simulst.models.text.languages import is_spaced, pairs_into_all
from simulst.models.text.local import (
    SEARCHED,
    LocalModel,
    LocalOptions,
    TextRun,
    ends_of,
    load_tokenizer,
    read_pieces,
)
from simulst.models.text.prompts import few_shot, instruction, read_examples, render_chat
from simulst.models.text.source_model import SourceContinuer
from simulst.models.text.translator import TEXT
from simulst.models.text.words import columns_of_words, words_of_spans
from simulst.models.vocabulary import PieceVocabulary


@dataclass(frozen=True, kw_only=True)
class Options(LocalOptions):
    prompt: Literal["auto", "chat", "few_shot"] = option(
        "auto", "chat: the model's own chat template; few_shot: lines of examples; auto: chat where it has one"
    )
    examples: str | None = option(None, "file of examples in the prompt, SOURCE<TAB>TRANSLATION on each line")


def load(directory: Path, options: Options, *, name: str, device: str, dtype: str | None) -> "CausalLM":
    """A causal language model from a local directory; raises ModelError with one sentence for anything unusable."""
    from transformers import AutoModelForCausalLM

    register()
    tokenizer = load_tokenizer(directory)
    prompts = Prompts(tokenizer, options, name)
    prompts.render("Hello")  # what is wrong with a template shows before the weights are read
    model = load_pretrained(
        AutoModelForCausalLM, directory, device=device, dtype=dtype, attention=ROWS, int8=True, quantised=True
    )
    return CausalLM(name, directory, model, prompts, options)


class Prompts:
    """The ids before a translation, and the word of the source that each of them belongs to."""

    def __init__(self, tokenizer: Any, options: Options, name: str) -> None:
        if not tokenizer.is_fast:
            raise ModelError(f"{name} has no tokenizer.json, which is needed to find the words of the source.")
        self.tokenizer, self.options, self._name = tokenizer, options, name
        self.examples = read_examples(options.examples)
        self.chat = options.prompt == "chat" or (options.prompt == "auto" and bool(tokenizer.chat_template))

    def render(self, text: str) -> str:
        """The prompt as text; ModelError where the chat template cannot carry a begun answer."""
        options = self.options
        if not self.chat:
            return few_shot(text, options.source, options.target, self.examples)
        messages = instruction(text, options.source, options.target, self.examples)
        return render_chat(self.tokenizer, messages, text=text, name=self._name, instead="use prompt=few_shot")

    def ids(self, text: str) -> tuple[list[int], list[int | None]]:
        """Ids of the prompt, and the word of `text` that each stands for."""
        prompt = self.render(text)
        marked = self.chat or not self.tokenizer.bos_token_id
        given = self.tokenizer(prompt, add_special_tokens=False, return_offsets_mapping=True)
        words = words_of_spans(given.offset_mapping, text, prompt.rindex(text))
        ids = [int(token) for token in given.input_ids]
        return (ids, words) if marked else ([int(self.tokenizer.bos_token_id), *ids], [None, *words])


class CausalLM(LocalModel):
    """Weights of a causal language model with a prompt that makes it translate."""

    def __init__(self, name: str, directory: Path, model: Any, prompts: Prompts, options: Options) -> None:
        config = model.config.to_dict()
        modules = [layer.self_attn for layer in model.get_decoder().layers if hasattr(layer, "self_attn")]
        if not modules:
            raise ModelError(f"{name} is of type {config['model_type']}, whose attention is not known here.")
        pieces, special = read_pieces(prompts.tokenizer, directory)
        self.prompts, self.texts = prompts, SourceContinuer(model, prompts.tokenizer)
        ends = ends_of(model, prompts.tokenizer, name)
        breaks = {token for token, piece in enumerate(pieces) if b"\n" in piece and token not in special}
        super().__init__(
            name=name,
            directory=directory,
            model=model,
            vocabulary=PieceVocabulary(pieces, eos=min(ends), special=special, spaced=is_spaced(options.target)),
            options=options,
            attentions=modules,
            num_heads=int(config["num_attention_heads"]),
            causal=True,
            size=int(model.get_output_embeddings().out_features),
            ends=frozenset(ends | breaks),
        )
        self.ends = torch.tensor(sorted(ends | breaks), device=self.device)
        """Marks and line breaks: each ends a translation, and their probabilities add up to that of the end."""

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """Into whatever it is told, as well as it can; examples are those of one pair."""
        found = pairs_into_all(self.options.source, self.options.target)
        return found[:1] if self.prompts.examples else found

    def for_pair(self, pair: Pair) -> "CausalLM":
        """The same weights with another prompt."""
        other, prompts = copy.copy(self), copy.copy(self.prompts)
        prompts.options = replace(prompts.options, source=pair.source, target=pair.target)
        other.prompts, other.options = prompts, prompts.options
        other.vocabulary = copy.copy(self.vocabulary)
        other.vocabulary.spaced = is_spaced(pair.target)
        return other

    def run(self, text: str, *, rows: bool, every_head: bool) -> tuple["CausalRun", Sequence[int]]:
        ids, words = self.prompts.ids(text)
        columns = columns_of_words(words, len(text.split()), self.device) if rows else None
        return CausalRun(self, columns, every_head=every_head), ids

    def continue_source(self, text: str, draw: Draw) -> list[str]:
        return self.texts.continue_source(text, draw)


class CausalRun(TextRun):
    """One decoding run over prompt and translation, with a cache of its own."""

    def __init__(self, model: CausalLM, columns: Tensor | None, *, every_head: bool) -> None:
        from transformers import DynamicCache

        super().__init__(model.rows, columns, every_head=every_head)
        self._model, self._cache, self._batch = model, DynamicCache(config=model.model.config), 1

    @property
    def device(self) -> torch.device:
        return self._model.device

    def reorder(self, parents: Sequence[int]) -> None:
        if list(parents) != list(range(self._batch)):
            self._cache.reorder_cache(torch.tensor(parents, device=self.device))
            self._batch = len(parents)

    def forward(self, ids: Sequence[Sequence[int]]) -> Tensor:
        model = self._model
        given = torch.tensor(ids, device=self.device)
        logits: Tensor = (
            model.model(input_ids=given, past_key_values=self._cache, use_cache=True, logits_to_keep=1)
            .logits[:, -1]
            .float()
        )
        logits[:, model.vocabulary.eos] = logits[:, model.ends].logsumexp(-1)
        return logits


def _provides(directory: Path, options: Options) -> frozenset[Evidence]:
    return TEXT | SEARCHED


FAMILY = ModelFamily(name="causal_lm", options=Options, provides=_provides, load=load, hub="Qwen/Qwen3-4B")
