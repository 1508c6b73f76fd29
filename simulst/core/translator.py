"""What a translator is: weights that open sessions, and sessions that turn audio into hypotheses with evidence.

A translator never decides when to commit; a policy (`simulst.policies`) does, from the evidence gathered here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, Protocol

from simulst.audio.samples import FloatArray as FloatArray


class Evidence(StrEnum):
    """What a policy may ask a translator for, beyond the hypothesis itself."""

    PREFIX = "prefix"
    """Decoding continues a forced prefix of token ids."""
    ALIGNMENT = "alignment"
    """Attention of every token over source frames."""
    ALIGNMENT_HEADS = "alignment_heads"
    """The same, with the rows of every alignment head besides their mean."""
    LOGPROBS = "logprobs"
    NO_SPEECH = "no_speech"
    """The model's own probability that the kept audio holds no speech."""
    NBEST = "nbest"
    """Several hypotheses after the same prefix: beams or samples."""
    CTC_COUNTS = "ctc_counts"
    """Number of source words heard so far."""
    P_CHOOSE = "p_choose"
    SOURCE_LM = "source_lm"
    """Transcript of the source, sampled continuations of it, and translation of text."""
    CHAIN = "chain"
    """The decoder itself writes a transcript of the source, and the translation after that."""
    SESSION_TOKENS = "session_tokens"
    """The model's own READ/WRITE tokens."""
    GROUPED = "grouped"
    """Source and target stand in groups of their own: nothing is decoded twice."""
    RETRACT = "retract"
    """Decoding from scratch, without a forced prefix; what was shown may be taken back."""


DECODING = frozenset(
    {
        Evidence.PREFIX,
        Evidence.ALIGNMENT,
        Evidence.ALIGNMENT_HEADS,
        Evidence.LOGPROBS,
        Evidence.NBEST,
        Evidence.RETRACT,
    }
)
"""What every model with attention over the source provides."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Alignment:
    """Attention over source frames, one *predicting* row per token: the query that produced the token's logits.

    `weights` is [history + new, frames], float32, history rows first; columns from `n_valid` on are padding and must
    not enter any decision. Column j covers `start_s + j * frame_s` to `start_s + (j + 1) * frame_s` of the stream.
    """

    weights: FloatArray
    history: int
    n_valid: int
    frame_s: float
    start_s: float
    heads: FloatArray | None = None
    """[heads, history + new, frames] when ALIGNMENT_HEADS was wanted; `weights` is their mean."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Hypothesis:
    """New tokens after the forced prefix; the end-of-sequence token is never among them."""

    ids: tuple[int, ...]
    stop: Literal["eos", "length", "gate", "repeat"]
    next_id: int | None = None
    """The token that would have come next when it is known (the one a gate rejected); None otherwise."""
    logprobs: tuple[float, ...] | None = None
    """Natural log-probability of each of `ids`."""
    alignment: Alignment | None = None
    no_speech: float | None = None
    """Probability of no speech when NO_SPEECH was wanted and the model has one."""
    score: float = 0.0


@dataclass(frozen=True, kw_only=True)
class TokenStep:
    """What an in-loop gate sees about the token about to be appended."""

    index: int
    """0 for the first new token."""
    token: int
    logprob: float
    weights: FloatArray | None
    """Its predicting row over source frames, [frames], when alignment was asked for."""
    n_valid: int
    p_choose: float | None = None
    """Write probability of a monotonic decoder, when P_CHOOSE was asked for."""


@dataclass(frozen=True, kw_only=True)
class Bias:
    """Pulls decoding towards a text: while new tokens follow `ids`, p'(w) = (1 - weight) p(w) + weight [w = next]."""

    ids: tuple[int, ...]
    weight: float


