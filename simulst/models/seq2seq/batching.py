"""Several streams of one Whisper decoded together: their windows in one encoder call, one decoder step for all.

    batcher = WhisperBatcher(model, streams=4)
    texts = batcher.map(lambda model, audio: translate(model, audio), recordings)

As `simulst.models.speech_llm.batching`, whose streams meet in the same way (`simulst.models.meeting`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from simulst.core.source import FloatArray
from simulst.core.translator import Translator
from simulst.errors import ModelError
from simulst.models.meeting import Asked, Lane, Meeting
from simulst.models.seq2seq.compute import Fed, Feeding
from simulst.models.seq2seq.packed import PackedWhisper
from simulst.models.seq2seq.whisper import Whisper
from simulst.models.seq2seq.windows import EncodedWindow


@dataclass(kw_only=True, eq=False)
class Window(Asked):
    """A window to be encoded: its features [1, bands, 2 * frames], and how many frames are audio."""

    features: Tensor
    n_valid: int


@dataclass(kw_only=True, eq=False)
class Entries(Asked):
    """New ids of a run, [sequences][new]."""

    run: Feeding
    ids: Sequence[Sequence[int]]


class WhisperBatcher(Meeting):
    """Computes for all streams that wait; implements `compute.Compute`.

    Searches over several sequences (beams, samples) are computed one stream at a time. ModelError for a translator that
    is no Whisper.
    """

    def __init__(self, translator: Translator, *, streams: int, wait_s: float | None = None) -> None:
        if not isinstance(translator, Whisper):
            raise ModelError(f"Model {translator.name} cannot decode several streams together; it is no Whisper.")
        super().__init__(streams=streams, wait_s=wait_s)
        self._direct, self._window = translator.compute, translator.window
        self.packed = PackedWhisper(
            translator.window.encoder, translator.decoder, translator.scorer, translator.attention
        )
        self.translator = translator.computed_by(self)
        self._encoding, self._decoding = Lane(compute=self._encode), Lane(compute=self._decode)
        self._lanes = (self._encoding, self._decoding)

    def computes(self, model: Translator) -> bool:
        """Whether sessions of the model, which may be one for another pair of languages, meet here."""
        return isinstance(model, Whisper) and model.compute is self

    def encode(self, samples: FloatArray) -> EncodedWindow:
        """Frames of one stream's window; it is made into features by the thread of the stream."""
        features, n_valid = self._window.features(samples)
        found: EncodedWindow = self.ask(self._encoding, Window(features=features, n_valid=n_valid))
        return found

    def feed(self, run: Feeding, ids: Sequence[Sequence[int]]) -> Fed:
        """What the decoder says of new ids of one stream's run."""
        if len(ids) > 1:
            return self._direct.feed(run, ids)
        found: Fed = self.ask(self._decoding, Entries(run=run, ids=ids))
        return found

    def _encode(self, requests: list[Window]) -> None:
        windows = self.packed.encode([one.features for one in requests], [one.n_valid for one in requests])
        for request, window in zip(requests, windows, strict=True):
            request.result = window

    def _decode(self, requests: list[Entries]) -> None:
        found = self.packed.feed([one.run for one in requests], [one.ids[0] for one in requests])
        for request, fed in zip(requests, found, strict=True):
            request.result = fed
