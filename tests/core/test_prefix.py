from itertools import takewhile

from hypothesis import given
from hypothesis import strategies as st

from simulst.core.prefix import common_prefix


def test_common_prefix_of_several() -> None:
    assert common_prefix((1, 2, 3), (1, 2, 4), (1, 2)) == 2
    assert common_prefix((), (1,)) == 0


@given(st.text("ab", max_size=9), st.text("ab", max_size=9))
def test_common_prefix_of_texts(one: str, other: str) -> None:
    same = list(takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))
    assert common_prefix(one, other) == common_prefix(other, one) == len(same)
