"""mWER resegmentation: ties as mweralign breaks them, least cost, and the band."""

from itertools import combinations_with_replacement, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulst.eval.segment.resegmentation import Band, segment_ends

WORDS = st.sampled_from(["a", "b", "c", "A", "ä", "Ä"])
REFERENCES = st.lists(st.lists(WORDS, max_size=4), min_size=1, max_size=5)


def cut(hypothesis: str, references: list[str]) -> list[str]:
    words = hypothesis.split()
    ends = segment_ends(words, [reference.split() for reference in references])
    return [" ".join(words[a:b]) for a, b in pairwise([0, *ends])]


def distance(a: list[str], b: list[str]) -> int:
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        before, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            same = x == y or ((x + y).isascii() and x.lower() == y.lower())
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (not same))
    return row[-1]


@pytest.mark.parametrize(
    ("hypothesis", "references", "segments"),
    [  # printed by mweralign 1.4.1
        ("a b c d", ["a b", "c d"], ["a b", "c d"]),
        ("a b x c d", ["a b", "c d"], ["a b x", "c d"]),
        ("a b x c d", ["a b", "y c d"], ["a b", "x c d"]),
        ("x a b", ["a b", "c"], ["x a b", ""]),
        ("a b c d x", ["a b", "c d"], ["a b", "c d x"]),
        ("", ["a b", "c d"], ["", ""]),
        ("c d", ["a b", "c d"], ["c", "d"]),
        ("c d e", ["a b", "c d e"], ["c", "d e"]),
        ("b", ["a", "b"], ["b", ""]),
        ("uber Über", ["Uber", "über"], ["uber", "Über"]),
    ],
)
def test_segments(hypothesis: str, references: list[str], segments: list[str]) -> None:
    assert cut(hypothesis, references) == segments


def test_marks_of_the_reference_tools_are_words() -> None:
    assert cut("a ### b </s> c", ["a ### b", "</s> c"]) == ["a ### b", "</s> c"]


def test_no_reference_gives_no_segment() -> None:
    assert segment_ends(["a"], []) == []


@settings(max_examples=60, deadline=None)
@given(st.lists(WORDS, max_size=7), REFERENCES)
def test_no_other_cut_costs_less(hypothesis: list[str], references: list[list[str]]) -> None:
    """The reference tools charge 1 for each segment that ends before the first word; so does this cost."""

    def cost(ends: list[int]) -> int:
        words = sum(distance(hypothesis[a:b], r) for (a, b), r in zip(pairwise([0, *ends]), references, strict=True))
        return words + sum(end == 0 for end in ends[:-1])

    ends = segment_ends(hypothesis, references)
    assert ends == sorted(ends) and ends[-1] == len(hypothesis)
    inner = combinations_with_replacement(range(len(hypothesis) + 1), len(references) - 1)
    assert cost(ends) == min(cost([*cuts, len(hypothesis)]) for cuts in inner)


@settings(deadline=None)
@given(st.lists(st.lists(WORDS, min_size=1, max_size=4), min_size=1, max_size=6))
def test_a_reference_is_cut_into_itself_in_cost(references: list[list[str]]) -> None:
    words = [word for reference in references for word in reference]
    ends = segment_ends(words, references)
    parts = [words[a:b] for a, b in pairwise([0, *ends])]
    assert sum(distance(part, reference) for part, reference in zip(parts, references, strict=True)) == 0


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(st.lists(WORDS, min_size=1, max_size=14), REFERENCES, st.integers(0, 3))
def test_the_band_covers_every_word_and_never_breaks_order(
    hypothesis: list[str], references: list[list[str]], spread: int
) -> None:
    ends = segment_ends(
        hypothesis,
        references,
        band=Band(back_ms=1000.0 * spread + 1, ahead_ms=1000.0),
        emission_ms=[700.0 * k for k in range(len(hypothesis))],
        offsets_ms=[2000.0 * k for k in range(len(references))],
    )
    assert ends == sorted(ends) and ends[-1] == len(hypothesis) and len(ends) == len(references)


def test_the_band_finds_the_exact_cut_of_a_stream_that_keeps_up() -> None:
    words = [f"w{k % 37}" for k in range(3000)]
    references = [words[k : k + 12] for k in range(0, 3000, 12)]
    hypothesis = [("x" if k % 9 == 0 else word) for k, word in enumerate(words) if k % 11]
    emission = [400.0 * k * 3000 / len(hypothesis) + 2000 for k in range(len(hypothesis))]
    offsets = [4800.0 * k for k in range(len(references))]
    exact = segment_ends(hypothesis, references)
    banded = segment_ends(hypothesis, references, band=Band(), emission_ms=emission, offsets_ms=offsets)
    assert banded == exact


def test_a_band_that_is_too_narrow_widens_itself() -> None:
    words = [f"w{k}" for k in range(60)]
    references = [words[k : k + 6] for k in range(0, 60, 6)]
    late = [60_000.0 + 100 * k for k in range(60)]  # everything comes long after it was said
    offsets = [3000.0 * k for k in range(10)]
    narrow = Band(back_ms=1000.0, ahead_ms=1000.0)
    assert segment_ends(words, references, band=narrow, emission_ms=late, offsets_ms=offsets) == list(range(6, 61, 6))
