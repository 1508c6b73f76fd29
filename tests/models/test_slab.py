"""Rows of streams: taken, given back, and gone once nobody needs them, buffers with them."""

import torch

from simulst.models.speech_llm.slab import SharedSlab


def fill(slab: SharedSlab, length: int) -> None:
    """Room for so many entries in two layers of three heads, four numbers each."""
    like = torch.zeros(1, 3, length, 4)
    with slab.changing():
        for layer in range(2):
            slab.reserve(layer, length, like, like)


def sizes(slab: SharedSlab) -> list[tuple[int, ...]]:
    return [tuple(one.shape) for one in (*slab.keys.values(), *slab.values.values())]


def test_rows_at_the_end_go_once_they_are_half_of_all_and_the_last_stream_takes_everything_with_it() -> None:
    slab = SharedSlab(at_once=4)
    rows = [slab.take() for _ in range(8)]
    fill(slab, 100)
    assert rows == list(range(8)) and sizes(slab) == [(8, 3, 100, 4)] * 4
    for row in (0, 7, 6, 5):
        slab.give_back(row)
    assert slab.rows == 8  # row 4 is in use
    slab.keys[1][2, :, :100] = 7.0
    slab.give_back(4)
    assert slab.rows == 4 and sizes(slab) == [(4, 3, 100, 4)] * 4
    assert slab.keys[1][2].eq(7.0).all() and slab.keys[1][[1, 3]].eq(0.0).all()
    assert slab.take() == 0
    for row in (0, 1, 2, 3):
        slab.give_back(row)
    assert slab.rows == 0 and sizes(slab) == []
    assert slab.take() == 0 and slab.rows == 4


def test_rows_come_back_by_as_many_as_are_made_at_once() -> None:
    slab = SharedSlab(at_once=4)
    assert [slab.take() for _ in range(4)] == [0, 1, 2, 3]
    slab.give_back(3)
    slab.give_back(2)
    assert slab.rows == 2
    assert [slab.take(), slab.take()] == [2, 3] and slab.rows == 4


def test_rows_that_steps_were_recorded_on_stay_as_long_as_the_last_streams_were() -> None:
    slab = SharedSlab(at_once=2, capacity=64, lasting=True)
    rows = [slab.take() for _ in range(6)]
    fill(slab, 64)
    fill(slab, 200)
    assert sizes(slab) == [(6, 3, 200, 4)] * 4
    moves = slab.moves
    for row in reversed(rows):
        slab.give_back(row)
    assert sizes(slab) == [(2, 3, 200, 4)] * 4 and slab.moves > moves  # the next streams may be as long
    moves = slab.moves
    slab.take()
    fill(slab, 70)
    slab.give_back(0)
    assert sizes(slab) == [(2, 3, 128, 4)] * 4 and slab.moves > moves
    moves = slab.moves
    slab.take()
    fill(slab, 128)
    slab.give_back(0)
    assert sizes(slab) == [(2, 3, 128, 4)] * 4 and slab.moves == moves


def test_a_row_that_is_given_back_amid_a_change_waits_for_its_end() -> None:
    slab = SharedSlab()
    row = slab.take()
    fill(slab, 10)
    with slab.changing():
        slab.give_back(row)
        assert sizes(slab) == [(1, 3, 64, 4)] * 4
    assert sizes(slab) == []
