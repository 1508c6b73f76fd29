"""The first work on a GPU, done when a model is loaded: to start and to load kernels takes seconds."""

from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from simulst.core.query import Query
from simulst.core.source import SAMPLE_RATE
from simulst.core.translator import Evidence, Translator

if TYPE_CHECKING:
    import torch

HEARD_S = 3.0
"""Noise that is heard; models that wait for the first seconds of a stream wait no longer."""
TOKENS = 4


@runtime_checkable
class OnDevice(Protocol):
    """A model of torch."""

    device: "torch.device"


def elsewhere(model: object) -> bool:
    """Whether it computes on something that is not the CPU."""
    return isinstance(model, OnDevice) and model.device.type != "cpu"


def warm(model: Translator) -> None:
    """Hear a moment of noise, or read a word, and decode a few tokens, so that the first stream does not wait."""
    session = model.open()
    if Evidence.SOURCE_LM in model.provides and session.text is not None:
        session.text.translate_text(["Hello."], (), max_new=TOKENS)
    noise = np.random.default_rng(0).normal(0, 0.05, int(HEARD_S * SAMPLE_RATE))
    session.extend_source(noise.astype(np.float32), is_final=True)
    want = frozenset({Evidence.LOGPROBS, Evidence.ALIGNMENT}) & model.provides
    session.hypothesise((), Query(max_new=TOKENS, want=want))
