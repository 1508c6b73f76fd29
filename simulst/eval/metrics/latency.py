"""Latency of one segment from emission times: AL, LAAL, AP, DAL, ATD, YAAL, as the reference tools compute them.

`delays` are emission times in milliseconds relative to the segment's start, one per hypothesis unit and at least one;
`source` is the segment's length in milliseconds (> 0), `target` the number of reference units. Results may be negative:
a system that guesses ahead is early. Formulas and their sources: docs/metrics.md.
"""

from collections.abc import Sequence
from itertools import pairwise

Times = Sequence[float]
_ATD_SOURCE_TOKEN_MS = 300.0


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


def average_proportion(delays: Times, source: float, target: int) -> float | None:
    """AP (Cho and Esipova 2016), a ratio that may exceed 1; None when target is 0."""
    return sum(delays) / (source * target) if target else None


def differentiable_average_lagging(delays: Times, source: float) -> float:
    """DAL (Cherry and Foster 2019); uses the length of the hypothesis, never that of the reference."""
    step = source / len(delays)
    lag = time = 0.0
    for i, delay in enumerate(delays):
        time = max(delay, time + step) if i else delay
        lag += time - i * step
    return lag / len(delays)


def yaal(delays: Times, source: float, target: int, *, limit: float) -> float | None:
    """YAAL (Polák et al. 2025): LAAL over the units emitted before `limit` only; None when there is none.

    `limit` is the segment's end (short form) or the end of the recording relative to the segment's start (LongYAAL).
    """
    stop = next((i for i, delay in enumerate(delays) if delay >= limit), len(delays))
    return _mean_lag(delays[:stop], source / max(len(delays), target)) if stop else None


def average_token_delay(delays: Times, elapsed: Times | None = None) -> float:
    """ATD (Kano et al. 2023) as SimulEval computes it for speech input and text output.

    The source is cut at every distinct delay and each piece into 300 ms tokens and a rest; `elapsed` adds the growth of
    (elapsed - delay) as each unit's computation.
    """
    marks = list(dict.fromkeys(delays))
    source_ends, source_counts = _source_tokens(marks)
    computation = [0.0] * len(delays)
    if elapsed is not None and any(elapsed):
        total = [e - d for e, d in zip(elapsed, delays, strict=True)]
        computation = [b - a for a, b in pairwise([0.0, *total])]
    chunk, before, lag, end = 0, 0, 0.0, 0.0
    for t, delay in enumerate(delays, 1):
        if t == 1 or delay != delays[t - 2]:
            chunk, before = chunk + 1, t - 1
        end = max(delay, end) + computation[t - 1]
        partner = t - max(0, before - source_counts[min(chunk - 1, len(marks))])
        lag += end - source_ends[min(partner, source_counts[min(chunk, len(marks))])]
    return lag / len(delays)


def _source_tokens(marks: Times) -> tuple[list[float], list[int]]:
    """End times of the source tokens (0 first), and how many there are up to each mark (0 first)."""
    ends, counts = [0.0], [0]
    for before, mark in pairwise([0.0, *marks]):
        whole, rest = divmod(mark - before, _ATD_SOURCE_TOKEN_MS)
        for length in [_ATD_SOURCE_TOKEN_MS] * int(whole) + ([rest] if rest else []):
            ends.append(ends[-1] + length)
        counts.append(len(ends) - 1)
    return ends, counts


def _first_at_end(delays: Times, source: float) -> int:
    """How many units there are up to and including the first that has the whole source."""
    return next((i for i, delay in enumerate(delays, 1) if delay >= source), len(delays))


def _mean_lag(delays: Times, ideal_step: float) -> float:
    return sum(delay - i * ideal_step for i, delay in enumerate(delays)) / len(delays)
