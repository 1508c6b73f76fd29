"""chrF2 and chrF2++ through sacrebleu, which share their counts."""

from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from simulst.eval.metrics.metric import Corpus, Counts, Integers, Metric, Shown, Texts
from simulst.eval.metrics.nfkc import for_nfkc, normalised

CHARACTER_ORDERS = 6
WORD_ORDERS = 2


class _Grams(NamedTuple):
    rows: Integers
    """[segments, 24]: hypothesis, reference and common n-grams of 6 character and 2 word orders."""
    references: int


_KNOWN: "WeakKeyDictionary[Texts, _Grams]" = WeakKeyDictionary()


def _grams(texts: Texts) -> _Grams:
    from sacrebleu.metrics import CHRF

    if (known := _KNOWN.get(texts)) is None:
        metric = CHRF(word_order=WORD_ORDERS)
        rows = metric._extract_corpus_statistics(texts.hypotheses, [texts.references])
        known = _KNOWN[texts] = _Grams(np.array(rows, dtype=np.int64).reshape(-1, 24), metric.num_refs)
    return known


def _chrf(texts: Texts, word_orders: int) -> Counts:
    """Line by line, one reference each."""
    from sacrebleu.metrics import CHRF

    grams, metric = _grams(texts), CHRF(word_order=word_orders)
    metric.num_refs = grams.references
    return Counts(
        rows=grams.rows[:, : 3 * (CHARACTER_ORDERS + word_orders)],
        score=lambda sums: float(metric._compute_f_score(sums)),
        signature=str(metric.get_signature().format()),
    )


def chrf2(texts: Texts) -> Counts:
    return _chrf(texts, 0)


def chrf2pp(texts: Texts) -> Counts:
    return _chrf(texts, WORD_ORDERS)


def _chrf2_nfkc(run: Corpus) -> float | None:
    texts = normalised(run.texts)
    return chrf2(texts).total() if texts else None


def _basis(run: Corpus) -> str:
    return f"{chrf2(run.texts).signature}|text:nfkc"


CHRF2 = Metric(
    name="chrF2",
    unit="",
    kind="quality",
    definition="sacrebleu's chrF2",
    counts=chrf2,
    shown=Shown(segments=True),
)
CHRF2PP = Metric(
    name="chrF2++",
    unit="",
    kind="quality",
    definition="the same with words and pairs of words",
    counts=chrf2pp,
    shown=Shown(summary=True, card="chrF2++", recordings=True),
)
CHRF2_NFKC = Metric(
    name="chrF2_NFKC",
    unit="",
    kind="quality",
    definition="`omnisteval`: chrF2 of NFKC text, where that changes any",
    corpus=_chrf2_nfkc,
    basis=_basis,
    when=for_nfkc,
)
