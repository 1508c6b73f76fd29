import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from simulst.core.alignment import anchors, attended_frames, normalise, running_median
from simulst.core.translator import Alignment, FloatArray
from simulst.models.attention import median_width, smoothed


def rows(*values: list[float]) -> FloatArray:
    return np.asarray(values, dtype=np.float32)


def test_zscore_compares_frames_over_rows_and_removes_what_all_attend_to() -> None:
    weights = rows([0.9, 0.1, 0.0], [0.9, 0.0, 0.1])
    assert attended_frames(weights).tolist() == [0, 0]
    assert attended_frames(normalise(weights, "zscore")).tolist() == [1, 2]
    assert normalise(weights, "zscore")[:, 0].tolist() == [0, 0]


def test_one_row_has_nothing_to_be_compared_with() -> None:
    weights = rows([0.1, 0.7, 0.2])
    for how in ("zscore", "zscore_online"):
        assert np.array_equal(normalise(weights, how), weights)


def test_online_zscore_looks_at_earlier_rows_only() -> None:
    weights = rows([0.0, 0.4], [0.2, 0.4], [0.3, 0.5], [9.0, 9.0])
    scores = normalise(weights, "zscore_online")
    assert np.array_equal(scores[:2], weights[:2])
    assert scores[2].tolist() == pytest.approx([2.0, 0.1], abs=1e-5)
    assert np.array_equal(normalise(weights[:3], "zscore_online"), scores[:3])


def test_l2_makes_rows_of_length_one_and_leaves_empty_ones() -> None:
    assert normalise(rows([3, 4], [0, 0]), "l2").tolist() == [[pytest.approx(0.6), pytest.approx(0.8)], [0, 0]]


def test_median_filter_removes_a_lone_peak() -> None:
    weights = rows([0, 0, 9, 0, 0, 3, 4, 3, 0])
    assert attended_frames(running_median(weights, 3)).tolist() == [5]
    assert running_median(weights, 1) is weights
    assert running_median(rows([1, 2]), 7).shape == (1, 2)


def test_lower_median_over_heads_ignores_a_bad_head() -> None:
    heads = np.zeros((4, 1, 10), dtype=np.float32)
    for head, frame in enumerate([3, 4, 9, 5]):
        heads[head, 0, frame] = 1
    assert attended_frames(heads).tolist() == [4]


def test_anchors_are_absolute_and_padding_never_counts() -> None:
    weights = rows([0.1, 0.2, 0.0, 0.9], [0.5, 0.1, 0.0, 0.9])
    alignment = Alignment(weights=weights, history=0, n_valid=3, frame_s=0.5, start_s=10.0)
    assert anchors(alignment, 2) == [10.5, 10.0]
    assert anchors(None, 2) == [None, None]


@settings(deadline=None, max_examples=50)
@given(arrays(np.float32, (2, 12), elements=st.floats(0, 1, width=32)), st.sampled_from([3, 5, 7]))
def test_filters_never_move_a_peak_out_of_the_newest_frames(weights: FloatArray, width: int) -> None:
    newest = 12 - width // 2
    for filtered in (running_median(weights, width), smoothed(torch.from_numpy(weights), width).numpy()):
        assert filtered.shape == weights.shape
        for row, before in zip(filtered, weights, strict=True):
            if before[newest:].max() > before[:newest].max():
                assert row.argmax() >= newest


@pytest.mark.parametrize(("frame_s", "frames"), [(0.02, 7), (0.04, 3), (0.096, 1), (0.16, 1)])
def test_width_of_the_filter_is_a_time(frame_s: float, frames: int) -> None:
    assert median_width(0.14, frame_s) == frames
    assert median_width(0.0, frame_s) == 1


def test_running_zscore_counts_the_row_itself() -> None:
    weights = rows([0.0, 0.4], [0.2, 0.4], [0.4, 0.4])
    assert normalise(weights, "zscore_running")[2].tolist() == pytest.approx([1.2247, 0.0], abs=1e-3)
