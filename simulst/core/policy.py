"""What a policy is: a frozen rule that reads evidence about a hypothesis and says how much of it to commit.

References for every rule stand in the policy files; row convention, boundary rule and invariants in docs/policies.md.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Protocol

from typing_extensions import TypeVar

from simulst.core.alignment import IntArray, attended_frames, valid_rows
from simulst.core.settings import check
from simulst.core.translator import (
    Alignment,
    Bias,
    Evidence,
    Gate,
    Hypothesis,
    ReadWrite,
    SourceModel,
    Transduce,
    Vocabulary,
)
from simulst.errors import PolicyError


@dataclass(frozen=True, kw_only=True)
class SourceView:
    """The clock as a policy sees it; times are absolute seconds of the stream, padding excluded."""

    start_s: float
    heard_s: float
    received_s: float
    """Audio received; `heard_s` may lag it by the encoder's look-ahead."""
    is_final: bool
    step: int
    """0 for the first chunk of the stream."""


@dataclass(frozen=True, kw_only=True)
class Committed:
    """What has been committed and is still part of the forced prefix."""

    prefix: tuple[int, ...]
    dropped: int
    """Older committed ids that history selection has forgotten."""
    words: int
    """Words committed since the stream began."""
    kept_words: int
    """Words of `prefix`."""

    @property
    def total(self) -> int:
        return self.dropped + len(self.prefix)


class Decoder(Protocol):
    """A translator session as the Session hands it to a policy: the committed prefix and the evidence that history
    selection needs are filled in."""

    vocabulary: Vocabulary
    frame_s: float
    """Seconds per alignment column."""
    wants: frozenset[Evidence]
    """Evidence that history selection needs of every hypothesis."""

    def hypothesise(
        self,
        *,
        prefix: Sequence[int] | None = None,
        max_new: int | None = None,
        n_best: int = 1,
        sample: bool = False,
        seed: int = 0,
        gate: Gate | None = None,
        post_hoc: bool = False,
        bias: Bias | None = None,
        want: frozenset[Evidence] = frozenset(),
    ) -> list[Hypothesis]:
        """What a session answers to a `simulst.core.translator.Query` made of these; best hypothesis first.

        `prefix=None` means the committed ids that are still kept. A gate that is `post_hoc` only saves time: the policy
        makes the same cut in the finished hypothesis.
        """
        ...

    def read_write(self, plan: ReadWrite, *, final: bool = False) -> Hypothesis:
        """All that the model writes by its own marks while it reads what is new, at the end too with `final`.

        Raises EvidenceError for a model without SESSION_TOKENS.
        """
        ...

    def transduce(self, plan: Transduce, *, final: bool = False) -> Hypothesis:
        """All that the model's joint network writes for good after the blocks that are new, at the end too with
        `final`.

        Raises EvidenceError for a model without TRANSDUCER.
        """
        ...

    @property
    def text(self) -> SourceModel:
        """The text side of the model; EvidenceError for one without SOURCE_LM."""
        ...

    @property
    def source_end(self) -> int:
        """Where the source that decoding sees ends, in units of the model; equal at two steps: nothing came between."""
        ...

    def transcript(self) -> str:
        """Recognised source text of the kept audio, "" where the model has none."""
        ...

    def source_words(self, since_s: float = 0.0) -> int:
        """Source words heard since the stream began, or those of kept audio from `since_s` on; needs CTC_COUNTS."""
        ...

    def speech(self, since_s: float = 0.0) -> list[tuple[float, float]]:
        """Begin and end of every stretch of speech received from `since_s` on (decoding may not see the newest yet)."""
        ...

    def write_source(self) -> Hypothesis:
        """The transcript of the kept audio as the model itself writes it, with alignment; needs CHAIN."""
        ...

    def translate_after(
        self, source: Sequence[int], *, until_s: float | None = None, max_new: int | None = None
    ) -> Hypothesis:
        """What follows the committed prefix after the transcript `source`, given the kept audio before `until_s`."""
        ...


