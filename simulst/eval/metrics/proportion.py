"""AP: the average share of the source that was heard when a unit appeared."""

from collections.abc import Sequence

from simulst.eval.metrics.metric import Metric, Need, View


def average_proportion(delays: Sequence[float], source: float, target: int) -> float | None:
    """AP (Cho and Esipova 2016), a ratio that may exceed 1; None when target is 0."""
    return sum(delays) / (source * target) if target else None


def _ap(view: View) -> float | None:
    return average_proportion(view.times, view.source_ms, view.target_length)


AP = Metric(
    name="AP",
    unit="",
    kind="latency",
    definition="`sum d_i / (L R)`; a ratio, may exceed 1",
    needs=frozenset({Need.TIMES, Need.LENGTH}),
    segment=_ap,
    prefixed=True,
)
