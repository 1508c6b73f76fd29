"""Computation-aware clocks: when a unit appeared, from what a log says about computation.

SimulEval's `elapsed` adds *all* computation since the stream began, so on a talk it grows without bound; three readings
of it are in use. None of them knows that a chunk must wait for the one before it: `backlog` does.
"""

from collections.abc import Sequence

Times = Sequence[float]


def increments(delays: Times, elapsed: Times) -> list[float]:
    """OmniSTEval's repair of cumulative times: delay before plus elapsed since the unit before, made non-decreasing."""
    times: list[float] = []
    for i, e in enumerate(elapsed):
        time = e if i == 0 else max(e - elapsed[i - 1] + delays[i - 1], times[-1])
        times.append(time)
    return times


def increments_clamped(delays: Times, elapsed: Times, offsets: Times) -> tuple[list[float], list[float]]:
    """FBK's repair: delays and elapsed times relative to each unit's segment (`offsets`), both kept from going below 0.

    Units with equal `elapsed` share the computation of the first of them.
    """
    relative_delays: list[float] = []
    relative_elapsed: list[float] = []
    for i, (delay, e, offset) in enumerate(zip(delays, elapsed, offsets, strict=True)):
        if i == 0:
            time = e
        elif e == elapsed[i - 1]:
            time = relative_elapsed[-1] - relative_delays[-1] + delay
        else:
            time = e - elapsed[i - 1] + delays[i - 1]
        relative_delays.append(max(0.0, delay - offset))
        relative_elapsed.append(max(0.0, time - offset))
    return relative_delays, relative_elapsed


def finish_times(chunks: Sequence[tuple[float, float]]) -> list[float]:
    """When each chunk (audio_ms, compute_ms) is done if it starts at its arrival or when the one before it is done."""
    times: list[float] = []
    busy = 0.0
    for arrival, computation in chunks:
        busy = max(arrival, busy) + computation
        times.append(busy)
    return times


def backlog(
    delays: Times, elapsed: Times, *, chunks: Sequence[tuple[float, float]] = (), cumulative: bool = True
) -> list[float]:
    """When each unit appeared on a machine that works through its chunks one after the other.

    With `chunks` exact: a unit belongs to the last chunk that ends at its delay. Without them the computation between
    two emissions is taken to start with the later one, an upper bound; computation that shrinks counts as none.
    """
    if chunks:
        return _from_chunks(delays, chunks)
    times: list[float] = []
    busy = spent = 0.0
    for i, (delay, e) in enumerate(zip(delays, elapsed, strict=True)):
        if i == 0 or delay != delays[i - 1] or e != elapsed[i - 1]:
            total = e - delay
            computation = max(0.0, total - spent if cumulative else total)
            spent = max(spent, total)
            busy = max(delay, busy) + computation
        times.append(busy)
    return times


def _from_chunks(delays: Times, chunks: Sequence[tuple[float, float]]) -> list[float]:
    finished = finish_times(chunks)
    times: list[float] = []
    k = 0
    for delay in delays:
        while k + 1 < len(chunks) and (chunks[k][0] < delay or chunks[k + 1][0] <= delay):
            k += 1
        times.append(max(finished[k], delay))
    return times
