"""What a session is asked, and what it answers: hypotheses with evidence."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, Protocol

from simulst.audio.samples import FloatArray
from simulst.core.favoured import Favoured


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
    JOINT = "joint"
    """The decoder writes transcript and translation as one text, in the order of time."""
    SESSION_TOKENS = "session_tokens"
    """The model's own READ/WRITE tokens."""
    TRANSDUCER = "transducer"
    """A joint network says after every block of audio: blank or the next token."""
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
    marks: FloatArray | None = None
    """[heads, marks, frames] when ALIGNMENT_HEADS was wanted: rows of the marks before the text (language, task) in
    encoder-decoders that begin with such; None elsewhere."""


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


Verdict = Literal["continue", "stop_keep", "stop_drop"]
"""Of a gate about the token that comes next: go on, end with it, or end without it."""


class Gate(Protocol):
    """Looks at each token while decoding runs and may end the hypothesis."""

    def __call__(self, step: TokenStep, /) -> Verdict: ...


@dataclass(frozen=True, kw_only=True)
class Query:
    """How a session is to continue a prefix, and what it is to say about the new tokens."""

    max_new: int | None = None
    """Most new tokens; None: the translator chooses a cap from the length of the source."""
    n_best: int = 1
    """Most hypotheses."""
    sample: bool = False
    """Draw them instead of searching for the best."""
    seed: int = 0
    """Equal seeds draw equal samples."""
    gate: Gate | None = None
    """A greedy search asks it as it goes; beams and samples are cut by it afterwards."""
    bias: Bias | None = None
    """Followed by greedy search, not by others."""
    favoured: Favoured | None = None
    """Terms of a glossary that were heard; followed by every search, or told in a prompt."""
    want: frozenset[Evidence] = frozenset()
    """Evidence that hypotheses are to carry."""


PLAIN = Query()
"""The best hypothesis, nothing else."""


@dataclass(frozen=True, kw_only=True)
class Draw:
    """How continuations of a source text are sampled; equal seeds give equal samples."""

    n: int
    """Continuations."""
    max_tokens: int
    """Most tokens of each."""
    top_p: float = 0.9
    """Nucleus of probability that tokens are drawn from."""
    temperature: float = 1.0
    seed: int = 0
