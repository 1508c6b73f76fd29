"""RALCP, relaxed agreement longest common prefix: candidates vote, word by word (Wang et al. 2023, 2309.06706)."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

from simulst.core.boundary import complete, word_starts
from simulst.core.policy import Committed, Decision, Decoder, Policy, SourceView
from simulst.core.settings import setting
from simulst.core.translator import Evidence, Hypothesis, Vocabulary

MAX_CANDIDATES = 100


@dataclass(frozen=True, kw_only=True)
class Ralcp(Policy):
    """Take several candidates after the committed prefix and commit the longest beginning that enough of them share.

    Words are compared as text, because equal text may be spelled in different tokens; the ids committed are those of
    the best candidate that begins so.
    """

    requires: ClassVar[frozenset[Evidence]] = frozenset({Evidence.PREFIX, Evidence.NBEST})
    paper: ClassVar[str] = "Wang et al. 2023 (2309.06706)"

    threshold: float = setting(0.6, "share of candidates that must agree", above=0, at_most=1, published="0.5, 0.6")
    candidates: int = setting(
        5,
        "beams or samples",
        unit="hypotheses",
        at_least=2,
        at_most=MAX_CANDIDATES,
        why="a single one agrees with itself, and each takes memory of its own",
        published="5, 10",
    )
    sample: bool = setting(False, "draw samples instead of beams")
    strict: bool = setting(False, "more than the threshold must agree, not just as many", published="true, false")
    min_start_s: float = setting(0.0, "audio before the first attempt", unit="s", at_least=0)
    seed: int = setting(0, "seed of the samples")

    def step(self, view: SourceView, committed: Committed, decoder: Decoder, state: None) -> Decision:
        if view.heard_s < self.min_start_s:
            return Decision(reason="read")
        candidates = decoder.hypothesise(n_best=self.candidates, sample=self.sample, seed=self.seed + view.step)
        return vote(candidates, decoder.vocabulary, self.threshold, strict=self.strict, fresh=not committed.prefix)


def vote(
    candidates: Sequence[Hypothesis], vocabulary: Vocabulary, threshold: float, *, strict: bool, fresh: bool
) -> Decision:
    """Commit the relaxed common prefix of the candidates' complete words; ids of the first candidate that has it."""
    split = [units(candidate, vocabulary, fresh=fresh) for candidate in candidates]
    agreed = relaxed_prefix([texts for texts, _ in split], threshold, strict=strict)
    for candidate, (texts, ends) in zip(candidates, split, strict=True):
        if agreed and texts[: len(agreed)] == agreed:
            keep = ends[len(agreed) - 1]
            return Decision(commit=keep, hypothesis=candidate, reason="vote" if keep else "read")
    return Decision(hypothesis=candidates[0] if candidates else None, reason="read")


def relaxed_prefix(candidates: Sequence[Sequence[str]], threshold: float, *, strict: bool = False) -> list[str]:
    """The longest beginning that at least `threshold` of the candidates share (more than that when `strict`).

    A candidate that has ended votes with its whole text; the first seen wins ties.
    """
    needed = threshold * len(candidates)
    agreed: tuple[str, ...] = ()
    for length in range(1, max(map(len, candidates), default=0) + 1):
        best, count = Counter(tuple(words[:length]) for words in candidates).most_common(1)[0]
        if count <= needed + 1e-9 if strict else count < needed - 1e-9:
            break
        agreed = best
    return list(agreed)


def units(hypothesis: Hypothesis, vocabulary: Vocabulary, *, fresh: bool) -> tuple[list[str], list[int]]:
    """Complete words of the new tokens (characters in a script without spaces), and the tokens up to the end of each.

    A mark that closes a word stands alone, so that "Haus" and "Haus," agree on the word. A character inside a token
    gets the end of the token before it.
    """
    ids = hypothesis.ids[: complete(hypothesis, len(hypothesis.ids), vocabulary)]
    if not vocabulary.spaced:
        texts: list[str] = []
        ends: list[int] = []
        for end in range(1, len(ids) + 1):
            text = vocabulary.decode(ids[:end]).rstrip("\ufffd")
            before = ends[-1] if ends else 0
            new = list(text[len(texts) :])
            texts += new
            ends += [before] * (len(new) - 1) + [end] * bool(new)
        return texts, ends
    starts = set(word_starts(ids, vocabulary, fresh=fresh)) | {0}
    starts |= {i for i, token in enumerate(ids) if vocabulary.closes_unit(token)}
    edges = [*sorted(starts), len(ids)] if ids else [0]
    spans = list(pairwise(edges))
    return [vocabulary.decode(ids[a:b]).strip() for a, b in spans], [b for _, b in spans]
