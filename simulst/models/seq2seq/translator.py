"""Translators over Hugging Face encoder-decoders.

What differs between architectures (encoder, prompt, vocabulary) stands in `whisper.py`, `moonshine.py`, `seamless.py`
and `speech2text.py`, what streams share in `weights.py`, a stream in `session.py`, the decoder's caches in
`decoder_run.py`.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from simulst.core.languages import Pair
from simulst.core.translator import DECODING, Evidence, Translator
from simulst.models.seq2seq.compute import HeardOnce
from simulst.models.seq2seq.session import Seq2SeqSession
from simulst.models.seq2seq.weights import Seq2SeqOptions, Seq2SeqWeights


class Seq2SeqTranslator(Seq2SeqWeights):
    """An encoder-decoder that opens streams; the file of an architecture extends it."""

    def open(self) -> Seq2SeqSession:
        return Seq2SeqSession(self)


class ManyTongues(Seq2SeqTranslator, ABC):
    """One whose prompt names the languages."""

    @property
    @abstractmethod
    def pairs(self) -> tuple[Pair, ...]:
        """What the weights can do, what they were loaded for first."""

    @abstractmethod
    def for_pair(self, pair: Pair) -> Self:
        """The same weights with another prompt."""

    def side_by_side(self, pairs: Sequence[Pair]) -> list[Translator]:
        """A prompt for each pair; a window that is the same for all is encoded once."""
        compute = HeardOnce(self.compute)
        return [self.for_pair(pair).computed_by(compute) for pair in pairs]


def decoding(directory: Path, options: Seq2SeqOptions) -> frozenset[Evidence]:
    """What every encoder-decoder provides."""
    return DECODING
