"""SoftSegmenter: similarity, ties, gaps."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulst.eval.logs.units import Unit
from simulst.eval.segment.soft_alignment import ReferenceUnit, assign_segments, similarity

WORDS = st.sampled_from(["ab", "abc", "b", ".", "-", "xyz", "x", "ä"])


def assign(hypothesis: list[str], references: list[list[str]], unit: Unit = "word") -> list[int]:
    units = [ReferenceUnit(text=text, segment=k) for k, texts in enumerate(references) for text in texts]
    return assign_segments(hypothesis, units, unit)


@pytest.mark.parametrize(
    ("a", "b", "unit", "value"),
    [
        ("abc", "abd", "word", 0.5),
        ("aab", "ab", "word", 1.0),
        ("abc", "abd", "char", 0.0),
        (".", "a", "word", -math.inf),
        (".", "!", "char", 0.0),
        ("", "", "word", 0.0),
    ],
)
def test_similarity(a: str, b: str, unit: Unit, value: float) -> None:
    assert similarity(a, b, unit) == value


def test_equal_words_find_each_other() -> None:
    assert assign(["one", "two", "three"], [["one", "two"], ["three"]]) == [0, 0, 1]


def test_a_word_in_a_gap_goes_to_the_neighbour_it_resembles() -> None:
    assert assign(["alpha", "omeg", "omega"], [["alpha"], ["omega"]]) == [0, 1, 1]
    assert assign(["alpha", "alph", "omega"], [["alpha"], ["omega"]]) == [0, 0, 1]


def test_punctuation_before_the_first_word_is_not_lost() -> None:
    assert assign([".", "a"], [["a"], ["b"]], "char") == [0, 0]


def test_without_references_all_go_to_the_first_segment() -> None:
    assert assign(["a", "b"], [[], []]) == [0, 0]
    assert assign([], [["a"]]) == []


@settings(max_examples=60, deadline=None)
@given(st.lists(WORDS, max_size=10), st.lists(st.lists(WORDS, max_size=4), min_size=1, max_size=4))
@pytest.mark.parametrize("unit", ["word", "char"])
def test_segments_never_go_back(unit: Unit, hypothesis: list[str], references: list[list[str]]) -> None:
    assigned = assign(hypothesis, references, unit)
    assert len(assigned) == len(hypothesis)
    assert assigned == sorted(assigned)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=5, unique=True), min_size=1, max_size=4))
def test_a_reference_is_cut_into_itself(references: list[list[str]]) -> None:
    numbered = [[f"{word}{k}{i}" for i, word in enumerate(words)] for k, words in enumerate(references)]
    flat = [word for words in numbered for word in words]
    assert assign(flat, numbered, "char") == [k for k, words in enumerate(numbered) for _ in words]
