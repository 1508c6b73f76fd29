"""Who runs the encoder and the decoder of an encoder-decoder: each stream by itself, or several in one forward."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from simulst.core.source import FloatArray
from simulst.models.attention import CrossAttention
from simulst.models.meeting import Meeting
from simulst.models.once import Once
from simulst.models.seq2seq.windows import EncodedWindow, WindowedEncoder

if TYPE_CHECKING:
    from transformers import EncoderDecoderCache, PreTrainedModel


@dataclass(frozen=True, kw_only=True, eq=False)
class Fed:
    """What the decoder says of new ids of one run."""

    hidden: Tensor
    """[sequences, new, width]"""
    logits: Tensor
    """Of the last id of each sequence, [sequences, vocabulary]."""
    queries: dict[int, Tensor] = field(default_factory=dict)
    """Of cross-attention by layer, [sequences, new, width], where rows are wanted."""


class Feeding(Protocol):
    """A decoding run, as far as a forward has to know it."""

    window: EncodedWindow
    cache: "EncoderDecoderCache"
    rows: bool


class Compute(Protocol):
    """The computing that streams ask for; what it keeps of a stream lies in the window and in the run."""

    meeting: Meeting | None
    """Where streams meet, if they do."""

    def encode(self, samples: FloatArray) -> EncodedWindow:
        """Frames of 16 kHz samples, as many as the encoder takes."""
        ...

    def feed(self, run: Feeding, ids: Sequence[Sequence[int]]) -> Fed:
        """Run the decoder on new ids, [sequences][new], over the run's window and after what its cache holds."""
        ...


class Direct:
    """One stream at a time, in the thread that asks."""

    meeting: Meeting | None = None

    def __init__(
        self, encoder: WindowedEncoder, decoder: "PreTrainedModel", scorer: nn.Module, attention: CrossAttention
    ) -> None:
        self.encoder, self.decoder, self.scorer, self.attention = encoder, decoder, scorer, attention

    def encode(self, samples: FloatArray) -> EncodedWindow:
        return self.encoder.encode(samples)

    def feed(self, run: Feeding, ids: Sequence[Sequence[int]]) -> Fed:
        recording: AbstractContextManager[dict[int, Tensor]] = nullcontext({})
        if run.rows:
            recording = self.attention.recording()
        with torch.inference_mode(), recording as queries:
            output = self.decoder(
                input_ids=torch.tensor(ids, device=run.window.states.device),
                encoder_hidden_states=run.window.states,
                past_key_values=run.cache,
                use_cache=True,
            )
            hidden: Tensor = output.last_hidden_state
            return Fed(hidden=hidden, logits=self.scorer(hidden[:, -1]), queries=queries)


class HeardOnce:
    """Computes as `compute` does, and encodes no window twice that sessions beside each other ask for."""

    def __init__(self, compute: Compute) -> None:
        self.meeting, self.feed = compute.meeting, compute.feed
        self.encode = Once(compute.encode, np.array_equal)