class Gate(Protocol):
    """Looks at each token while decoding runs and may end the hypothesis.

    A gate may also carry a `Bias` in an attribute `bias`; greedy decoding follows it, other searches do not. One with a
    true attribute `post_hoc` only saves time: its policy makes the same cut in the finished hypothesis.
    """

    def __call__(self, step: TokenStep, /) -> Literal["continue", "stop_keep", "stop_drop"]: ...


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
        """Append 16 kHz mono samples in [-1, 1]; `is_final` flushes look-ahead, after it nothing more may come."""
        ...

    def hypothesise(
        self,
        prefix: Sequence[int],
        *,
        max_new: int | None = None,
        n_best: int = 1,
        sample: bool = False,
        seed: int = 0,
        gate: Gate | None = None,
        want: frozenset[Evidence] = frozenset(),
    ) -> list[Hypothesis]:
        """Continue `prefix` (committed ids that are still kept) given all kept source; best hypothesis first.

        `max_new=None` lets the translator choose a cap from the length of the source. No source: one empty hypothesis.
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

    def snapshot(self) -> object:
        """An opaque copy of the state, cheap enough to take once per chunk."""
        ...

    def rollback(self, snapshot: object) -> None:
        """Return to a state taken by `snapshot`."""
        ...


class SourceLanguageModel(Protocol):
    """Continues source text."""

    def continue_source(
        self, text: str, *, n: int, max_tokens: int, top_p: float = 0.9, temperature: float = 1.0, seed: int = 0
    ) -> list[str]:
        """`n` sampled continuations of a source text, each without the text itself; equal seeds give equal samples."""
        ...


class SourceModel(SourceLanguageModel, Protocol):
    """What a session that provides SOURCE_LM can do besides `TranslatorSession`; calls with texts are batched."""

    def continuer(self, name: str) -> SourceLanguageModel:
        """What continues the source: the causal model in the directory or under the hub name `name`, or for "" this
        model itself. Raises ModelError."""
        ...

    def translate_text(self, texts: Sequence[str], prefix: Sequence[int], *, max_new: int) -> list[Hypothesis]:
        """The best translation of each source text that begins with the target ids `prefix`: new ids only."""
        ...


class ChainSession(Protocol):
    """What a session that provides CHAIN can do besides `TranslatorSession`."""

    def write_source(self, *, max_new: int | None = None) -> Hypothesis:
        """The transcript of all kept audio as the decoder writes it, with alignment; ids of the vocabulary."""
        ...

    def translate_after(
        self,
        source: Sequence[int],
        prefix: Sequence[int],
        *,
        until_s: float | None = None,
        max_new: int | None = None,
        want: frozenset[Evidence] = frozenset(),
    ) -> Hypothesis:
        """Continue `prefix` after the transcript `source`, given the kept audio before the absolute time `until_s`."""
        ...


@dataclass(frozen=True, kw_only=True)
class ReadWrite:
    """How a model that was trained on READ and WRITE tokens is run."""

    latency: str = "medium"
    """The tag in its prompt: low, low-medium, medium, medium-high or high; without effect on turns."""
    turn: int = 0
    """0: the model decides when it writes. m: it is made to write (maybe nothing) after every m blocks of audio."""
    threshold: float = 0.5
    """Probability of WRITE against READ from which on it writes."""
    max_new: Callable[[int], int] = lambda words: 2 * (words + 25)
    """Most tokens of one write, given the source words heard since the last one."""
    most: int = 1024
    """Most tokens of one call."""
    sentence_words: int = 20
    """Write at the end of a source sentence once this many words were heard since the last write; 0: never."""


@dataclass(frozen=True, kw_only=True)
class Turn:
    """Some source and what was written after it."""

    tokens: int
    """Target ids, maybe none."""
    end_s: float
    """Absolute end of its source."""
    entries: int
    """Cache entries it takes: vectors of source, the mark of its write, its tokens, the mark of its end."""
    vector_s: float = 0.0
    """Seconds that an entry of source stands for; 0 where the turn cannot be cut."""


class ReadWriteSession(Protocol):
    """What a session that provides SESSION_TOKENS can do besides `TranslatorSession`."""

    def read_write(
        self, prefix: Sequence[int], plan: ReadWrite, *, final: bool = False, want: frozenset[Evidence] = frozenset()
    ) -> Hypothesis:
        """Read the source that is new and return all that the model writes meanwhile, at the end too with `final`.

        `prefix` are the committed ids that are kept; what was written before and not committed is taken back.
        """
        ...

    def turns(self) -> tuple[Sequence[Turn], int]:
        """The turns that are over, oldest first, and the number of cache entries after the last of them."""
        ...

    def keep_first(self, count: int) -> None:
        """Keep the first `count` entries after the prompt in the cache although their source and text are forgotten.

        Raises ModelError where forgetting empties the cache.
        """
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

    def open(self) -> TranslatorSession: ...


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
