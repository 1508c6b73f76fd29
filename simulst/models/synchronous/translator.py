"""Weights of a recogniser that writes as it hears; the file of an architecture extends them."""

import copy
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from simulst.core.languages import Pair
from simulst.core.source import SAMPLE_RATE
from simulst.core.translator import Evidence, PlainTranslator
from simulst.models.options import check_options, option
from simulst.models.synchronous.session import FrameStream, SynchronousSession
from simulst.models.text.languages import is_spaced
from simulst.models.vocabulary import PieceVocabulary

if TYPE_CHECKING:
    import torch

PROVIDES = frozenset(
    {Evidence.PREFIX, Evidence.ALIGNMENT, Evidence.ALIGNMENT_HEADS, Evidence.LOGPROBS, Evidence.RETRACT}
)
"""What every such recogniser provides; there is one hypothesis, as nothing is searched."""
MAX_SOURCE_S = 30.0
"""Of audio whose words can be placed; it is not kept itself."""


@dataclass(frozen=True, kw_only=True)
class SynchronousOptions:
    """How long a recogniser waits for what follows a frame before it writes about it."""

    delay_ms: int | None = option(
        None, "audio after a frame that is heard before it is written about; none: as the checkpoint says", at_least=0
    )

    def __post_init__(self) -> None:
        check_options(self)


class SynchronousTranslator(PlainTranslator, ABC):
    """Weights and vocabulary; sessions share them and never change them."""

    provides = PROVIDES
    max_source_s = MAX_SOURCE_S

    def __init__(
        self,
        *,
        name: str,
        directory: Path,
        vocabulary: PieceVocabulary,
        frame_samples: int,
        device: "torch.device",
        source: str | None,
    ) -> None:
        self.name, self.directory, self.vocabulary, self.device = name, directory, vocabulary, device
        self.frame_samples = frame_samples
        self.frame_s = frame_samples / SAMPLE_RATE
        self._write_down(source)

    @abstractmethod
    def stream(self) -> FrameStream:
        """What the model knows of a stream that begins."""

    def open(self) -> SynchronousSession:
        return SynchronousSession(self)

    @property
    @abstractmethod
    def pairs(self) -> tuple[Pair, ...]:
        """The languages that it writes down, the one it was loaded for first."""

    def for_pair(self, pair: Pair) -> Self:
        """The same weights for another of them."""
        other = copy.copy(self)
        other.vocabulary = copy.copy(self.vocabulary)
        other._write_down(pair.source or None)
        return other

    def _write_down(self, source: str | None) -> None:
        """From now on this language; None: the model finds out."""
        self.source = source
        self.vocabulary.spaced = source is None or is_spaced(source)


def provides(directory: Path, options: SynchronousOptions) -> frozenset[Evidence]:
    """What every such recogniser provides."""
    return PROVIDES
