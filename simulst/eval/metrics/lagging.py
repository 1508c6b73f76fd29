"""AL, LAAL and YAAL: how far emission times lag behind an ideal translator.

`delays` are emission times in milliseconds relative to the segment's start, one per hypothesis unit and at least one;
`source` is the segment's length in milliseconds (> 0), `target` the number of reference units. Results may be negative:
a system that guesses ahead is early.
"""

from collections.abc import Sequence

from simulst.eval.metrics.metric import Metric, Need, Shown, View
from simulst.eval.segment.profiles import Profile

Times = Sequence[float]


def average_lagging(delays: Times, source: float, target: int) -> float | None:
    """AL (Ma et al. 2019): mean lag behind an ideal translator until the source is over; None when target is 0."""
    if delays[0] > source:
        return delays[0]
    if target == 0:
        return None
    return _mean_lag(delays[: _first_at_end(delays, source)], source / target)


def length_adaptive_average_lagging(delays: Times, source: float, target: int) -> float | None:
    """LAAL (Papi et al. 2022, Polák et al. 2022): AL with the longer of hypothesis and reference."""
    return average_lagging(delays, source, max(len(delays), target))


def yaal(delays: Times, source: float, target: int, *, limit: float) -> float | None:
    """YAAL (Polák et al. 2025): LAAL over the units emitted before `limit` only; None when there is none.

    `limit` is the segment's end (short form) or the end of the recording relative to the segment's start (LongYAAL).
    """
    stop = next((i for i, delay in enumerate(delays) if delay >= limit), len(delays))
    return _mean_lag(delays[:stop], source / max(len(delays), target)) if stop else None


def _first_at_end(delays: Times, source: float) -> int:
    """How many units there are up to and including the first that has the whole source."""
    return next((i for i, delay in enumerate(delays, 1) if delay >= source), len(delays))


def _mean_lag(delays: Times, ideal_step: float) -> float:
    return sum(delay - i * ideal_step for i, delay in enumerate(delays)) / len(delays)


def _al(view: View) -> float | None:
    return average_lagging(view.times, view.source_ms, view.target_length)


def _laal(view: View) -> float | None:
    return length_adaptive_average_lagging(view.times, view.source_ms, view.target_length)


def _yaal(view: View) -> float | None:
    limit = view.source_ms if view.segment.limit_ms is None else view.segment.limit_ms
    return yaal(view.times, view.source_ms, view.target_length, limit=limit)


def _not_stream(profile: Profile) -> bool:
    return profile.prefix != "Stream"


NEEDS = frozenset({Need.TIMES, Need.LENGTH})

AL = Metric(
    name="AL",
    unit="ms",
    kind="latency",
    definition="`d_1` if `d_1 > L`; else `1/t * sum_{i=1..t} (d_i - (i-1) L/R)`, `t` the first `i` with `d_i >= L`, "
    "or `n`",
    needs=NEEDS,
    segment=_al,
    prefixed=True,
)
LAAL = Metric(
    name="LAAL",
    unit="ms",
    kind="latency",
    definition="AL with `max(n, R)` for `R`",
    needs=NEEDS,
    segment=_laal,
    prefixed=True,
    shown=Shown(summary=("LAAL", "LAAL_CA", "StreamLAAL", "StreamLAAL_CA")),
)
YAAL = Metric(
    name="YAAL",
    unit="ms",
    kind="latency",
    definition="undefined if `d_1 >= L`; else LAAL over the units before the first with `d_i >= L`; LongYAAL takes the "
    "end of the recording for `L` in both conditions (the step stays `L / max(n, R)`)",
    needs=NEEDS,
    segment=_yaal,
    when=_not_stream,
    prefixed=True,
    shown=Shown(summary=("LongYAAL",)),
)
