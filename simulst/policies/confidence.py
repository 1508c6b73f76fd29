"""Confidence: commit when the model is sure enough of what it says (one of the four policies of 2306.01201)."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, Literal

from simulst.core.boundary import complete, word_starts
from simulst.core.policy import Committed, Decision, Decoder, Policy, SourceView
from simulst.core.settings import setting
from simulst.core.translator import Evidence


@dataclass(frozen=True, kw_only=True)
class Confidence(Policy):
    """Commit while the mean log-probability of tokens is at least `threshold`.

    Our reading of the paper, whose exact rule we could not check: `hypothesis` judges the new tokens as a whole and
    takes all complete words or none; `word` judges each word and stops before the first unsure one.
    """

    requires: ClassVar[frozenset[Evidence]] = frozenset({Evidence.PREFIX, Evidence.LOGPROBS})
    paper: ClassVar[str] = "Dugan et al. 2023 (2306.01201)"

    threshold: float = setting(
        -0.5,
        "least mean log-probability of a token",
        unit="nats",
        at_most=0,
        why="a log-probability",
        published="not public",
    )
    scope: Literal["hypothesis", "word"] = setting("word", "what the mean is taken over", published="hypothesis")

    def step(self, view: SourceView, committed: Committed, decoder: Decoder, state: Any) -> Decision:
        hypothesis = decoder.hypothesise(want=self.requires)[0]
        logprobs = hypothesis.logprobs
        if not hypothesis.ids or logprobs is None:
            return Decision(hypothesis=hypothesis, reason="read")
        whole = len(hypothesis.ids)
        edges = [0, whole]
        if self.scope == "word":
            starts = word_starts(hypothesis.ids, decoder.vocabulary, fresh=not committed.prefix)
            edges = sorted({0, *starts, whole})
        sure = 0
        for begin, end in pairwise(edges):
            if sum(logprobs[begin:end]) / (end - begin) < self.threshold:
                break
            sure = end
        keep = complete(hypothesis, sure, decoder.vocabulary)
        return Decision(commit=keep, hypothesis=hypothesis, reason="confidence" if keep else "read")
