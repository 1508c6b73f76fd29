"""CTC that emits early: what is left out of a path, and where training moves an emission."""

from itertools import pairwise

import torch
from torch import Tensor

from simulst.training.early import EarlyConfig, earlier, early_loss


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def text(path: list[int], blank: int = 0) -> list[int]:
    """A path without repetitions and blanks."""
    return [a for a, b in zip(path, [blank, *path], strict=False) if a not in (blank, b)]


def test_a_repeated_frame_is_left_out_and_the_text_stays() -> None:
    path = [0, 0, 1, 2, 0, 2]  # only the second blank repeats what is before it
    moved, found = earlier(torch.tensor(path)[None, :, None], torch.tensor([6]), 0, seeded())
    assert moved[0, :, 0].tolist() == [0, 1, 2, 0, 2, 0]
    assert found.tolist() == [[True]]
    draw = torch.randint(0, 3, (50, 12, 4), generator=seeded(1))
    lengths = torch.tensor([12, 9, 5, 12])
    moved, found = earlier(draw, lengths, 0, seeded(2))
    for k in range(50):
        for n, length in enumerate(lengths.tolist()):
            one, other = draw[k, :length, n].tolist(), moved[k, :length, n].tolist()
            assert not found[k, n] or text(one) == text(other)
            assert bool(found[k, n]) == any(a == b for a, b in pairwise(one))


def test_a_path_without_repetition_costs_nothing() -> None:
    path = torch.tensor([1, 0, 2])
    log_probs = torch.nn.functional.one_hot(path, 3).float().mul(99).log_softmax(-1)[:, None]
    assert early_loss(log_probs, [3], EarlyConfig(weight=1), blank=0, generator=seeded()) == 0


def test_padding_costs_nothing() -> None:
    log_probs = torch.randn(8, 1, 3, generator=seeded(3)).log_softmax(-1)
    longer = torch.cat((log_probs, torch.full((4, 1, 3), -50.0)))
    config = EarlyConfig(weight=1, paths=100)
    found = [early_loss(one, [8], config, blank=0, generator=seeded()).item() for one in (log_probs, longer)]
    assert abs(found[0] - found[1]) < 0.05  # other paths were drawn


def trained(weight: float) -> list[int]:
    """The likeliest path after training ten frames that emit tokens 1 and 2 in the frames 5 and 8."""
    scores = torch.zeros(10, 1, 3)
    scores[:, 0, 0] = 2.0
    scores[5, 0] = torch.tensor([0.0, 3.0, 0.0])
    scores[8, 0] = torch.tensor([0.0, 0.0, 3.0])
    scores.requires_grad_(True)
    optimiser, generator = torch.optim.SGD([scores], lr=1.0), seeded()
    for _ in range(150):
        log_probs = scores.log_softmax(-1)
        loss: Tensor = torch.ctc_loss(log_probs, torch.tensor([1, 2]), [10], [2], reduction=2) / 2
        if weight:
            config = EarlyConfig(weight=weight)
            loss = loss + weight * early_loss(log_probs, [10], config, blank=0, generator=generator)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
    path: list[int] = scores.argmax(-1)[:, 0].tolist()
    return path


def test_training_moves_emissions_earlier_and_keeps_the_text() -> None:
    late, early = trained(0.0), trained(1.0)
    assert text(late) == text(early) == [1, 2]
    assert (late.index(1), late.index(2)) == (5, 8)
    assert (early.index(1), early.index(2)) == (3, 5)
