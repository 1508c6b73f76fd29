"""Confidence: commit when the model is sure enough of what it says (one of the four policies of 2306.01201)."""

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Literal

from simulst.core.boundary import complete, word_starts
from simulst.core.policy import Committed, Decision, Decoder, Policy, SourceView
from simulst.core.settings import setting
from simulst.core.translator import Evidence


@dataclass(frozen=True, kw_only=True)
class Confidence(Policy):
    """Commit when the model is sure: that it hears speech (`no_speech`), or of its words (`logprob`).

    The authors' rule speaks a hypothesis of Whisper's when its probability of no speech is below 1 - `alpha`. A model
    without such a probability is judged by its words, which is our reading: `hypothesis` takes all complete words or
    none by the mean log-probability of the new tokens; `word` judges each word and stops before the first unsure one.
    """

    requires: ClassVar[frozenset[Evidence]] = frozenset({Evidence.PREFIX, Evidence.LOGPROBS})
    paper: ClassVar[str] = "Dugan et al. 2023 (2306.01201)"

    signal: Literal["auto", "no_speech", "logprob"] = setting(
        "auto",
        "where confidence comes from; auto: no_speech where the model has it, else logprob",
        published="no_speech",
    )
    alpha: float = setting(0.9, "confidence that there is speech", above=0, below=1, published="0.9, 0.7")
    threshold: float = setting(
        -0.5,
        "least mean log-probability of a token",
        unit="nats",
        at_most=0,
        why="a log-probability",
        published="none",
    )
    scope: Literal["hypothesis", "word"] = setting("word", "what the mean is taken over", published="none")

    def needs(self) -> frozenset[Evidence]:
        return self.requires | ({Evidence.NO_SPEECH} if self.signal == "no_speech" else set())

    def step(self, view: SourceView, committed: Committed, decoder: Decoder, state: None) -> Decision:
        hypothesis = decoder.hypothesise(want=self.requires | {Evidence.NO_SPEECH})[0]
        logprobs = hypothesis.logprobs
        if hypothesis.no_speech is not None and self.signal != "logprob":
            sure = hypothesis.no_speech < 1 - self.alpha
            keep = complete(hypothesis, len(hypothesis.ids), decoder.vocabulary) if sure else 0
            return Decision(commit=keep, hypothesis=hypothesis, reason="speech" if keep else "read")
        if not hypothesis.ids or logprobs is None:
            return Decision(hypothesis=hypothesis, reason="read")
        whole = len(hypothesis.ids)
        edges = [0, whole]
        if self.scope == "word":
            starts = word_starts(hypothesis.ids, decoder.vocabulary, fresh=not committed.prefix)
            edges = sorted({0, *starts, whole})
        certain = 0
        for begin, end in pairwise(edges):
            if sum(logprobs[begin:end]) / (end - begin) < self.threshold:
                break
            certain = end
        keep = complete(hypothesis, certain, decoder.vocabulary)
        return Decision(commit=keep, hypothesis=hypothesis, reason="confidence" if keep else "read")
