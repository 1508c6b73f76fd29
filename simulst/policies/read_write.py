"""READ and WRITE by the model's own tokens (EAST, 2504.09570): an LLM trained on interleaved data decides itself."""

from dataclasses import dataclass
from typing import Any, ClassVar, cast

from simulst.core.policy import Committed, Decision, Decoder, Policy, SourceView, parameter
from simulst.core.translator import Evidence, ReadWrite, ReadWriteSession
from simulst.errors import PolicyError

TOKENS_PER_SECOND = 5.0
SPARE_TOKENS = 20


def follow(
    plan: ReadWrite, view: SourceView, committed: Committed, decoder: Decoder, *, final: bool = False
) -> Decision:
    """Commit all that the model writes while it reads what is new."""
    session = cast(ReadWriteSession, decoder.session)
    written = session.read_write(committed.prefix, plan, final=final, want=decoder.wants)
    hypothesis = decoder.checked(written, len(committed.prefix))
    count = len(hypothesis.ids)
    return Decision(commit=count, hypothesis=hypothesis, segment_end=final, reason="write" if count else "read")


def budget(view: SourceView, committed: Committed) -> int:
    """New tokens of one step: 5 per second of kept audio + 20 - prefix."""
    return max(0, int(TOKENS_PER_SECOND * (view.heard_s - view.start_s)) + SPARE_TOKENS - len(committed.prefix))


@dataclass(frozen=True, kw_only=True)
class ReadAndWrite(Policy):
    """Write when the model prefers its WRITE token, read on when it says READ; the latency is a tag in its prompt.

    At the end of the stream it is made to write once more.
    """

    requires: ClassVar[frozenset[Evidence]] = frozenset({Evidence.SESSION_TOKENS})
    paper: ClassVar[str] = "Fu et al. 2025 (2504.09570)"

    latency: str = parameter(
        "medium",
        "the latency asked for: low, low-medium, medium, medium-high, high",
        published="low, low-medium, medium, medium-high, high",
    )
    threshold: float = parameter(0.5, "probability of WRITE against READ from which on it writes", published="0.5")
    sentence_words: int = parameter(
        20, "write at a sentence end once so many words were read; 0: never", unit="words", published="20"
    )
    max_write: int = parameter(1024, "most tokens of one write", unit="tokens", published="1024")
    tokens_per_word: int = parameter(2, "tokens of one write per word read since the last", published="2")
    spare_words: int = parameter(25, "words added to those read, for that cap", unit="words", published="25")

    def __post_init__(self) -> None:
        from simulst.models.speech_llm.latency_tags import LATENCIES

        if self.latency not in LATENCIES:
            raise PolicyError(f"read_write: latency is {self.latency!r}; it must be one of {', '.join(LATENCIES)}")
        if not 0 < self.threshold < 1:
            raise PolicyError(f"read_write: threshold is {self.threshold}; it must be between 0 and 1")
        for name in ("max_write", "tokens_per_word"):
            if getattr(self, name) < 1:
                raise PolicyError(f"read_write: {name} is {getattr(self, name)}; it must be at least 1")
        for name in ("sentence_words", "spare_words"):
            if getattr(self, name) < 0:
                raise PolicyError(f"read_write: {name} is {getattr(self, name)}; it must be at least 0")

    def write_cap(self, words: int) -> int:
        """Most tokens of one write after `words` source words."""
        return min(self.max_write, self.tokens_per_word * (words + self.spare_words))

    def step(self, view: SourceView, committed: Committed, decoder: Decoder, state: Any) -> Decision:
        return follow(self._plan(view, committed), view, committed, decoder)

    def finish(self, view: SourceView, committed: Committed, decoder: Decoder, state: Any) -> Decision:
        return follow(self._plan(view, committed), view, committed, decoder, final=True)

    def _plan(self, view: SourceView, committed: Committed) -> ReadWrite:
        return ReadWrite(
            latency=self.latency,
            threshold=self.threshold,
            max_new=self.write_cap,
            most=budget(view, committed),
            sentence_words=self.sentence_words,
        )
