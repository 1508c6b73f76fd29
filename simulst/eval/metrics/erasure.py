"""NE: how much of what was shown was taken back."""

from simulst.eval.metrics.metric import Corpus, Metric, Shown


def _erasure(run: Corpus) -> float | None:
    """Units taken back per unit of the final text; None where no line of the log counts them."""
    units = sum(len(instance.units(run.unit)) for instance in run.instances)
    erased = [instance.erased_units for instance in run.instances]
    if not units or all(count is None for count in erased):
        return None
    return sum(count or 0 for count in erased) / units


NE = Metric(
    name="NE",
    unit="",
    kind="run",
    definition="normalised erasure: units taken back / units of the final text, where the log records what was "
    "taken back",
    corpus=_erasure,
    shown=Shown(summary=True, card="normalised erasure", column="NE"),
)
