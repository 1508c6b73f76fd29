"""Wait-k: stay k source words behind (1810.08398; for speech 2011.02048, fixed and adaptive detection 2204.03783)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from simulst.core.boundary import complete, word_starts
from simulst.core.policy import READ, Committed, Decision, Decoder, Policy, SourceView
from simulst.core.settings import setting
from simulst.core.translator import Evidence, TokenStep, Verdict, Vocabulary
from simulst.policies.greedy import greedy


@dataclass(kw_only=True)
class WaitKState:
    """Where counting began."""

    anchor_s: float = 0.0
    words: int = 0
    """Target words committed before that."""
    silent: float | None = None
    """Since when there was a pause at the step before."""
    heard: int = 0
    """The most source words since: a CTC count may fall when more audio comes."""


@dataclass(frozen=True, kw_only=True)
class WaitK(Policy[WaitKState]):
    """Read k source words, then write one target word for each further one.

    Source words are counted by the clock (`fixed`: one per `word_ms` of speech, pauses left out) or by the model
    (`adaptive`). Target words are counted as written, so a short hypothesis is made up for later. Both counts begin
    anew where kept history begins and after a pause, in which the rest of what was said is written.
    """

    requires: ClassVar[frozenset[Evidence]] = frozenset({Evidence.PREFIX})
    paper: ClassVar[str] = "Ma et al. 2019 (1810.08398); Papi et al. 2022 (2204.03783)"

    k: int = setting(3, "source words to stay behind", unit="words", at_least=1, published="3, 5, 7, 9, 11")
    words: Literal["fixed", "adaptive"] = setting(
        "fixed", "how source words are counted: by the clock or by the model's CTC", published="fixed, adaptive"
    )
    word_ms: int = setting(280, "audio per source word when fixed", unit="ms", at_least=1, published="280, 320")
    ratio: float = setting(1.0, "target words that are due per source word (catch-up)", above=0, published="1")
    pause_s: float | None = setting(
        0.5,
        "pause after which all that was said is due and counting begins anew; none: no such rule",
        unit="s",
        above=0,
    )
    strict: bool = setting(True, "write when word k+1 has begun (speech); false: when k words are there (text)")

    def needs(self) -> frozenset[Evidence]:
        return self.requires | ({Evidence.CTC_COUNTS} if self.words == "adaptive" else set())

    def start(self) -> WaitKState:
        return WaitKState()

    def step(self, view: SourceView, committed: Committed, decoder: Decoder, state: WaitKState) -> Decision:
        self._anchor(view, committed, state)
        ended, current, state.silent = self._heard(view, decoder, state.anchor_s)
        state.heard = heard = max(state.heard, ended + current)
        behind = self.k if self.strict else self.k - 1
        due = int(self.ratio * (heard - min(behind, heard - ended)) + 1e-6)
        budget = due - (committed.words - state.words)
        diagnostics = {"source_words": heard, "budget": budget}
        if state.silent is not None:
            return replace(greedy(decoder), diagnostics=diagnostics)
        if budget < 1:
            return Decision(reason="read", diagnostics=diagnostics)
        fresh = not committed.prefix
        gate = WordGate(budget=budget, vocabulary=decoder.vocabulary, fresh=fresh)
        hypothesis = decoder.hypothesise(gate=gate if decoder.vocabulary.spaced else None, post_hoc=True)[0]
        starts = word_starts(hypothesis.ids, decoder.vocabulary, fresh=fresh)
        keep = starts[budget] if len(starts) > budget else len(hypothesis.ids)
        keep = complete(hypothesis, keep, decoder.vocabulary)
        if not keep:
            return READ
        return Decision(commit=keep, hypothesis=hypothesis, reason="words", diagnostics=diagnostics)

    def _anchor(self, view: SourceView, committed: Committed, state: WaitKState) -> None:
        """Count anew from where kept source begins once something was forgotten, and after a pause."""
        forgotten = committed.words - committed.kept_words
        if state.silent is not None:
            state.anchor_s, state.words, state.heard = state.silent, committed.words, 0
        if view.start_s > state.anchor_s or forgotten > state.words:
            state.anchor_s, state.words, state.heard = max(view.start_s, state.anchor_s), max(forgotten, state.words), 0

    def _heard(self, view: SourceView, decoder: Decoder, since_s: float) -> tuple[int, int, float | None]:
        """Source words before the last pause, those after it, and since when there is a pause now (None: speech)."""
        received = decoder.speech(since_s)
        runs = [(begin, min(end, view.heard_s)) for begin, end in received if begin < view.heard_s]
        if not runs:
            return self._count(decoder, runs, since_s), 0, None
        pause_s = math.inf if self.pause_s is None else self.pause_s
        after = [i for i in range(1, len(runs)) if runs[i][0] - runs[i - 1][1] >= pause_s]
        last = after[-1] if after else 0
        heard = self._count(decoder, runs, since_s)
        end_s = received[len(runs) - 1][1]
        until_s = received[len(runs)][0] if len(received) > len(runs) else view.received_s
        if end_s <= view.heard_s and until_s - end_s >= pause_s:
            return heard, 0, end_s
        current = self._count(decoder, runs[last:], runs[last][0] if last else since_s)
        return heard - current, current, None

    def _count(self, decoder: Decoder, runs: Sequence[tuple[float, float]], since_s: float) -> int:
        if self.words == "adaptive":
            return decoder.source_words(since_s)
        return int(sum(end - begin for begin, end in runs) * 1000 / self.word_ms + 1e-6)


@dataclass(kw_only=True)
class WordGate:
    """Ends decoding at the word start after `budget` words."""

    budget: int
    vocabulary: Vocabulary
    fresh: bool
    begun: int = 0

    def __call__(self, step: TokenStep) -> Verdict:
        opens = self.vocabulary.starts_word(step.token)
        if step.index == 0 and self.fresh and not self.vocabulary.closes_unit(step.token):
            opens = True
        self.begun += opens
        return "stop_drop" if self.begun > self.budget else "continue"
