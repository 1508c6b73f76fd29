"""Several streams of one encoder-decoder: their windows in one encoder call, one decoder step for all."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from simulst.core.source import FloatArray
from simulst.models.meeting import Asked, Meeting
from simulst.models.packed import PackedDecoder, Part
from simulst.models.seq2seq.compute import Fed, Feeding
from simulst.models.seq2seq.weights import Seq2SeqWeights
from simulst.models.seq2seq.windows import EncodedWindow, Features

if TYPE_CHECKING:
    from transformers import EncoderDecoderCache


@dataclass(kw_only=True, eq=False)
class Window(Asked):
    """A window to be encoded."""

    features: Features


@dataclass(kw_only=True, eq=False)
class Entries(Asked):
    """New ids of a run of one sequence."""

    run: Feeding
    ids: Sequence[int]


class Together:
    """Computes for all streams of a model that meet; implements `compute.Compute`.

    Searches over several sequences (beams, samples) are computed one stream at a time.
    """

    def __init__(self, weights: Seq2SeqWeights, meeting: Meeting) -> None:
        self.meeting: Meeting | None = meeting
        self._meeting, self._direct, self._encoder = meeting, weights.compute, weights.encoder
        self._decoder, self._scorer, self._attention = weights.decoder, weights.scorer, weights.attention
        self._packed = PackedDecoder(weights.decoder)
        self._encoding, self._decoding = meeting.lane(self._encode), meeting.lane(self._decode)

    def encode(self, samples: FloatArray) -> EncodedWindow:
        """Frames of one stream's window; it is made into features by the thread of the stream."""
        found: EncodedWindow = self._meeting.ask(self._encoding, Window(features=self._encoder.features(samples)))
        return found

    def feed(self, run: Feeding, ids: Sequence[Sequence[int]]) -> Fed:
        """What the decoder says of new ids of one stream's run."""
        if len(ids) > 1:
            return self._direct.feed(run, ids)
        found: Fed = self._meeting.ask(self._decoding, Entries(run=run, ids=ids[0]))
        return found

    def _encode(self, requests: list[Window]) -> None:
        windows = self._encoder.windows([one.features for one in requests])
        for request, window in zip(requests, windows, strict=True):
            request.result = window

    def _decode(self, requests: list[Entries]) -> None:
        if len(requests) == 1:
            requests[0].result = self._direct.feed(requests[0].run, [requests[0].ids])
            return
        recording: AbstractContextManager[dict[int, Tensor]] = nullcontext({})
        if any(one.run.rows for one in requests):
            recording = self._attention.recording()
        sizes = [len(one.ids) for one in requests]
        parts = [Part(size=len(one.ids), cache=one.run.cache, states=one.run.window.states) for one in requests]
        with recording as queries:
            hidden = self._packed(self._forward, parts, [one.ids for one in requests])
        ends = torch.tensor(sizes, device=hidden.device).cumsum(0) - 1
        logits = self._scorer(hidden[0, ends])
        recorded = {layer: torch.split(one, sizes, 1) for layer, one in queries.items()}
        for index, (request, own) in enumerate(zip(requests, torch.split(hidden, sizes, 1), strict=True)):
            rows = {layer: parts[index] for layer, parts in recorded.items()} if request.run.rows else {}
            request.result = Fed(hidden=own, logits=logits[index : index + 1], queries=rows)

    def _forward(self, ids: Tensor, states: Tensor, cache: "EncoderDecoderCache", **positions: Tensor) -> Tensor:
        output = self._decoder(
            input_ids=ids, encoder_hidden_states=states, past_key_values=cache, use_cache=True, **positions
        )
        hidden: Tensor = output.last_hidden_state
        return hidden
