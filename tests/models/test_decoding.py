"""The decoding loop on a scripted run whose scores and rows are known in advance."""

import itertools
from collections.abc import Sequence
from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from simulst.core.source import FloatArray
from simulst.core.translator import Bias, TokenStep
from simulst.errors import ModelError
from simulst.models.beam_search import beam_search
from simulst.models.decoding import Rules, Step, greedy, sample, to_hypothesis

EOS = 0
Table = dict[tuple[int, ...], list[float]]


class ScriptedRun:
    """Scores depend on the tokens so far; the row of a sequence spells them, so that a wrong parent shows."""

    def __init__(self, table: Table, default: list[float]) -> None:
        self.table, self.default = table, default
        self.sequences: list[tuple[int, ...]] = [()]

    def step(self) -> Step:
        logits = torch.tensor([self.table.get(one, self.default) for one in self.sequences]).log()
        rows = torch.from_numpy(np.stack([row_of(one) for one in self.sequences]))
        return Step(logits=logits, weights=rows)

    def advance(self, tokens: Sequence[int], parents: Sequence[int]) -> Step:
        self.sequences = [(*self.sequences[parent], token) for token, parent in zip(tokens, parents, strict=True)]
        return self.step()


def row_of(ids: Sequence[int]) -> FloatArray:
    """Weights [4] that tell which tokens came before."""
    return np.array([len(ids), sum(ids), *(ids[-2:] if len(ids) > 1 else (0, 0))], dtype=np.float32)


# Token 1 looks best at first, but only 2 leads on to a likely 3; both second steps continue the *second* beam.
TWO_BEAMS: Table = {
    (): [0.0001, 0.55, 0.4498, 0.0001],
    (1,): [0.1, 0.31, 0.29, 0.3],
    (2,): [0.01, 0.01, 0.48, 0.5],
    (2, 3): [0.97, 0.01, 0.01, 0.01],
    (2, 2): [0.9, 0.03, 0.03, 0.04],
}


def test_the_winning_beam_brings_the_rows_of_its_ancestors() -> None:
    run = ScriptedRun(TWO_BEAMS, [0.25] * 4)
    best, second = beam_search(run, run.step(), Rules(eos=EOS, max_new=5), beams=2)
    assert (best.ids, second.ids) == ((2, 3), (2, 2))
    assert best.stop == "eos" and best.next_id == EOS
    assert best.total == pytest.approx(np.log(0.4498 * 0.5 * 0.97), abs=1e-4)
    np.testing.assert_array_equal(np.stack(best.rows), [row_of(()), row_of((2,))])
    np.testing.assert_array_equal(np.stack(second.rows), [row_of(()), row_of((2,))])


def test_beams_do_not_win_by_repeating_themselves() -> None:
    run = ScriptedRun({(): [0.0, 0.1, 0.1, 0.8]}, [0.3, 0.6, 0.05, 0.05])  # every further token raises the mean
    found = beam_search(run, run.step(), Rules(eos=EOS, max_new=40), beams=2)
    assert [one.stop for one in found] == ["eos", "eos"]
    assert [one.ids for one in found] == [(3, 1), (3,)]


def test_greedy_stays_with_the_first_choice() -> None:
    run = ScriptedRun(TWO_BEAMS, [0.25] * 4)
    found = greedy(run, run.step(), Rules(eos=EOS, max_new=2))
    assert found.ids == (1, 1) and found.stop == "length" and found.next_id is None


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.floats(0.01, 1.0), min_size=3, max_size=3), min_size=13, max_size=13))
def test_wide_beams_find_the_best_of_all_sequences(numbers: list[list[float]]) -> None:
    prefixes = [one for length in range(3) for one in itertools.product((1, 2), repeat=length)]
    table = {one: [p / sum(ps) for p in ps] for one, ps in zip(prefixes, numbers, strict=False)}
    run = ScriptedRun(table, [1 / 3] * 3)
    best = beam_search(run, run.step(), Rules(eos=EOS, max_new=3), beams=32)[0]

    def mean(ids: tuple[int, ...], ended: bool) -> float:
        path = [*ids, EOS] if ended else list(ids)
        return float(np.mean([np.log(table.get(ids[:i], [1 / 3] * 3)[token]) for i, token in enumerate(path)]))

    scores = [mean(one, True) for n in range(3) for one in itertools.product((1, 2), repeat=n)]
    scores += [mean(one, False) for one in itertools.product((1, 2), repeat=3)]
    assert best.score == pytest.approx(max(scores), abs=1e-4)


def test_beams_and_greedy_agree_at_width_one() -> None:
    for table in (TWO_BEAMS, {}):
        first, second = ScriptedRun(table, [0.1, 0.2, 0.3, 0.4]), ScriptedRun(table, [0.1, 0.2, 0.3, 0.4])
        rules = Rules(eos=EOS, max_new=4)
        assert beam_search(first, first.step(), rules, beams=1)[0].ids == greedy(second, second.step(), rules).ids


@pytest.mark.parametrize(
    ("verdict", "ids", "next_id"), [("stop_keep", (3, 3), None), ("stop_drop", (3,), 3)], ids=["keep", "drop"]
)
def test_gates_cut_finished_candidates_as_they_cut_greedy_decoding(
    verdict: Literal["stop_keep", "stop_drop"], ids: tuple[int, ...], next_id: int | None
) -> None:
    def gate(step: TokenStep) -> Literal["continue", "stop_keep", "stop_drop"]:
        assert step.weights is not None and step.n_valid == 4
        return verdict if step.weights[0] == 1 else "continue"

    rules = Rules(eos=EOS, max_new=4)
    for in_loop in (True, False):
        run = ScriptedRun({}, [0.1, 0.2, 0.3, 0.4])
        found = greedy(run, run.step(), rules, gate=gate if in_loop else None, n_valid=4)
        found = found if in_loop else found.gated(gate, 4)
        assert (found.ids, found.stop, found.next_id) == (ids, "gate", next_id)
        assert len(found.rows) == len(found.logprobs) == len(ids)


