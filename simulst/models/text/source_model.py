"""The text side of models, and causal language models that continue source text for policies that anticipate (TAF)."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from simulst.core.translator import Draw, Evidence, Gate, Hypothesis, Query, SourceLanguageModel, TokenStep
from simulst.errors import ModelError, first_line
from simulst.models.checkpoint import load_pretrained
from simulst.models.hub import fetch, is_hub_name

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_DRAWING = threading.Lock()
"""The random generator is global, and streams may be decoded in threads."""


class SourceContinuer:
    """Samples continuations of a text with a Hugging Face causal model; raw text, no chat template."""

    def __init__(self, model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase") -> None:
        self._model = model
        self._tokenizer = tokenizer

    def continue_source(self, text: str, draw: Draw) -> list[str]:
        """Continuations drawn in one batch, each without the text itself and cut at the first line break."""
        import torch

        inputs = self._tokenizer([text], return_tensors="pt").to(self._model.device)
        with _DRAWING, torch.random.fork_rng(), torch.inference_mode():
            torch.manual_seed(draw.seed)
            drawn = self._model.generate(
                **inputs,
                do_sample=True,
                num_return_sequences=draw.n,
                max_new_tokens=draw.max_tokens,
                top_p=draw.top_p,
                top_k=0,
                temperature=draw.temperature,
                pad_token_id=self._tokenizer.eos_token_id,
            )
        new = drawn[:, inputs["input_ids"].shape[1] :]
        texts: list[str] = self._tokenizer.batch_decode(new, skip_special_tokens=True)
        return [continuation.split("\n")[0].rstrip() for continuation in texts]


@lru_cache(maxsize=2)
def load_source_model(name: str, device: str = "cpu") -> SourceContinuer:
    """The causal model in a local directory or under a hub name, on a device; safetensors only. Raises ModelError."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    directory = Path(name)
    if not directory.is_dir():
        if not is_hub_name(name):
            raise ModelError(f"Unknown source model '{name}'; give a directory or a hub name (owner/name).")
        directory = fetch(name)
    model = load_pretrained(AutoModelForCausalLM, directory, device=device, dtype=None)
    try:
        tokenizer = AutoTokenizer.from_pretrained(directory, local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"The tokenizer in {directory} cannot be loaded: {first_line(error)}") from error
    return SourceContinuer(model, tokenizer)


class TextSide(ABC):
    """A text side that gives the best translation of a text; implements `simulst.core.translator.SourceModel`."""

    evidence: frozenset[Evidence] = frozenset()
    device: str = "cpu"
    """Where a causal model is loaded that goes on with its texts."""

    @abstractmethod
    def continue_source(self, text: str, draw: Draw) -> list[str]: ...

    @abstractmethod
    def translate_text(self, texts: Sequence[str], prefix: Sequence[int], *, max_new: int) -> list[Hypothesis]: ...

    def continuer(self, name: str) -> SourceLanguageModel:
        """The causal model `name`, or this one."""
        return load_source_model(name, self.device) if name else self

    def search_text(self, text: str, prefix: Sequence[int], query: Query, *, max_new: int) -> list[Hypothesis]:
        """The best translation, cut by the gate."""
        return [_gated(self.translate_text([text], prefix, max_new=max_new)[0], query.gate)]


def _gated(found: Hypothesis, gate: Gate | None) -> Hypothesis:
    """What a gate lets through of a hypothesis without log-probabilities."""
    for i, token in enumerate(found.ids if gate is not None else ()):
        verdict = gate(TokenStep(index=i, token=token, logprob=0.0, weights=None, n_valid=0)) if gate else "continue"
        if verdict != "continue":
            keep = verdict == "stop_keep"
            return Hypothesis(ids=found.ids[: i + keep], stop="gate", next_id=None if keep else token)
    return found
