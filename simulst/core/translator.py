"""What a translator is: weights that open sessions, and sessions that turn audio into hypotheses with evidence.

A translator never decides when to commit; a policy (`simulst.policies`) does, from the evidence gathered here. What is
asked and answered stands in `query`, what only some models can do in `capabilities`; all of it is imported from here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol

from simulst.audio.samples import FloatArray as FloatArray
from simulst.core.capabilities import ChainSession as ChainSession
from simulst.core.capabilities import ReadWrite as ReadWrite
from simulst.core.capabilities import ReadWriteSession as ReadWriteSession
from simulst.core.capabilities import SegmentSession as SegmentSession
from simulst.core.capabilities import SourceLanguageModel as SourceLanguageModel
from simulst.core.capabilities import SourceModel as SourceModel
from simulst.core.capabilities import Transduce as Transduce
from simulst.core.capabilities import TransducerSession as TransducerSession
from simulst.core.capabilities import Turn as Turn
from simulst.core.query import DECODING as DECODING
from simulst.core.query import PLAIN as PLAIN
from simulst.core.query import Alignment as Alignment
from simulst.core.query import Bias as Bias
from simulst.core.query import Draw as Draw
from simulst.core.query import Evidence as Evidence
from simulst.core.query import Gate as Gate
from simulst.core.query import Hypothesis as Hypothesis
from simulst.core.query import Query as Query
from simulst.core.query import TokenStep as TokenStep
from simulst.core.query import Verdict as Verdict
from simulst.errors import EvidenceError

TOKENS_PER_SECOND = 5.0
"""Target tokens per second of speech where a translator names no rate of its own."""


class Vocabulary(Protocol):
    """The target side of a tokeniser, as policies and the commit log need it."""

    eos: int
    spaced: bool
    """False for scripts without spaces: word stripping is off, a "word" is a character."""

    def decode(self, ids: Sequence[int]) -> str:
        """Text of the ids, special tokens left out, a leading space kept when the first piece carries one."""
        ...

    def starts_word(self, token: int) -> bool:
        """Whether the token opens a new word (carries the word-start mark, or the script has no spaces)."""
        ...

    def closes_unit(self, token: int) -> bool:
        """Whether the token alone ends the word before it (punctuation that is glued to the word on its left)."""
        ...


class TranslatorSession(Protocol):
    """One stream on one translator: its encoder state, kept source and caches. Emits nothing."""

    @property
    def start_s(self) -> float:
        """Absolute time of the oldest audio that is still kept."""
        ...

    @property
    def heard_s(self) -> float:
        """Absolute end of the audio that decoding can see (a streaming encoder may lag its input by the look-ahead)."""
        ...

    @property
    def source_end(self) -> int:
        """Where the source that decoding sees ends, in units of the model (samples, vectors, words committed).

        Equal numbers at two steps mean that nothing was added to the source between them, whatever `heard_s` says.
        """
        ...

    def extend_source(self, samples: FloatArray, *, is_final: bool = False) -> None:
        """Append 16 kHz mono samples in [-1, 1]; `is_final` flushes look-ahead, after it only `segments.restart`
        lets more come."""
        ...

    def hypothesise(self, prefix: Sequence[int], query: Query = PLAIN) -> list[Hypothesis]:
        """Continue `prefix` (committed ids that are still kept) given all kept source; best hypothesis first.

        No source: one empty hypothesis.
        """
        ...

    def source_words(self, since_s: float = 0.0) -> int:
        """Source words heard since the stream began (never decreases), or those of kept audio that begin at the
        absolute time `since_s` or later; needs CTC_COUNTS."""
        ...

    def transcript(self) -> str:
        """Recognised source text of the audio that is still kept, "" where the model has none."""
        ...

    def drop_source(self, to_s: float) -> None:
        """Forget audio before the absolute time `to_s` (rounded down to a frame)."""
        ...

    def drop_target(self, count: int) -> None:
        """Forget the oldest `count` ids of the kept prefix (caches only: the caller shortens the prefix it passes)."""
        ...

    @property
    def segments(self) -> SegmentSession | None:
        """What begins anew after a final piece; None where all segments are one stream."""
        ...

    @property
    def reads_and_writes(self) -> ReadWriteSession | None:
        """What runs the model's own READ and WRITE; None without SESSION_TOKENS."""
        ...

    @property
    def chain(self) -> ChainSession | None:
        """What writes a transcript before the translation; None without CHAIN."""
        ...

    @property
    def transducer(self) -> TransducerSession | None:
        """What runs the model's joint network; None without TRANSDUCER."""
        ...

    @property
    def text(self) -> SourceModel | None:
        """What continues and translates source text; None without SOURCE_LM."""
        ...

    @property
    def decoder_positions(self) -> int | None:
        """Entries (speech vectors, marks, tokens) the decoder has processed, each time anew; None: not counted."""
        ...


class Translator(Protocol):
    """Weights and vocabulary; immutable after loading, shared by any number of sessions."""

    @property
    def name(self) -> str: ...

    @property
    def provides(self) -> frozenset[Evidence]: ...

    @property
    def vocabulary(self) -> Vocabulary: ...

    @property
    def frame_s(self) -> float:
        """Seconds per alignment column."""
        ...

    @property
    def max_source_s(self) -> float:
        """Longest kept source that decoding was made for; the session trims before it is exceeded."""
        ...

    @property
    def tokens_per_second(self) -> float:
        """Most target tokens that a second of speech takes; it bounds hypotheses."""
        ...

    @property
    def unlocks(self) -> Mapping[Evidence, str]:
        """Evidence that the model lacks as it was loaded, and the option that brings it (`positions=grouped`)."""
        ...

    def open(self) -> TranslatorSession: ...


class PlainTranslator:
    """What a translator says unless it has more to say; extend it and leave out what it answers for you."""

    tokens_per_second: float = TOKENS_PER_SECOND
    unlocks: Mapping[Evidence, str] = MappingProxyType({})


class PlainSession:
    """What a session answers where its model can do no more than continue a prefix; extend it and override."""

    def source_words(self, since_s: float = 0.0) -> int:
        raise EvidenceError("The model does not count source words; use a policy that counts by time.")

    def transcript(self) -> str:
        return ""

    def drop_target(self, count: int) -> None:
        """Nothing is cached between calls."""

    @property
    def segments(self) -> SegmentSession | None:
        return None

    @property
    def reads_and_writes(self) -> ReadWriteSession | None:
        return None

    @property
    def chain(self) -> ChainSession | None:
        return None

    @property
    def transducer(self) -> TransducerSession | None:
        return None

    @property
    def text(self) -> SourceModel | None:
        return None

    @property
    def decoder_positions(self) -> int | None:
        return None


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """One line of `simulst models`."""

    name: str
    description: str
    provides: frozenset[Evidence]
    source: str
    target: str
    licence: str
    parameters_m: float
    options: dict[str, str] = field(default_factory=dict)
