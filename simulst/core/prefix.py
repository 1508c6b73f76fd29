"""What sequences have in common at their beginning."""

from collections.abc import Sequence


def common_prefix(*sequences: Sequence[object]) -> int:
    """Length of the longest prefix that all of them, sequences of one type, share."""
    low, high = 0, min(map(len, sequences))
    first, *others = sequences
    while low < high:  # by halving, as slices compare fast: texts of an hour differ near their ends
        middle = (low + high + 1) // 2
        part = first[low:middle]
        if all(other[low:middle] == part for other in others):
            low = middle
        else:
            high = middle - 1
    return low