def test_no_ngram_repeats_across_history_and_new_tokens() -> None:
    run = ScriptedRun({}, [0.05, 0.15, 0.3, 0.5])
    rules = Rules(eos=EOS, max_new=6, no_repeat_ngram=2, recent=(3, 3))
    ids = greedy(run, run.step(), rules).ids
    text = [3, 3, *ids]
    grams = list(itertools.pairwise(text))
    assert len(grams) == len(set(grams)) and ids[0] == 2


def test_stops_when_nothing_is_allowed() -> None:
    suppress = torch.tensor([True, False, True, True])
    for search in ("greedy", "beam", "sample"):
        run = ScriptedRun({}, [0.25] * 4)
        rules = Rules(eos=EOS, max_new=9, suppress=suppress, no_repeat_ngram=2)
        if search == "greedy":
            found = greedy(run, run.step(), rules)
        elif search == "beam":
            found = beam_search(run, run.step(), rules, beams=2)[0]
        else:
            found = sample(run, run.step(), rules, count=2, seed=0)[0]
        assert found.ids == (1, 1) and found.stop == "repeat"


def test_samples_follow_the_distribution_and_end_on_their_own() -> None:
    run = ScriptedRun({(): [0.0, 0.8, 0.2, 0.0]}, [1.0, 0.0, 0.0, 0.0])
    drawn = sample(run, run.step(), Rules(eos=EOS, max_new=9), count=400, seed=5)
    first = [one.ids[0] for one in drawn]
    assert all(one.stop == "eos" and len(one.ids) == 1 == len(one.rows) for one in drawn)
    assert first.count(1) / 400 == pytest.approx(0.8, abs=0.07)


def test_samples_of_different_length_keep_their_own_rows() -> None:
    run = ScriptedRun({}, [0.4, 0.2, 0.2, 0.2])
    for one in sample(run, run.step(), Rules(eos=EOS, max_new=4), count=30, seed=1):
        expected = [row_of(one.ids[:i]) for i in range(len(one.ids))]
        assert [row.tolist() for row in one.rows] == [row.tolist() for row in expected]
        assert one.stop == ("length" if len(one.ids) == 4 else "eos")


def test_nucleus_leaves_out_the_tail() -> None:
    run = ScriptedRun({}, [0.0, 0.6, 0.3, 0.1])
    drawn = sample(run, run.step(), Rules(eos=EOS, max_new=5), count=50, seed=2, top_p=0.9)
    assert {token for one in drawn for token in one.ids} == {1, 2}


@pytest.mark.parametrize("width", [1, 3])
def test_no_room_gives_an_empty_candidate(width: int) -> None:
    run = ScriptedRun({}, [0.25] * 4)
    rules = Rules(eos=EOS, max_new=0)
    assert greedy(run, run.step(), rules).ids == ()
    assert [one.ids for one in beam_search(run, run.step(), rules, beams=width)] == [()]
    assert [one.ids for one in sample(run, run.step(), rules, count=width, seed=0)] == [()] * width


def test_nan_scores_are_one_sentence() -> None:
    run = ScriptedRun({(): [float("nan")] * 4}, [0.25] * 4)
    with pytest.raises(ModelError, match=r"^The model computed NaN scores; load it with dtype=float32"):
        greedy(run, run.step(), Rules(eos=EOS, max_new=2))


def test_hypothesis_puts_history_rows_first_and_splits_heads() -> None:
    run = ScriptedRun({}, [0.1, 0.2, 0.3, 0.4])
    found = greedy(run, run.step(), Rules(eos=EOS, max_new=2))
    history = np.full((3, 4), 0.5, dtype=np.float32)
    made = to_hypothesis(found, history=history, n_valid=4, frame_s=0.02, start_s=1.5, logprobs=True)
    assert made.alignment is not None and made.alignment.weights.shape == (5, 4) and made.alignment.history == 3
    np.testing.assert_array_equal(made.alignment.weights[3:], [row_of(()), row_of((3,))])
    assert made.logprobs == pytest.approx([np.log(0.4)] * 2) and made.score == pytest.approx(np.log(0.4))
    bare = to_hypothesis(found, history=None, n_valid=4, frame_s=0.02, start_s=1.5, logprobs=False)
    assert bare.alignment is None and bare.logprobs is None


@pytest.mark.parametrize(("weight", "ids"), [(0.1, (1,)), (0.2, (2, 3)), (0.6, (2, 2))])
def test_bias_pulls_towards_the_shown_text_until_decoding_leaves_it(weight: float, ids: tuple[int, ...]) -> None:
    shown = Bias(ids=(2, 2), weight=weight)
    table: Table = {**TWO_BEAMS, (): [0.0001, 0.6, 0.3998, 0.0001], (1,): [0.9, 0.04, 0.03, 0.03]}
    if weight < 0.5:
        table[(2,)] = [0.01, 0.01, 0.1, 0.88]
    run = ScriptedRun(table, [0.25] * 4)
    assert greedy(run, run.step(), Rules(eos=EOS, max_new=5), bias=shown).ids == ids


def test_bias_never_brings_what_may_not_be_generated() -> None:
    run = ScriptedRun({(): [0.1, 0.5, 0.4, 0.0]}, [0.97, 0.01, 0.01, 0.01])
    rules = Rules(eos=EOS, max_new=5, suppress=torch.tensor([False, False, True, False]))
    assert greedy(run, run.step(), rules, bias=Bias(ids=(2,), weight=0.9)).ids == (1,)
