"""Moonshine: English speech to English text; its encoder costs in proportion to the audio, another one streams.

Jeffries et al. 2024, "Moonshine: Speech Recognition for Live Transcription and Voice Commands".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simulst.core.languages import Pair
from simulst.models.attention import choose_heads, whole_layers
from simulst.models.checkpoint import load_pretrained
from simulst.models.family import ModelFamily
from simulst.models.options import option
from simulst.models.precision import choose_precision
from simulst.models.recorded import ROWS, register
from simulst.models.seq2seq.bare import described
from simulst.models.seq2seq.blocks import BlockSession, BlockWeights, BlockWindow, encoder_of
from simulst.models.seq2seq.session import Seq2SeqSession
from simulst.models.seq2seq.translator import Seq2SeqTranslator, decoding
from simulst.models.seq2seq.weights import Seq2SeqOptions
from simulst.models.seq2seq.windows import EncodedWindow, JointWindow, MoonshineWindow
from simulst.models.vocabulary import TOKENIZER_FILE, TokenizerVocabulary, read_tokenizer

MAX_SOURCE_S = 20.0
"""Trained on clips of 4 to 30 s; the 194 positions of its decoder hold about 25 s of fast speech."""


@dataclass(frozen=True, kw_only=True)
class Options(Seq2SeqOptions):
    encoder: str | None = option(
        None,
        "a speech LLM, such as tiny-en-de, whose streaming encoder hears in the place of Moonshine's; none: the one "
        "that the model's folder names, or Moonshine's own, which hears a window of audio anew at every step",
    )


BLOCK_HEADS = ((3, 2), (2, 0), (3, 0), (4, 0))
"""Of Moonshine tiny: those that follow the frames of tiny-en-de's encoder best. On 40 groups of recordings their mean
looks within 0.1 s of what is written in 99.7 % of 2,267 tokens."""
TINY = (6, 8)
"""Layers and heads of Moonshine tiny."""


def load(directory: Path, options: Options, *, name: str, device: str, dtype: str | None) -> "Moonshine":
    """A Moonshine checkpoint from a local directory; raises ModelError with one sentence for anything unusable."""
    from transformers import MoonshineForConditionalGeneration

    pieces, special = read_tokenizer(directory / TOKENIZER_FILE)
    register()
    bare = described(directory)
    encoder = options.encoder or (bare.encoder if bare else None)
    blocks = encoder is not None
    model = load_pretrained(
        MoonshineForConditionalGeneration,
        directory,
        device=device,
        dtype=dtype,
        attention=ROWS,
        int8=blocks,
        quantised=not blocks,
        without="model.encoder." if bare else "",
    )
    config = model.config
    sizes = int(config.decoder_num_hidden_layers), int(config.decoder_num_attention_heads)
    return (BlockMoonshine if blocks else Moonshine)(
        name=name,
        directory=directory,
        model=model,
        encoder=_encoder(model, encoder, dtype),
        vocabulary=TokenizerVocabulary(
            directory / TOKENIZER_FILE, pieces, eos=int(config.eos_token_id), special=special
        ),
        options=options,
        heads=choose_heads(directory, options.heads_file, _heads(*sizes, blocks=blocks)),
        max_source_s=MAX_SOURCE_S,
        positions=int(config.max_position_embeddings),
    )


def _encoder(model: Any, encoder: str | None, dtype: str | None) -> JointWindow:
    """Its own, or the one of a speech LLM in the same precision, for which its own is given up."""
    if encoder is None:
        return MoonshineWindow(model.get_encoder(), max_s=1.5 * MAX_SOURCE_S)
    like = model.get_encoder().conv1.weight
    del model.model.encoder
    int8 = choose_precision(dtype, model.device, int8=True).int8
    frames = encoder_of(encoder, width=int(model.config.hidden_size), int8=int8, like=like)
    return BlockWindow(frames, max_s=1.5 * MAX_SOURCE_S)


def _heads(layers: int, heads: int, *, blocks: bool) -> Sequence[Sequence[int]]:
    """Layers 3 and 4 of Moonshine tiny follow the audio best as wholes; the first two not at all."""
    if blocks and (layers, heads) == TINY:
        return BLOCK_HEADS
    return whole_layers(sorted({layers // 2, min(layers // 2 + 1, layers - 1)}), heads)


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


class BlockMoonshine(Moonshine, BlockWeights):
    """Weights of Moonshine's decoder and of a streaming encoder."""

    encoder: BlockWindow

    def open(self) -> "BlockMoonshineSession":
        return BlockMoonshineSession(self)


class BlockMoonshineSession(BlockSession, MoonshineSession):
    """A stream whose frames come block by block."""

    translator: BlockMoonshine


FAMILY = ModelFamily(
    name="moonshine", options=Options, provides=decoding, load=load, hub="UsefulSensors/moonshine-base"
)
