"""COMET, if unbabel-comet is installed."""

from collections.abc import Sequence

from simulst.errors import DataError
from simulst.eval.metrics.metric import Corpus, Metric, Shown


def comet_score(sources: Sequence[str], hypotheses: Sequence[str], references: Sequence[str], model: str) -> float:
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


def _comet(run: Corpus) -> float | None:
    if not run.comet:
        return None
    return comet_score(run.texts.sources or (), run.texts.hypotheses, run.texts.references, run.comet)


def _basis(run: Corpus) -> str:
    return f"model:{run.comet}"


COMET = Metric(
    name="COMET",
    unit="",
    kind="quality",
    definition="`--comet MODEL --sources FILE`, where `unbabel-comet` is installed",
    corpus=_comet,
    basis=_basis,
    shown=Shown(card="COMET"),
)
