"""Latency formulas on cases worked out by hand or printed by SimulEval."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulst.eval.metrics.differentiable import differentiable_average_lagging
from simulst.eval.metrics.lagging import average_lagging, length_adaptive_average_lagging, yaal
from simulst.eval.metrics.proportion import average_proportion
from simulst.eval.metrics.token_delay import average_token_delay

SOURCE = 4000.0


@pytest.mark.parametrize(
    ("delays", "target", "al", "laal", "ap", "dal", "atd"),
    [
        ([1000, 2000, 3000, 4000], 4, 1000, 1000, 0.625, 1000, 1800),
        ([250, 500, 750, 1000, 1250, 1500, 1750, 2000], 4, -2375, -625, 0.5625, 250, None),
        ([1000, 1000, 1000], 4, 0, 0, 0.1875, 1000, 400),
        ([4000, 4000], 8, 4000, 4000, 0.25, 4000, 3550),
        ([5000, 5000], 4, 5000, 5000, 0.625, 5000, None),
        ([1000, 5000, 6000, 7000], 4, 2500, 2500, 1.1875, 3250, 4050),
    ],
)
def test_one_segment(
    delays: list[float], target: int, al: float, laal: float, ap: float, dal: float, atd: float | None
) -> None:
    assert average_lagging(delays, SOURCE, target) == pytest.approx(al)
    assert length_adaptive_average_lagging(delays, SOURCE, target) == pytest.approx(laal)
    assert average_proportion(delays, SOURCE, target) == pytest.approx(ap)
    assert differentiable_average_lagging(delays, SOURCE) == pytest.approx(dal)
    if atd is not None:
        assert average_token_delay(delays) == pytest.approx(atd)


def test_token_delay_counts_the_growth_of_computation() -> None:
    assert average_token_delay([1000, 1000, 2500]) == pytest.approx(900)
    assert average_token_delay([1000, 1000, 2500], [1200, 1200, 3000]) == pytest.approx(1133.3333333)


def test_yaal_leaves_out_what_comes_at_the_end() -> None:
    assert yaal([1000, 2000, 4000, 4000], SOURCE, 4, limit=SOURCE) == pytest.approx(1000)
    assert yaal([4000, 4000], SOURCE, 4, limit=SOURCE) is None
    assert yaal([4000, 5000, 9000], SOURCE, 4, limit=6000) == pytest.approx(4000)


def test_average_lagging_is_undefined_without_a_reference() -> None:
    assert average_lagging([100.0], SOURCE, 0) is None
    assert average_proportion([100.0], SOURCE, 0) is None
    assert length_adaptive_average_lagging([100.0], SOURCE, 0) == 100.0


@given(
    delays=st.lists(st.floats(0, 900), min_size=1, max_size=20),
    shift=st.floats(0, 90),
    target=st.integers(1, 30),
)
def test_shifting_all_delays_shifts_laal_by_as_much(delays: list[float], shift: float, target: int) -> None:
    before = length_adaptive_average_lagging(delays, 1000.0, target)
    after = length_adaptive_average_lagging([d + shift for d in delays], 1000.0, target)
    assert before is not None and after == pytest.approx(before + shift, abs=1e-6)


@given(st.lists(st.floats(0, 1e5), min_size=1, max_size=20))
def test_token_delay_takes_delays_in_any_order(delays: list[float]) -> None:
    assert average_token_delay(delays) == average_token_delay(delays)
