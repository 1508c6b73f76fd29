"""ATD: the mean difference of end times between target tokens and the source tokens they are matched with."""

from collections.abc import Sequence
from itertools import pairwise

from simulst.eval.metrics.metric import Metric, Need, View
from simulst.eval.segment.profiles import Profile

Times = Sequence[float]
_ATD_SOURCE_TOKEN_MS = 300.0


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


def _atd(view: View) -> float:
    return average_token_delay(view.segment.times[""], view.times if view.clock else None)


def _without_early_units(profile: Profile) -> bool:
    """Units before their segment's start would make chunks of negative length."""
    return profile.prefix == "" or profile.clamp


ATD = Metric(
    name="ATD",
    unit="ms",
    kind="latency",
    definition="see below",
    needs=frozenset({Need.TIMES, Need.LENGTH}),
    segment=_atd,
    when=_without_early_units,
    prefixed=True,
)
