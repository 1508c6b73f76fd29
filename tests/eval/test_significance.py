"""Bootstrap: intervals, paired tests, and that resampling does not change what is resampled."""

import math

import numpy as np
import pytest

from simulst.eval.metrics.metric import Texts, counted
from simulst.eval.metrics.registry import known_metrics
from simulst.eval.score.significance import Sample, compare, intervals, resampling_weights

REFERENCES = [
    f"the {noun} sat on the {place} number {k}"
    for k in range(10)
    for noun in ("cat", "dog")
    for place in ("mat", "hill")
]
GOOD = [text.replace("sat", "sits") if k % 4 == 0 else text for k, text in enumerate(REFERENCES)]
BAD = [text.replace("the", "a") if k % 2 == 0 else text for k, text in enumerate(REFERENCES)]


def sample(hypotheses: list[str], lag: float) -> Sample:
    rows = [{"LAAL": lag + 10.0 * (k % 5) if k else None} for k in range(len(hypotheses))]
    texts = Texts(hypotheses=hypotheses, references=REFERENCES)
    return Sample.of(rows, counted(known_metrics(), texts))


def test_once_each_gives_the_corpus_scores() -> None:
    from sacrebleu.metrics import BLEU, CHRF

    scores = sample(GOOD, 1000).scores()
    assert scores["BLEU"] == pytest.approx(BLEU().corpus_score(GOOD, [REFERENCES]).score)
    assert scores["chrF2"] == pytest.approx(CHRF().corpus_score(GOOD, [REFERENCES]).score)
    assert scores["chrF2++"] == pytest.approx(CHRF(word_order=2).corpus_score(GOOD, [REFERENCES]).score)
    assert scores["LAAL"] == pytest.approx(np.mean([1000 + 10 * (k % 5) for k in range(1, 40)]))


def test_every_resampling_draws_as_many_segments() -> None:
    weights = resampling_weights(40, 50)
    assert weights.shape == (50, 40)
    assert (weights.sum(axis=1) == 40).all()
    assert (weights == resampling_weights(40, 50)).all()


def test_intervals_hold_the_score_and_shrink_with_the_spread() -> None:
    one = sample(GOOD, 1000)
    bounds, scores = intervals(one, resampling_weights(40, 300)), one.scores()
    for name in ("BLEU", "chrF2", "LAAL"):
        assert bounds[name].low < scores[name] < bounds[name].high
    assert bounds["LAAL"].high - bounds["LAAL"].low == pytest.approx(2 * 1.96 * 14.1 / math.sqrt(39), rel=0.2)


def test_a_clear_difference_is_significant_and_none_is_not() -> None:
    weights = resampling_weights(40, 500)
    found = compare(sample(BAD, 1500), sample(GOOD, 1000), weights)
    assert found["BLEU"].difference > 0 and found["BLEU"].p_value < 0.01
    assert found["LAAL"].difference == pytest.approx(-500)
    assert found["LAAL"].interval == pytest.approx((-500, -500))
    same = compare(sample(GOOD, 1000), sample(GOOD, 1000), weights)
    assert same["BLEU"].difference == 0 and same["BLEU"].p_value == 1.0


def test_paired_p_values_are_those_of_sacrebleu() -> None:
    from sacrebleu.metrics import BLEU
    from sacrebleu.significance import PairedTest

    _, systems = PairedTest(
        [("bad", BAD), ("good", GOOD)], {"BLEU": BLEU()}, [REFERENCES], test_type="bs", n_samples=1000
    )()
    theirs = systems["BLEU"][1].p_value
    ours = compare(sample(BAD, 0), sample(GOOD, 0), resampling_weights(40, 1000))["BLEU"].p_value
    assert theirs is not None and ours == pytest.approx(theirs, abs=0.02)
