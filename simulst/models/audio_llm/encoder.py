"""Audio encoders of speech LLMs: samples in, embeddings for the prompt out."""

from typing import Any, Protocol

from torch import Tensor

from simulst.core.source import FloatArray
from simulst.models.seq2seq.windows import EncodedWindow, WindowedEncoder

Block = tuple[Tensor, Tensor]
"""Features of a stretch of audio that is encoded for itself, and what was made of them."""


class AudioEncoder(WindowedEncoder, Protocol):
    """Weights only; what was encoded already is the caller's."""

    def encode(self, samples: FloatArray, blocks: list[Block] | None = None) -> EncodedWindow:
        """Embeddings of 16 kHz samples; `blocks` with the same features are not encoded again, and renewed."""
        ...


def part(model: Any, name: str) -> Any:
    """The module of that name, wherever a release of transformers has put it."""
    return next(module for path, module in model.named_modules() if path.split(".")[-1] == name)
