"""BLEU, chrF2 and chrF2++ through sacrebleu, as counts per segment that can be resampled; COMET if installed."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from simulst.errors import DataError

METRICS = ("BLEU", "chrF2", "chrF2++")
_CHRF2_COLUMNS = 3 * 6
DEFAULT_COMET = "Unbabel/wmt22-comet-da"


def bleu_tokenizer(lang: str) -> str:
    """sacrebleu's tokenizer for a target language: zh, ja-mecab, else 13a."""
    return {"zh": "zh", "ja": "ja-mecab"}.get(lang.split("-")[0].lower(), "13a")


@dataclass(frozen=True, kw_only=True, eq=False)
class QualityCounts:
    """Sufficient statistics of a corpus: any resampling of its segments can be scored from sums of rows."""

    bleu: npt.NDArray[np.int64]
    """[segments, 10]: lengths of hypothesis and reference, matches and totals of 1- to 4-grams."""
    chrf: npt.NDArray[np.int64]
    """[segments, 24]: hypothesis, reference and common n-grams of 6 character and 2 word orders."""
    signatures: dict[str, str]
    metrics: dict[str, Any]

    def scores(self, weights: npt.NDArray[np.int64] | None = None) -> dict[str, float]:
        """Corpus scores; `weights` [segments] says how often each segment counts (once by default)."""
        bleu, chrf = (
            (table.sum(axis=0) if weights is None else weights @ table).tolist() for table in (self.bleu, self.chrf)
        )
        return self._from_sums(bleu, chrf)

    def resampled(self, weights: npt.NDArray[np.int64]) -> dict[str, npt.NDArray[np.float64]]:
        """Scores of many resamplings, `weights` [resamplings, segments]."""
        bleu, chrf = (weights @ self.bleu).tolist(), (weights @ self.chrf).tolist()
        rows = [self._from_sums(b, c) for b, c in zip(bleu, chrf, strict=True)]
        return {name: np.array([row[name] for row in rows]) for name in METRICS}

    def segment_chrf2(self) -> list[float]:
        """chrF2 of each segment alone."""
        return [float(self.metrics["chrF2"]._compute_f_score(row[:_CHRF2_COLUMNS])) for row in self.chrf.tolist()]

    def _from_sums(self, bleu: list[int], chrf: list[int]) -> dict[str, float]:
        return {
            "BLEU": float(self.metrics["BLEU"]._compute_score_from_stats(bleu).score),
            "chrF2": float(self.metrics["chrF2"]._compute_f_score(chrf[:_CHRF2_COLUMNS])),
            "chrF2++": float(self.metrics["chrF2++"]._compute_f_score(chrf)),
        }


def count_quality(hypotheses: Sequence[str], references: Sequence[str], tokenizer: str) -> QualityCounts:
    """Compare line by line, one reference each, case and punctuation kept.

    Raises DataError for an unknown tokenizer or one whose packages are missing.
    """
    from sacrebleu.metrics import BLEU, CHRF

    logging.getLogger("sacrebleu").setLevel(logging.ERROR)  # it advises about the inputs of its own command line
    try:
        bleu = BLEU(tokenize=tokenizer)
    except (RuntimeError, ImportError, ValueError, KeyError, AssertionError):
        raise DataError(
            f"sacrebleu cannot use tokenizer {tokenizer!r}; choose one of 13a, intl, zh, ja-mecab, char, none, "
            f"or install what it needs (`pip install 'sacrebleu[ja]'`)."
        ) from None
    chrf2, chrf = CHRF(), CHRF(word_order=2)
    counts = bleu._extract_corpus_statistics(hypotheses, [references])
    grams = chrf._extract_corpus_statistics(hypotheses, [references])
    chrf2.num_refs = chrf.num_refs
    metrics = {"BLEU": bleu, "chrF2": chrf2, "chrF2++": chrf}
    return QualityCounts(
        bleu=np.array(counts, dtype=np.int64).reshape(-1, 10),
        chrf=np.array(grams, dtype=np.int64).reshape(-1, 24),
        signatures={name: str(metric.get_signature().format()) for name, metric in metrics.items()},
        metrics=metrics,
    )


def comet_score(
    sources: Sequence[str], hypotheses: Sequence[str], references: Sequence[str], model: str = DEFAULT_COMET
) -> float:
    """COMET on its usual 0-1 scale; DataError when unbabel-comet is missing or the model cannot be fetched."""
    try:
        from comet import download_model, load_from_checkpoint
    except ImportError:
        raise DataError("COMET needs the package unbabel-comet; run `pip install unbabel-comet`.") from None
    lines = [{"src": s, "mt": h, "ref": r} for s, h, r in zip(sources, hypotheses, references, strict=True)]
    try:
        scorer = load_from_checkpoint(download_model(model))
        return float(scorer.predict(lines, batch_size=8, gpus=0, progress_bar=False).system_score)
    except (OSError, KeyError, ValueError) as error:
        raise DataError(f"COMET model {model} cannot be used: {error}.") from None
