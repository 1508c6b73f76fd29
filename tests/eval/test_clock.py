"""Computation-aware clocks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulst.eval.logs import clock


def test_increments_keep_the_computation_since_the_unit_before() -> None:
    delays, elapsed = [1000, 1000, 2000, 3000], [1200, 1200, 2450, 3500]
    assert clock.increments(delays, elapsed) == [1200, 1200, 2250, 3050]


def test_increments_never_run_backwards() -> None:
    assert clock.increments([1000, 2000], [5000, 5100]) == [5000, 5000]


def test_clamped_increments_share_the_computation_of_one_chunk() -> None:
    delays, elapsed = [1000, 1000, 2000], [1200, 1200, 2450]
    assert clock.increments_clamped(delays, elapsed, [0, 0, 500]) == ([1000, 1000, 1500], [1200, 1200, 1750])
    assert clock.increments_clamped([100], [150], [400]) == ([0.0], [0.0])


def test_a_chunk_waits_for_the_one_before_it() -> None:
    chunks = [(1000, 1500), (2000, 200), (3000, 200), (4000, 100)]
    assert clock.finish_times(chunks) == [2500, 2700, 3200, 4100]
    assert clock.backlog([1000, 2000, 4000], [], chunks=chunks) == [2500, 2700, 4100]


def test_the_last_chunk_with_the_same_audio_counts() -> None:
    assert clock.backlog([1000, 1000], [], chunks=[(1000, 100), (1000, 400)]) == [1500, 1500]


def test_backlog_from_cumulative_times_alone() -> None:
    delays, elapsed = [1000, 1000, 2000, 3000], [2500, 2500, 3600, 4700]  # 1500, then 100, then 100 ms
    assert clock.backlog(delays, elapsed) == [2500, 2500, 2600, 3100]


def test_backlog_from_times_per_chunk() -> None:
    assert clock.backlog([1000, 2000], [2500, 2100], cumulative=False) == [2500, 2600]


@given(
    st.lists(st.tuples(st.floats(0, 5000), st.floats(0, 3000)), min_size=1, max_size=15).map(
        lambda steps: [(sum(a for a, _ in steps[: k + 1]), c) for k, (_, c) in enumerate(steps)]
    )
)
def test_no_chunk_ends_before_its_own_computation(chunks: list[tuple[float, float]]) -> None:
    finished = clock.finish_times(chunks)
    assert finished == sorted(finished)
    for (arrival, computation), time in zip(chunks, finished, strict=True):
        assert time >= arrival + computation - 1e-6
    delays = [arrival for arrival, _ in chunks]
    elapsed = [arrival + sum(c for _, c in chunks[: k + 1]) for k, (arrival, _) in enumerate(chunks)]
    assert clock.backlog(delays, elapsed) == pytest.approx(finished, abs=1e-3) or len(set(delays)) < len(delays)
