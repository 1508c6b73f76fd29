"""Hidden speech: how much of it, that a step hides other runs than the one before, and what is left alone."""

import random

import torch

from simulst.training.batch import Batch
from simulst.training.masking import MaskConfig, masked


def batch(vectors: int) -> Batch:
    nothing = torch.zeros(0, dtype=torch.long)
    return Batch(
        ids=torch.zeros(1, vectors, dtype=torch.long),
        is_speech=torch.ones(1, vectors, dtype=torch.bool),
        stacked=torch.ones(vectors, 8, dtype=torch.bfloat16),
        rows=nothing,
        targets=nothing,
        weights=torch.zeros(0),
        lengths=[vectors],
        sources=[None],
    )


def hidden(one: Batch) -> list[int]:
    return [i for i, row in enumerate(one.stacked.tolist()) if not any(row)]


def test_about_the_share_is_hidden_in_runs() -> None:
    rng, config = random.Random(0), MaskConfig(share=0.2, longest_vectors=5)
    counts = []
    for _ in range(50):
        gone = hidden(masked(batch(1000), config, rng))
        counts.append(len(gone))
        runs = sum(1 for i in gone if i - 1 not in gone)
        assert len(gone) / runs > 1.5  # of 1 to 5 vectors, some beside each other
    assert 150 < min(counts) <= max(counts) <= 200


def test_every_step_hides_other_runs_and_the_stored_vectors_stay() -> None:
    config, one = MaskConfig(share=0.3), batch(100)
    first, second = (hidden(masked(one, config, random.Random(step))) for step in (1, 2))
    assert first != second
    assert first == hidden(masked(one, config, random.Random(1)))
    assert hidden(one) == []


def test_no_share_and_no_speech_change_nothing() -> None:
    one, empty = batch(10), batch(0)
    assert masked(one, MaskConfig(), random.Random(0)) is one
    assert masked(empty, MaskConfig(share=0.5), random.Random(0)) is empty


def test_a_run_is_never_longer_than_the_speech() -> None:
    gone = hidden(masked(batch(2), MaskConfig(share=0.9, longest_vectors=50), random.Random(0)))
    assert gone in ([0], [1], [0, 1])
