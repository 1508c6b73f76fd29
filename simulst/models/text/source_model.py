"""A causal language model that continues source text, for policies that anticipate what will be said (TAF)."""

import threading
from functools import lru_cache
from pathlib import Path
from typing import Any

from simulst.errors import ModelError
from simulst.models.checkpoint import load_pretrained
from simulst.models.hub import fetch, is_hub_name

_DRAWING = threading.Lock()
"""The random generator is global, and streams may be decoded in threads."""


class SourceContinuer:
    """Samples continuations of a text with a Hugging Face causal model; raw text, no chat template."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self._model = model
        self._tokenizer = tokenizer

    def continue_source(
        self, text: str, *, n: int, max_tokens: int, top_p: float = 0.9, temperature: float = 1.0, seed: int = 0
    ) -> list[str]:
        """`n` continuations drawn in one batch, each without the text itself and cut at the first line break."""
        import torch

        inputs = self._tokenizer([text], return_tensors="pt").to(self._model.device)
        with _DRAWING, torch.random.fork_rng(), torch.inference_mode():
            torch.manual_seed(seed)
            drawn = self._model.generate(
                **inputs,
                do_sample=True,
                num_return_sequences=n,
                max_new_tokens=max_tokens,
                top_p=top_p,
                top_k=0,
                temperature=temperature,
                pad_token_id=self._tokenizer.eos_token_id,
            )
        new = drawn[:, inputs["input_ids"].shape[1] :]
        texts: list[str] = self._tokenizer.batch_decode(new, skip_special_tokens=True)
        return [continuation.split("\n")[0].rstrip() for continuation in texts]


@lru_cache(maxsize=2)
def load_source_model(name: str) -> SourceContinuer:
    """The causal model in a local directory or under a hub name; safetensors only. Raises ModelError."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    directory = Path(name)
    if not directory.is_dir():
        if not is_hub_name(name):
            raise ModelError(f"Unknown source model '{name}'; give a directory or a hub name (owner/name).")
        directory = fetch(name)
    model = load_pretrained(AutoModelForCausalLM, directory, device="cpu", dtype=None)
    try:
        tokenizer = AutoTokenizer.from_pretrained(directory, local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"The tokenizer in {directory} cannot be loaded: {str(error).splitlines()[0][:200]}"
        ) from error
    return SourceContinuer(model, tokenizer)
