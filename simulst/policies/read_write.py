"""READ and WRITE by the model's own tokens (EAST, 2504.09570): an LLM trained on interleaved data decides itself."""

from dataclasses import dataclass
from typing import ClassVar

from simulst.core.latency_tags import LATENCIES
from simulst.core.policy import Committed, Decision, Decoder, Policy, SourceView
from simulst.core.settings import setting
from simulst.core.translator import Evidence, ReadWrite

TOKENS_PER_SECOND = 5.0
SPARE_TOKENS = 20


def follow(plan: ReadWrite, decoder: Decoder, *, final: bool = False) -> Decision:
    """Commit all that the model writes while it reads what is new."""
    hypothesis = decoder.read_write(plan, final=final)
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

    latency: str = setting(
        "medium",
        "the latency asked for: low, low-medium, medium, medium-high, high",
        choices=LATENCIES,
        published="low, low-medium, medium, medium-high, high",
    )
    threshold: float = setting(
        0.5, "probability of WRITE against READ from which on it writes", above=0, below=1, published="0.5"
    )
    sentence_words: int = setting(
        20, "write at a sentence end once so many words were read; 0: never", unit="words", at_least=0, published="20"
    )
    max_write: int = setting(1024, "most tokens of one write", unit="tokens", at_least=1, published="1024")
    tokens_per_word: int = setting(2, "tokens of one write per word read since the last", at_least=1, published="2")
    spare_words: int = setting(25, "words added to those read, for that cap", unit="words", at_least=0, published="25")

    def write_cap(self, words: int) -> int:
        """Most tokens of one write after `words` source words."""
        return min(self.max_write, self.tokens_per_word * (words + self.spare_words))

    def step(self, view: SourceView, committed: Committed, decoder: Decoder, state: None) -> Decision:
        return follow(self._plan(view, committed), decoder)

    def finish(self, view: SourceView, committed: Committed, decoder: Decoder, state: None) -> Decision:
        return follow(self._plan(view, committed), decoder, final=True)

    def _plan(self, view: SourceView, committed: Committed) -> ReadWrite:
        return ReadWrite(
            latency=self.latency,
            threshold=self.threshold,
            max_new=self.write_cap,
            most=budget(view, committed),
            sentence_words=self.sentence_words,
        )
