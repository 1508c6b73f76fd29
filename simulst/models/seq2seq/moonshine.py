"""Moonshine: English speech to English text, with an encoder that costs in proportion to the audio.

Jeffries et al. 2024, "Moonshine: Speech Recognition for Live Transcription and Voice Commands".
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simulst.core.languages import Pair
from simulst.models.attention import choose_heads, whole_layers
from simulst.models.checkpoint import load_pretrained
from simulst.models.family import ModelFamily
from simulst.models.recorded import ROWS, register
from simulst.models.seq2seq.session import Seq2SeqSession
from simulst.models.seq2seq.translator import Seq2SeqTranslator, decoding
from simulst.models.seq2seq.weights import Seq2SeqOptions
from simulst.models.seq2seq.windows import EncodedWindow, MoonshineWindow
from simulst.models.vocabulary import TOKENIZER_FILE, TokenizerVocabulary, read_tokenizer

MAX_SOURCE_S = 20.0
"""Trained on clips of 4 to 30 s; the 194 positions of its decoder hold about 25 s of fast speech."""


@dataclass(frozen=True, kw_only=True)
class Options(Seq2SeqOptions):
    pass


def load(directory: Path, options: Options, *, name: str, device: str, dtype: str | None) -> "Moonshine":
    """A Moonshine checkpoint from a local directory; raises ModelError with one sentence for anything unusable."""
    from transformers import MoonshineForConditionalGeneration

    pieces, special = read_tokenizer(directory / TOKENIZER_FILE)
    register()
    model = load_pretrained(
        MoonshineForConditionalGeneration, directory, device=device, dtype=dtype, attention=ROWS, quantised=True
    )
    config = model.config
    layers, num_heads = int(config.decoder_num_hidden_layers), int(config.decoder_num_attention_heads)
    # Layers 3 and 4 of Moonshine tiny follow the audio best; the first two not at all.
    default = whole_layers(sorted({layers // 2, min(layers // 2 + 1, layers - 1)}), num_heads)
    return Moonshine(
        name=name,
        directory=directory,
        model=model,
        encoder=MoonshineWindow(model.get_encoder(), max_s=1.5 * MAX_SOURCE_S),
        vocabulary=TokenizerVocabulary(
            directory / TOKENIZER_FILE, pieces, eos=int(config.eos_token_id), special=special
        ),
        options=options,
        heads=choose_heads(directory, options.heads_file, default),
        max_source_s=MAX_SOURCE_S,
        positions=int(config.max_position_embeddings),
    )


class Moonshine(Seq2SeqTranslator):
    """Weights of Moonshine; the prompt is the start mark alone."""

    tokens_per_second = 6.5  # the publisher's figure
    median_s = 0.168
    """7 frames of 24 ms, our choice: on a first second of speech all rows peak at one and the same frame, a sink."""

    def __init__(self, *, model: Any, **rest: Any) -> None:
        self.start_id = int(model.config.decoder_start_token_id)
        super().__init__(model=model, **rest)

    def open(self) -> "MoonshineSession":
        return MoonshineSession(self)

    def prompt(self) -> tuple[int, ...]:
        return (self.start_id,)

    @property
    def pairs(self) -> tuple[Pair, ...]:
        return (Pair(source="en", target="en"),)

    def for_pair(self, pair: Pair) -> "Moonshine":
        return self


class MoonshineSession(Seq2SeqSession):
    """A stream on Moonshine, whose text is the transcript itself."""

    def _prompt(self, window: EncodedWindow) -> tuple[int, ...]:
        return self.translator.prompt()

    def _transcript_prompt(self, window: EncodedWindow) -> tuple[int, ...] | None:
        return self.translator.prompt()


FAMILY = ModelFamily(
    name="moonshine", options=Options, provides=decoding, load=load, hub="UsefulSensors/moonshine-base"
)
