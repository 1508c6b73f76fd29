from typing import Any, Literal

import numpy as np
import pytest

from simulst.errors import PolicyError
from simulst.policies.edatt import EDAtt
from simulst.testing import Scripted, ToyVocabulary, play

WORDS = ToyVocabulary(["_a", "_b", "_c"])


def rows(*values: list[float]) -> Scripted:
    ids = WORDS.encode(["_a", "_b", "_c"][: len(values)])
    return Scripted(ids=ids, weights=np.asarray(values, dtype=np.float32))


@pytest.mark.parametrize(("norm", "expected"), [("l2", ""), ("l1", "a")])
def test_rows_are_normalised_to_euclidean_length(norm: Literal["l2", "l1"], expected: str) -> None:
    row = [0.3, 0.3, 0.05, 0.05, 9.0]  # the last frame is left out: 0.1 / 0.43 = 0.23, 0.1 / 0.7 = 0.14
    assert play(EDAtt(alpha=0.2, last=2, normalise=norm), [rows(row)], WORDS)[1] == [expected]


def test_mass_is_what_the_paper_sums() -> None:
    row = np.asarray([0.3, 0.3, 0.05, 0.05, 9.0], dtype=np.float32)
    assert EDAtt(last=2).mass(row, 0.04) == pytest.approx(0.2325, abs=1e-4)
    assert EDAtt(last=2, normalise="l1").mass(row, 0.04) == pytest.approx(0.1429, abs=1e-4)
    assert EDAtt(last=2, frame_ms=40.0).mass(row, 0.08) == pytest.approx(0.1162, abs=1e-4)


def test_first_violation_cuts_even_if_later_tokens_are_fine() -> None:
    old, new = [1.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0, 0.0]
    assert play(EDAtt(alpha=0.5), [rows(old, new, old)], WORDS)[1] == ["a"]


def test_threshold_itself_is_blocked() -> None:
    assert play(EDAtt(alpha=1.0), [rows([0.0, 0.0, 1.0, 0.0])], WORDS)[1] == [""]


def test_padding_is_not_newest() -> None:
    line = Scripted(ids=WORDS.encode(["_a"]), weights=np.asarray([[0, 0, 0, 1, 0, 7, 7]], dtype=np.float32), n_valid=5)
    assert play(EDAtt(alpha=0.5), [line], WORDS)[1] == [""]


def test_source_of_one_frame_is_all_newest() -> None:
    assert play(EDAtt(alpha=0.5), [rows([1.0])], WORDS)[1] == [""]


def test_finish_is_not_gated() -> None:
    line = rows([0.0, 0.0, 1.0, 0.0])
    session, _ = play(EDAtt(alpha=0.1), [line, line], WORDS, chunks=1)
    session.finish()
    assert session.text == "a"


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [({"last": 0}, "last is 0; it must be at least 1"), ({"alpha": 0.0}, r"alpha is 0.0; it must be above 0")],
)
def test_bad_parameters_are_refused(parameters: dict[str, Any], sentence: str) -> None:
    with pytest.raises(PolicyError, match=sentence):
        EDAtt(**parameters)
