"""BLEU through sacrebleu."""

import logging
from weakref import WeakKeyDictionary

import numpy as np

from simulst.errors import DataError
from simulst.eval.metrics.metric import Corpus, Counts, Metric, Shown, Texts
from simulst.eval.metrics.nfkc import for_nfkc, normalised


def bleu_tokenizer(lang: str) -> str:
    """sacrebleu's tokenizer for a target language: zh, ja-mecab, else 13a."""
    return {"zh": "zh", "ja": "ja-mecab"}.get(lang.split("-")[0].lower(), "13a")


_KNOWN: "WeakKeyDictionary[Texts, Counts]" = WeakKeyDictionary()


def bleu(texts: Texts) -> Counts:
    """Counted once for the same texts; see `_counted`."""
    if (known := _KNOWN.get(texts)) is None:
        known = _KNOWN[texts] = _counted(texts)
    return known


def _counted(texts: Texts) -> Counts:
    """Lengths of hypothesis and reference, matches and totals of 1- to 4-grams: [segments, 10]; one reference each.

    Case and punctuation are kept. Raises DataError for an unknown tokenizer or one whose packages are missing.
    """
    from sacrebleu.metrics import BLEU as SacreBLEU

    logging.getLogger("sacrebleu").setLevel(logging.ERROR)  # it advises about the inputs of its own command line
    try:
        metric = SacreBLEU(tokenize=texts.tokenizer)
    except (RuntimeError, ImportError, ValueError, KeyError, AssertionError):
        raise DataError(
            f"sacrebleu cannot use tokenizer {texts.tokenizer!r}; choose one of 13a, intl, zh, ja-mecab, char, none, "
            f"or install what it needs (`pip install 'sacrebleu[ja]'`)."
        ) from None
    rows = metric._extract_corpus_statistics(texts.hypotheses, [texts.references])
    return Counts(
        rows=np.array(rows, dtype=np.int64).reshape(-1, 10),
        score=lambda sums: float(metric._compute_score_from_stats(sums).score),
        signature=str(metric.get_signature().format()),
    )


def _bleu_nfkc(run: Corpus) -> float | None:
    texts = normalised(run.texts)
    return bleu(texts).total() if texts else None


def _basis(run: Corpus) -> str:
    return f"{bleu(run.texts).signature}|text:nfkc"


BLEU = Metric(
    name="BLEU",
    unit="",
    kind="quality",
    definition="sacrebleu's corpus BLEU (13a, zh or ja-mecab; `--tokenizer` for another), one reference",
    counts=bleu,
    shown=Shown(summary=True, card="BLEU", recordings=True),
)
BLEU_NFKC = Metric(
    name="BLEU_NFKC",
    unit="",
    kind="quality",
    definition="`omnisteval`: BLEU of NFKC text, where that changes any",
    corpus=_bleu_nfkc,
    basis=_basis,
    when=for_nfkc,
)
