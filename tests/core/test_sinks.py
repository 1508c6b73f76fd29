"""The first and the newest cache entries of a read/write stream stay, what lies between them goes."""

import pytest

from simulst.core.history import Trim
from simulst.core.translator import Turn
from simulst.core.turns import oldest_entries

TURNS = [Turn(tokens=3, end_s=1.0, entries=15, vector_s=0.1), Turn(tokens=2, end_s=2.0, entries=14, vector_s=0.1)]
WORDS = [True, False, True, True, False]


@pytest.mark.parametrize(
    ("excess", "expected"),
    [
        (0, Trim()),
        (4, Trim(to_s=0.4)),
        (10, Trim(to_s=1.0)),
        (11, Trim(to_s=1.0)),  # the mark goes with the text
        (12, Trim(tokens=2, to_s=1.0)),  # a word is not cut
        (13, Trim(tokens=2, to_s=1.0)),
        (14, Trim(tokens=3, to_s=1.0)),
        (15, Trim(tokens=3, to_s=1.0)),
        (18, Trim(tokens=3, to_s=1.3)),
        (27, Trim(tokens=5, to_s=2.0)),
        (99, Trim(tokens=5, to_s=2.0)),
    ],
)
def test_oldest_entries_go_first(excess: int, expected: Trim) -> None:
    found = oldest_entries(TURNS, excess, WORDS)
    assert found.tokens == expected.tokens
    assert found.to_s == (None if expected.to_s is None else pytest.approx(expected.to_s))


def test_a_turn_that_cannot_be_cut_goes_whole() -> None:
    whole = Turn(tokens=3, end_s=1.0, entries=15)
    assert oldest_entries([whole], 2, WORDS) == Trim(tokens=3, to_s=1.0)