@dataclass(frozen=True, kw_only=True)
class Decision:
    """`commit` tokens of `hypothesis` become final after `retract` shown tokens are taken back. 0 and 0 is READ."""

    commit: int = 0
    retract: int = 0
    hypothesis: Hypothesis | None = None
    segment_end: bool = False
    """The segment is complete: the session may forget its text and audio."""
    segment_end_s: float | None = None
    """Absolute time at which it ended; None: now. Audio after it belongs to the next segment."""
    reason: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    """What the policy counts; a session sums it up."""
    diagnostics: Mapping[str, object] = field(default_factory=dict)
    """What led to the decision, for whoever looks into it."""


READ = Decision(reason="read")

StateT = TypeVar("StateT", default=None)


class Policy(ABC, Generic[StateT]):
    """A frozen rule without state of its own; `start` makes the state of one stream, of type `StateT` (None: none).

    Subclasses are frozen keyword-only dataclasses whose fields are the parameters, each a
    `simulst.core.settings.setting` with its meaning, unit and range; they are registered by name in
    `simulst.policies.POLICIES` or named as `file.py:Class` / `package.Class`.
    """

    requires: ClassVar[frozenset[Evidence]]
    revises: ClassVar[bool] = False
    """Whether it may take back what was shown; a decision of any other policy that does is refused."""
    paper: ClassVar[str] = ""
    default_chunk_ms: ClassVar[int] = 640
    default_history: ClassVar[str] = "auto"
    """History method when neither preset nor user names one; the names are in `simulst.core.history`."""
    default_segment_s: ClassVar[float | None] = None
    """Speech after which a pause ends a segment, likewise; None: no segments."""

    def __post_init__(self) -> None:
        """Judge the parameters; PolicyError. A rule with more to say about them calls this first."""
        check(self, type(self).__name__, PolicyError)

    def needs(self) -> frozenset[Evidence]:
        """`requires` and whatever this configuration needs on top."""
        return self.requires

    def start(self) -> StateT | None:
        """The state of one stream; None for rules that need none."""
        return None

    def attended(self, alignment: Alignment) -> IntArray:
        """The frame that each row, history first, attends to: what history selection and source times go by."""
        return attended_frames(valid_rows(alignment))

    @abstractmethod
    def step(self, view: SourceView, committed: Committed, decoder: Decoder, state: StateT) -> Decision:
        """Decide after one chunk of audio (never called with `view.is_final`, except by a policy's own `finish`)."""

    def finish(self, view: SourceView, committed: Committed, decoder: Decoder, state: StateT) -> Decision:
        """The last decision of a stream or of forced progress: all that the model says after the prefix, ungated."""
        hypothesis = decoder.hypothesise()[0]
        return Decision(commit=len(hypothesis.ids), hypothesis=hypothesis, segment_end=True, reason="finish")


AnyPolicy = Policy[Any]
"""A policy whose state is of a type that only it knows."""


class PolicyStream:
    """A policy at work on one stream: the rule and its state."""

    def __init__(self, policy: AnyPolicy) -> None:
        self.policy = policy
        self.restart()

    def restart(self) -> None:
        """Begin a segment: the state is made anew."""
        self.state = self.policy.start()

    def decide(self, view: SourceView, committed: Committed, decoder: Decoder, *, final: bool) -> Decision:
        """The policy's decision about what is heard, with `final` its ungated last one."""
        ask = self.policy.finish if final else self.policy.step
        return ask(view, committed, decoder, self.state)


def strip_if_incomplete(ids: Sequence[int], next_id: int | None, vocabulary: Vocabulary) -> int:
    """How many of `ids` end on a complete word, given the token that was rejected after them (None: unknown)."""
    if not vocabulary.spaced:
        return len(ids)
    if next_id is not None and (
        next_id == vocabulary.eos or vocabulary.starts_word(next_id) or vocabulary.closes_unit(next_id)
    ):
        return len(ids)
    return max((i for i, token in enumerate(ids) if vocabulary.starts_word(token)), default=0)
