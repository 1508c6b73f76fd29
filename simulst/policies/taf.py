"""TAF, translation by anticipating the future: translate likely continuations, commit what agrees (2410.22499)."""

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import ClassVar

from simulst.core.policy import Committed, Decision, Decoder, Policy, SourceView
from simulst.core.settings import setting
from simulst.core.translator import Draw, Evidence, Hypothesis
from simulst.policies.ralcp import vote
from simulst.policies.rows import with_rows

TOKENS_PER_SOURCE_WORD = 4 / 3
WRONG = "wrong_anticipated_words"


@dataclass(kw_only=True)
class TafState:
    heard: str = ""
    """The source text of the previous step."""
    pending: list[tuple[int, str]] = field(default_factory=list)
    """Anticipated words that no translation has confirmed yet, with the number of ids committed before their write."""


@dataclass(frozen=True, kw_only=True)
class Taf(Policy[TafState]):
    """Let a language model continue the recognised source several times, translate each continuation after the
    committed text, and commit the beginning that enough of the translations share.

    The continuations come from the translator itself or from the causal model `source_model`. A word is anticipated
    when translating the heard source alone would not have said it. With `judge` later source decides whether it was
    wrong: no translation from scratch ever has it until its text is forgotten or the segment ends. Our reading: the
    length of the source in tokens is estimated as 4/3 per word, and the last recognised word is left out while the
    stream goes on, because it may be half heard.
    """

    requires: ClassVar[frozenset[Evidence]] = frozenset({Evidence.PREFIX, Evidence.SOURCE_LM})
    paper: ClassVar[str] = "Ouyang et al. 2024 (2410.22499)"

    threshold: float = setting(0.6, "share of translations that must agree (tau)", above=0, at_most=1, published="0.6")
    continuations: int = setting(
        10, "sampled continuations", at_least=2, why="a single one agrees with itself", published="10"
    )
    max_tokens: int = setting(10, "length of a continuation", unit="tokens", at_least=1, published="10")
    top_p: float = setting(0.9, "nucleus that continuations are drawn from", above=0, at_most=1, published="0.9")
    temperature: float = setting(1.0, "temperature of the continuations", above=0, published="1")
    min_start: int = setting(3, "source words before the first attempt", unit="words", at_least=0, published="3")
    source_model: str = setting("", "causal model (directory or hub name) that continues the source; none: the model")
    judge: bool = setting(False, "count wrong anticipations (one more translation per chunk)")
    seed: int = setting(0, "seed of the continuations")

    def start(self) -> TafState:
        return TafState()

    def step(self, view: SourceView, committed: Committed, decoder: Decoder, state: TafState) -> Decision:
        words = decoder.transcript().split()[:-1]
        heard = " ".join(words)
        if len(words) < self.min_start or heard == state.heard:
            return Decision(reason="read")
        state.heard = heard
        budget = new_token_budget(len(words), len(committed.prefix))
        if budget <= 0:
            return Decision(reason="no budget")
        plain, candidates = self._translations(heard, committed, decoder, budget, view.step)
        fresh = not committed.prefix
        decision = vote(candidates, decoder.vocabulary, self.threshold, strict=False, fresh=fresh)
        counts = self._judge(heard, committed.dropped, decoder, state)
        if not decision.commit or decision.hypothesis is None:
            return replace(decision, counts=counts)
        said = decoder.vocabulary.decode(decision.hypothesis.ids[: decision.commit]).split()
        ahead = said[_agreement(said, decoder.vocabulary.decode(plain.ids).split()) :]
        state.pending += [(committed.total, word) for word in ahead]
        hypothesis = with_rows(decision.hypothesis, decision.commit, committed, decoder)
        counts |= {"committed_words": len(said), "anticipated_words": len(ahead)}
        return replace(decision, hypothesis=hypothesis, reason="anticipation", counts=counts)

    def finish(self, view: SourceView, committed: Committed, decoder: Decoder, state: TafState) -> Decision:
        decision = super().finish(view, committed, decoder, state)
        counts = self._judge(decoder.transcript(), committed.dropped, decoder, state)
        if self.judge:
            counts[WRONG] += len(state.pending)
        return replace(decision, counts=counts)

    def _translations(
        self, heard: str, committed: Committed, decoder: Decoder, budget: int, step: int
    ) -> tuple[Hypothesis, list[Hypothesis]]:
        """The translation of what was heard, and those of what may come."""
        draw = Draw(
            n=self.continuations,
            max_tokens=self.max_tokens,
            top_p=self.top_p,
            temperature=self.temperature,
            seed=self.seed + step,
        )
        continuations = decoder.text.continuer(self.source_model).continue_source(heard, draw)
        texts = [heard, *(heard + continuation for continuation in continuations)]
        plain, *candidates = decoder.text.translate_text(texts, committed.prefix, max_new=budget)
        return plain, candidates

    def _judge(self, heard: str, dropped: int, decoder: Decoder, state: TafState) -> dict[str, int]:
        """How many pending words turned out wrong, where that is counted; a translation from scratch confirms words."""
        if not self.judge:
            return {}
        if not state.pending:
            return {WRONG: 0}
        budget = new_token_budget(len(heard.split()), 0)
        whole = decoder.text.translate_text([heard], (), max_new=budget)[0]
        there = Counter(decoder.vocabulary.decode(whole.ids).split())
        still = []
        for total, word in state.pending:
            if there[word]:
                there[word] -= 1
            else:
                still.append((total, word))
        state.pending = [(total, word) for total, word in still if total >= dropped]
        return {WRONG: len(still) - len(state.pending)}


def new_token_budget(source_words: int, prefix_tokens: int, *, per_word: float = TOKENS_PER_SOURCE_WORD) -> int:
    """1.5 times the source tokens + 20 - prefix; nothing may be said at 0 or below."""
    return int(1.5 * round(source_words * per_word)) + 20 - prefix_tokens


def _agreement(first: list[str], second: list[str]) -> int:
    return next(
        (i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), min(len(first), len(second))
    )
