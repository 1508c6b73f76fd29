import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulst.core.source import SourceBuffer


def test_axis_is_absolute_and_trimming_keeps_it() -> None:
    buffer = SourceBuffer()
    buffer.append(np.arange(10, dtype=np.float32))
    buffer.trim(4)
    buffer.append(np.arange(10, 13, dtype=np.float32), is_final=True)
    assert (buffer.start, buffer.end, buffer.valid, buffer.is_final) == (4, 13, 9, True)
    assert buffer.read(2, 7).tolist() == [4, 5, 6]
    assert buffer.read().tolist() == list(range(4, 13))


def test_valid_excludes_padding() -> None:
    buffer = SourceBuffer()
    buffer.append(np.ones(3, dtype=np.float32))
    padded, valid = buffer.padded(5)
    assert padded.tolist() == [1, 1, 1, 0, 0]
    assert (valid, buffer.valid) == (3, 3)


def test_trim_never_goes_beyond_what_is_kept_nor_backwards() -> None:
    buffer = SourceBuffer()
    buffer.append(np.ones(5, dtype=np.float32))
    buffer.trim(99)
    assert (buffer.start, buffer.end, buffer.valid) == (5, 5, 0)
    buffer.trim(2)
    assert buffer.start == 5


def test_append_after_the_end_is_refused() -> None:
    buffer = SourceBuffer()
    buffer.append(np.ones(1, dtype=np.float32), is_final=True)
    with pytest.raises(ValueError, match="the source has ended"):
        buffer.append(np.ones(1, dtype=np.float32))


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 60_000), st.integers(0, 60_000)), max_size=12))
def test_holds_exactly_what_was_appended_and_not_trimmed(steps: list[tuple[int, int]]) -> None:
    buffer, whole = SourceBuffer(), np.zeros(0, dtype=np.float32)
    for size, trim in steps:
        new = np.arange(len(whole), len(whole) + size, dtype=np.float32)
        whole = np.concatenate([whole, new])
        buffer.append(new)
        buffer.trim(buffer.start + trim)
        assert np.array_equal(buffer.read(), whole[buffer.start :])
        assert buffer.end == len(whole)


def test_memory_stays_flat_over_an_hour() -> None:
    buffer, sizes = SourceBuffer(), set()
    chunk = np.zeros(10_240, dtype=np.float32)
    for step in range(5_625):
        buffer.append(chunk)
        buffer.trim(buffer.end - 160_000)
        if step > 100:
            sizes.add(len(buffer._data))
    assert max(sizes) <= 4 * 170_240
