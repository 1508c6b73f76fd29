"""DAL: lag where no unit may come sooner after the one before than an ideal translator's."""

from collections.abc import Sequence

from simulst.eval.metrics.metric import Metric, Need, View


def differentiable_average_lagging(delays: Sequence[float], source: float) -> float:
    """DAL (Cherry and Foster 2019), ms; uses the length of the hypothesis, never that of the reference."""
    step = source / len(delays)
    lag = time = 0.0
    for i, delay in enumerate(delays):
        time = max(delay, time + step) if i else delay
        lag += time - i * step
    return lag / len(delays)


def _dal(view: View) -> float:
    return differentiable_average_lagging(view.times, view.source_ms)


DAL = Metric(
    name="DAL",
    unit="ms",
    kind="latency",
    definition="`g = L/n`, `d'_1 = d_1`, `d'_i = max(d_i, d'_{i-1} + g)`; mean of `d'_i - (i-1) g`. The reference "
    "plays no part",
    needs=frozenset({Need.TIMES, Need.LENGTH}),
    segment=_dal,
    prefixed=True,
)
