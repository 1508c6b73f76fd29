"""Moonshine Streaming: English speech to English text; its encoder sees 0.24 s ahead, and every second is encoded once.

Kudlur et al. 2026, "Moonshine v2: Ergodic Streaming Encoder ASR for Latency-Critical Speech Applications".
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from simulst.core.languages import Pair
from simulst.core.source import FloatArray
from simulst.models.attention import choose_heads, middle_layer
from simulst.models.checkpoint import load_pretrained
from simulst.models.family import ModelFamily
from simulst.models.recorded import ROWS, register
from simulst.models.seq2seq.moonshine import MoonshineSession
from simulst.models.seq2seq.sliding_encoder import SlidingEncoder
from simulst.models.seq2seq.translator import Seq2SeqTranslator, decoding
from simulst.models.seq2seq.weights import Seq2SeqOptions
from simulst.models.seq2seq.windows import EncodedWindow
from simulst.models.vocabulary import TOKENIZER_FILE, TokenizerVocabulary, read_tokenizer

MAX_SOURCE_S = 30.0
"""Of kept audio; the positions of its decoder would hold 80 s."""


@dataclass(frozen=True, kw_only=True)
class Options(Seq2SeqOptions):
    pass


class _InTheWindow(nn.Module):
    """In the place of the decoder's places of frames, which the window has already: adding nothing, once a call."""

    def forward(self, places: Tensor) -> Tensor:
        return torch.zeros(1, device=places.device)


def load(directory: Path, options: Options, *, name: str, device: str, dtype: str | None) -> "MoonshineStreaming":
    """A checkpoint from a local directory; raises ModelError with one sentence for anything unusable."""
    from transformers import MoonshineStreamingForConditionalGeneration

    pieces, special = read_tokenizer(directory / TOKENIZER_FILE)
    register()
    kind = MoonshineStreamingForConditionalGeneration
    model = load_pretrained(kind, directory, device=device, dtype=dtype, attention=ROWS, quantised=True)
    config, decoder = model.config, model.get_decoder()
    places, projection = decoder.pos_emb.weight, decoder.proj
    decoder.pos_emb, decoder.proj = _InTheWindow(), nn.Identity()
    num_heads = int(config.num_attention_heads)
    ends = config.eos_token_id
    return MoonshineStreaming(
        name=name,
        directory=directory,
        model=model,
        encoder=SlidingEncoder(model.get_encoder(), places, projection, max_s=1.5 * MAX_SOURCE_S),
        vocabulary=TokenizerVocabulary(
            directory / TOKENIZER_FILE, pieces, eos=int(ends[0] if isinstance(ends, list) else ends), special=special
        ),
        options=options,
        heads=choose_heads(directory, options.heads_file, middle_layer(int(config.num_hidden_layers), num_heads)),
        num_heads=num_heads,
        max_source_s=MAX_SOURCE_S,
        positions=int(config.max_position_embeddings),
    )


class MoonshineStreaming(Seq2SeqTranslator):
    """Weights of Moonshine Streaming; the prompt is the start mark alone."""

    tokens_per_second = 6.5
    encoder: SlidingEncoder

    def __init__(self, *, model: Any, **rest: Any) -> None:
        config = model.config
        start = config.decoder_start_token_id
        self.start_id = int(config.bos_token_id if start is None else start)
        super().__init__(model=model, **rest)

    def open(self) -> "MoonshineStreamingSession":
        return MoonshineStreamingSession(self)

    def prompt(self) -> tuple[int, ...]:
        return (self.start_id,)

    @property
    def pairs(self) -> tuple[Pair, ...]:
        return (Pair(source="en", target="en"),)

    def for_pair(self, pair: Pair) -> "MoonshineStreaming":
        return self


class MoonshineStreamingSession(MoonshineSession):
    """A stream whose frames are kept instead of encoded again; only the newest, which saw too little, are."""

    translator: MoonshineStreaming

    def __init__(self, translator: MoonshineStreaming) -> None:
        super().__init__(translator)
        self._stream = translator.encoder.open()
        self._frames = translator.encoder.positions[:0]
        self._first = 0
        """The number of the oldest kept frame."""

    def extend_source(self, samples: FloatArray, *, is_final: bool = False) -> None:
        super().extend_source(samples, is_final=is_final)
        heard = torch.from_numpy(np.array(samples, dtype=np.float32))
        frames, self._stream = self.translator.encoder.step(heard, self._stream)
        self._frames = torch.cat((self._frames, frames))
        self._forget()

    def drop_source(self, to_s: float) -> None:
        super().drop_source(to_s)
        self._forget()

    def _forget(self) -> None:
        """Frames of audio that is gone, as far as they are there already."""
        count = min(self._source.start // self.translator.encoder.frame_samples - self._first, len(self._frames))
        if count > 0:
            self._frames = self._frames[count:].clone()
            self._first += count

    def _encode(self, samples: FloatArray) -> EncodedWindow:
        encoder = self.translator.encoder
        newest, _ = encoder.step(self._frames.new_zeros(0), self._stream, is_final=True)
        late = self._source.start // encoder.frame_samples - self._first
        with torch.inference_mode():
            states = encoder.ready(torch.cat((self._frames, newest))[late:])
        return EncodedWindow(states=states, n_valid=states.shape[1])


FAMILY = ModelFamily(
    name="moonshine_streaming",
    options=Options,
    provides=decoding,
    load=load,
    hub="UsefulSensors/moonshine-streaming-tiny",
)
