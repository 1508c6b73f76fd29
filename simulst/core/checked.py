"""The view of a translator session that policies decode through: prefix, caps and checked evidence are filled in."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from simulst.core.activity import SpeechActivity
from simulst.core.favoured import Favoured, Favouring
from simulst.core.translator import (
    Bias,
    Evidence,
    Gate,
    Hypothesis,
    Query,
    ReadWrite,
    SourceModel,
    Transduce,
    Translator,
    TranslatorSession,
    Vocabulary,
)
from simulst.errors import EvidenceError

SPARE_TOKENS = 20

T = TypeVar("T")


class NotFinite(Exception):
    """Evidence holds NaN or an infinity: the chunk is read on, nothing is committed."""


class SessionDecoder:
    """Implements `simulst.core.policy.Decoder` for a Session.

    New tokens are capped at the translator's rate (`tokens_per_second`, mostly 5) for kept audio + 20 minus the prefix.
    At the end of a stream (`final`) gates are off, and evidence that is not finite is left out, because the last
    decision does not depend on it. With `whole`, gates that only save time are off too, so that hypotheses reach beyond
    what is committed.
    """

    def __init__(
        self,
        translator: Translator,
        session: TranslatorSession,
        wants: frozenset[Evidence],
        *,
        whole: bool = False,
        activity: SpeechActivity | None = None,
        favouring: Favouring | None = None,
    ) -> None:
        self.vocabulary: Vocabulary = translator.vocabulary
        self._session = session
        self.frame_s = translator.frame_s
        self.prefix: tuple[int, ...] = ()
        self.final = False
        self.whole = whole
        self._name = translator.name
        self.wants = wants
        self._activity = activity
        self._favouring = favouring
        self._rate = translator.tokens_per_second

    def max_new(self, prefix_length: int) -> int:
        kept_s = max(0.0, self._session.heard_s - self._session.start_s)
        return max(0, int(self._rate * kept_s) + SPARE_TOKENS - prefix_length)

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
        forced = self.prefix if prefix is None else tuple(prefix)
        cap = self.max_new(len(forced))
        query = Query(
            max_new=cap if max_new is None else min(cap, max_new),
            n_best=n_best,
            sample=sample,
            seed=seed,
            gate=None if self.final or (self.whole and post_hoc) else gate,
            bias=None if self.final else bias,
            favoured=self.favoured(forced),
            want=want | self.wants,
        )
        found = self._session.hypothesise(forced, query)
        if not found:
            raise EvidenceError(f"Model {self._name} returned no hypothesis; it must return at least an empty one.")
        return [self._checked(hypothesis, len(forced)) for hypothesis in found]

    def read_write(self, plan: ReadWrite, *, final: bool = False) -> Hypothesis:
        able = self._able(self._session.reads_and_writes, Evidence.SESSION_TOKENS)
        plan = replace(plan, favoured=self.favoured(self.prefix))
        written = able.read_write(self.prefix, plan, final=final, want=self.wants)
        return self._checked(written, len(self.prefix))

    def transduce(self, plan: Transduce, *, final: bool = False) -> Hypothesis:
        able = self._able(self._session.transducer, Evidence.TRANSDUCER)
        plan = replace(plan, favoured=self.favoured(self.prefix))
        written = able.transduce(self.prefix, plan, final=final, want=self.wants)
        return self._checked(written, len(self.prefix))

    def favoured(self, prefix: Sequence[int]) -> Favoured | None:
        """The terms of the glossary that were heard; None where there are none."""
        return None if self._favouring is None else self._favouring.favoured(self._session.transcript(), prefix)

    @property
    def text(self) -> SourceModel:
        return self._able(self._session.text, Evidence.SOURCE_LM)

    def _able(self, found: T | None, evidence: Evidence) -> T:
        if found is None:
            raise EvidenceError(
                f"Model {self._name} has no {evidence}, which the policy asks for; a policy says so in its `requires`."
            )
        return found

    @property
    def source_end(self) -> int:
        return self._session.source_end

    def transcript(self) -> str:
        return self._session.transcript()

    def source_words(self, since_s: float = 0.0) -> int:
        return self._session.source_words(since_s)

    def speech(self, since_s: float = 0.0) -> list[tuple[float, float]]:
        if self._activity is not None:
            return list(self._activity.runs(since_s))
        heard_s = self._session.heard_s  # text has no pauses
        return [(since_s, heard_s)] if heard_s > since_s else []

    def write_source(self) -> Hypothesis:
        able = self._able(self._session.chain, Evidence.CHAIN)
        return self._checked(able.write_source(max_new=self.max_new(0)), 0)

    def translate_after(
        self, source: Sequence[int], *, until_s: float | None = None, max_new: int | None = None
    ) -> Hypothesis:
        able, cap = self._able(self._session.chain, Evidence.CHAIN), self.max_new(len(self.prefix))
        most = cap if max_new is None else min(cap, max_new)
        found = able.translate_after(source, self.prefix, until_s=until_s, max_new=most, want=self.wants)
        return self._checked(found, len(self.prefix))

    def _checked(self, hypothesis: Hypothesis, prefix_length: int) -> Hypothesis:
        """The hypothesis if its evidence fits its ids and the prefix, EvidenceError or NotFinite if not."""
        problem = _contradiction(hypothesis, prefix_length, self.vocabulary.eos)
        if problem:
            raise EvidenceError(f"Model {self._name} contradicts itself: {problem}; nothing was committed.")
        if _finite(hypothesis):
            return hypothesis
        if not self.final:
            raise NotFinite
        return replace(hypothesis, alignment=None, logprobs=None, score=0.0)


def _contradiction(hypothesis: Hypothesis, prefix_length: int, eos: int) -> str:
    ids, alignment = hypothesis.ids, hypothesis.alignment
    if any(token < 0 or token == eos for token in ids):
        return "end-of-sequence or negative ids stand among the new ones"
    if hypothesis.logprobs is not None and len(hypothesis.logprobs) != len(ids):
        return f"{len(hypothesis.logprobs)} log-probabilities for {len(ids)} new tokens"
    if alignment is None:
        return ""
    shape = alignment.weights.shape
    if alignment.history != prefix_length:
        return f"alignment covers {alignment.history} prefix tokens, {prefix_length} were forced"
    if len(shape) != 2 or shape[0] != prefix_length + len(ids):
        return f"alignment has shape {shape} for {prefix_length} prefix and {len(ids)} new tokens"
    if alignment.heads is not None and (alignment.heads.ndim != 3 or alignment.heads.shape[1:] != shape):
        return f"alignment heads have shape {alignment.heads.shape}, the rows {shape}"
    if not 0 <= alignment.n_valid <= shape[1]:
        return f"{alignment.n_valid} valid frames of {shape[1]}"
    if not alignment.frame_s > 0:
        return f"a frame of {alignment.frame_s} s"
    return ""


def _finite(hypothesis: Hypothesis) -> bool:
    alignment = hypothesis.alignment
    if hypothesis.logprobs is not None and not np.isfinite(hypothesis.logprobs).all():
        return False
    if not np.isfinite(hypothesis.score):
        return False
    if alignment is None:
        return True
    valid = alignment.weights[:, : alignment.n_valid]
    heads = None if alignment.heads is None else alignment.heads[:, :, : alignment.n_valid]
    return bool(
        np.isfinite(alignment.start_s) and np.isfinite(valid).all() and (heads is None or np.isfinite(heads).all())
    )
