"""Wait-k: stay k source words behind (1810.08398; for speech 2011.02048, fixed and adaptive detection 2204.03783)."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from simulst.core.boundary import complete, word_starts
from simulst.core.policy import READ, Committed, Decision, Decoder, Policy, SourceView
from simulst.core.settings import setting
from simulst.core.translator import Evidence, TokenStep, Vocabulary


@dataclass(frozen=True, kw_only=True)
class WaitK(Policy):
    """Read k source words, then write one target word for each further one.

    Source words are counted by the clock (`fixed`: one per `word_ms`) or by the model (`adaptive`). Target words are
    counted as written, so a short hypothesis is made up for later.
    """

    requires: ClassVar[frozenset[Evidence]] = frozenset({Evidence.PREFIX})
    paper: ClassVar[str] = "Ma et al. 2019 (1810.08398); Papi et al. 2022 (2204.03783)"

    k: int = setting(3, "source words to stay behind", unit="words", at_least=1, published="3, 5, 7, 9, 11")
    words: Literal["fixed", "adaptive"] = setting(
        "fixed", "how source words are counted: by the clock or by the model's CTC", published="fixed, adaptive"
    )
    word_ms: int = setting(280, "audio per source word when fixed", unit="ms", at_least=1, published="280, 320")
    strict: bool = setting(True, "write when word k+1 has begun (speech); false: when k words are there (text)")

    def needs(self) -> frozenset[Evidence]:
        return self.requires | ({Evidence.CTC_COUNTS} if self.words == "adaptive" else set())

    def start(self) -> list[int]:
        return [0]  # the most source words seen: a CTC count may fall when more audio comes

    def step(self, view: SourceView, committed: Committed, decoder: Decoder, state: Any) -> Decision:
        counted = decoder.source_words() if self.words == "adaptive" else int(view.heard_s * 1000 / self.word_ms + 1e-6)
        state[0] = heard = max(state[0], counted)
        budget = heard - (committed.words + self.k) + (0 if self.strict else 1)
        diagnostics = {"source_words": heard, "budget": budget}
        if budget < 1:
            return Decision(reason="read", diagnostics=diagnostics)
        fresh = not committed.prefix
        gate = WordGate(budget=budget, vocabulary=decoder.vocabulary, fresh=fresh)
        hypothesis = decoder.hypothesise(gate=gate if decoder.vocabulary.spaced else None)[0]
        starts = word_starts(hypothesis.ids, decoder.vocabulary, fresh=fresh)
        keep = starts[budget] if len(starts) > budget else len(hypothesis.ids)
        keep = complete(hypothesis, keep, decoder.vocabulary)
        if not keep:
            return READ
        return Decision(commit=keep, hypothesis=hypothesis, reason="words", diagnostics=diagnostics)


@dataclass(kw_only=True)
class WordGate:
    """Ends decoding at the word start after `budget` words."""

    post_hoc: ClassVar[bool] = True

    budget: int
    vocabulary: Vocabulary
    fresh: bool
    begun: int = 0

    def __call__(self, step: TokenStep) -> Literal["continue", "stop_keep", "stop_drop"]:
        opens = self.vocabulary.starts_word(step.token)
        if step.index == 0 and self.fresh and not self.vocabulary.closes_unit(step.token):
            opens = True
        self.begun += opens
        return "stop_drop" if self.begun > self.budget else "continue"
