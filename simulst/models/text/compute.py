"""Who runs the encoder and the decoder of a text encoder-decoder: each stream by itself, or several in one forward."""

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from simulst.models.meeting import Asked, Meeting
from simulst.models.once import Once
from simulst.models.packed import PackedDecoder, Part, filled_up
from simulst.models.recorded import current
from simulst.models.recording import Recording

if TYPE_CHECKING:
    from transformers import EncoderDecoderCache


class Feeding(Protocol):
    """A decoding run, as far as a forward has to know it."""

    states: Tensor
    cache: "EncoderDecoderCache"


class Compute(Protocol):
    """The computing that streams ask for; what it keeps of a stream lies in the run."""

    meeting: Meeting | None
    """Where streams meet, if they do."""

    def encode(self, source: Sequence[int]) -> Tensor:
        """States [1, ids, width] of a source text."""
        ...

    def feed(self, run: Feeding, ids: Sequence[Sequence[int]]) -> Tensor:
        """Scores [sequences, vocabulary] after new ids, [sequences][new], that follow what the run's cache holds; rows
        go to whoever records in the thread that asks."""
        ...


class Direct:
    """One stream at a time, in the thread that asks; `model` is one of transformers with its output layer."""

    meeting: Meeting | None = None

    def __init__(self, model: Any) -> None:
        self.model, self.encoder = model, model.get_encoder()

    def encode(self, source: Sequence[int]) -> Tensor:
        with torch.inference_mode():
            states: Tensor = self.encoder(torch.tensor([source], device=self.model.device)).last_hidden_state
        return states

    def feed(self, run: Feeding, ids: Sequence[Sequence[int]]) -> Tensor:
        with torch.inference_mode():
            return self.forward(torch.tensor(ids, device=self.model.device), run.states, run.cache)[:, -1]

    def forward(self, ids: Tensor, states: Tensor, cache: "EncoderDecoderCache", **positions: Tensor) -> Tensor:
        """Scores after each of the ids."""
        from transformers.modeling_outputs import BaseModelOutput

        output = BaseModelOutput(last_hidden_state=states)
        found = self.model(
            encoder_outputs=output, decoder_input_ids=ids, past_key_values=cache, use_cache=True, **positions
        )
        logits: Tensor = found.logits
        return logits


class ReadOnce:
    """Computes as `compute` does, and reads no text twice that sessions beside each other ask for."""

    def __init__(self, compute: Compute) -> None:
        self.meeting, self.feed = compute.meeting, compute.feed
        self.encode = Once(compute.encode, operator.eq)


@dataclass(kw_only=True, eq=False)
class Source(Asked):
    """A text to be encoded."""

    ids: Sequence[int]


@dataclass(kw_only=True, eq=False)
class Entries(Asked):
    """New ids of a run of one sequence."""

    run: Feeding
    ids: Sequence[int]
    recording: Recording | None


class Together:
    """Computes for all streams of a model that meet.

    Searches over several sequences (beams, samples) are computed one stream at a time.
    """

    def __init__(self, model: Any, meeting: Meeting) -> None:
        self.meeting: Meeting | None = meeting
        self._meeting, self._direct = meeting, Direct(model)
        self._packed = PackedDecoder(model.get_decoder())
        self._encoding, self._decoding = meeting.lane(self._encode), meeting.lane(self._decode)

    def encode(self, source: Sequence[int]) -> Tensor:
        found: Tensor = self._meeting.ask(self._encoding, Source(ids=source))
        return found

    def feed(self, run: Feeding, ids: Sequence[Sequence[int]]) -> Tensor:
        if len(ids) > 1:
            return self._direct.feed(run, ids)
        found: Tensor = self._meeting.ask(self._decoding, Entries(run=run, ids=ids[0], recording=current()))
        return found

    def _encode(self, requests: list[Source]) -> None:
        sources = [torch.tensor([one.ids], device=self._direct.model.device) for one in requests]
        ids, mask = filled_up(sources)
        found = (
            self._direct.encoder(ids, attention_mask=mask.long()) if len(requests) > 1 else self._direct.encoder(ids)
        )
        for request, states in zip(requests, found.last_hidden_state, strict=True):
            request.result = states[None, : len(request.ids)].clone()

    def _decode(self, requests: list[Entries]) -> None:
        sizes = [len(one.ids) for one in requests]
        parts = [
            Part(size=len(one.ids), cache=one.run.cache, states=one.run.states, recording=one.recording)
            for one in requests
        ]
        logits = self._packed(self._direct.forward, parts, [one.ids for one in requests])
        for request, end in zip(requests, torch.tensor(sizes).cumsum(0).tolist(), strict=True):
            request.result = logits[:, end - 1]
