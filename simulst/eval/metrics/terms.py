"""TERM_ACC: the share of the terms of a list that are translated as the list says."""

import hashlib
import re
from collections.abc import Sequence

import numpy as np

from simulst.core.glossary import Term
from simulst.eval.metrics.metric import Counts, Integers, Metric, Shown, Texts

_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u2e80-\ua4cf\uf900-\ufaff]")
"""Scripts that put no spaces between words, where a term may stand anywhere."""


def term_accuracy(texts: Texts) -> Counts | None:
    """Terms that are in the reference (and where it is known in the source), and those of them in the hypothesis."""
    if not texts.terms:
        return None
    rows = np.zeros((len(texts.references), 2), dtype=np.int64)
    sources = texts.sources if texts.sources and all(texts.sources) else None
    for term in texts.terms:
        source, target = _pattern(term.source), _pattern(term.target)
        wanted = _counted(target, texts.references)
        if sources is not None:
            wanted = np.minimum(wanted, _counted(source, sources))
        rows[:, 0] += np.minimum(wanted, _counted(target, texts.hypotheses))
        rows[:, 1] += wanted
    by = "reference" if sources is None else "source+reference"
    return Counts(rows=rows, score=_share, signature=f"terms:{_digest(texts.terms)}|case:no|in:{by}")


def _share(sums: list[int]) -> float:
    right, wanted = sums
    return 100 * right / wanted if wanted else 0.0


def _counted(pattern: re.Pattern[str], lines: Sequence[str]) -> Integers:
    return np.array([len(pattern.findall(line)) for line in lines], dtype=np.int64)


def _pattern(term: str) -> re.Pattern[str]:
    """Whole words, whatever their case and the spaces between them."""
    words = r"\s+".join(map(re.escape, term.split()))
    return re.compile(words if _UNSPACED.search(term) else rf"(?<!\w){words}(?!\w)", flags=re.IGNORECASE)


def _digest(terms: Sequence[Term]) -> str:
    listed = "\n".join(sorted(f"{term.source}\t{term.target}" for term in terms))
    return hashlib.sha256(listed.encode()).hexdigest()[:8]


TERM_ACC = Metric(
    name="TERM_ACC",
    unit="%",
    kind="quality",
    definition="of the terms of `--terms` in source and reference, the share that the hypothesis has",
    counts=term_accuracy,
    shown=Shown(summary=True, card="TERM_ACC", recordings=True),
)
