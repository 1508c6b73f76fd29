"""Which search a call asks for: greedy, beams or samples, and the gate that is asked during or after it."""

from typing import Protocol

from simulst.core.translator import Gate
from simulst.models.decoding import Candidate, Rules, Run, Step, beam_search, greedy, sample

RECENT_IDS = 20
"""Committed ids that count for the rule against repeated n-grams."""


class SearchOptions(Protocol):
    """How a model searches, as its options say."""

    @property
    def beams(self) -> int: ...

    @property
    def top_p(self) -> float: ...

    @property
    def temperature(self) -> float: ...


def search(
    run: Run,
    step: Step,
    rules: Rules,
    options: SearchOptions,
    *,
    n_best: int,
    draw: bool,
    seed: int,
    gate: Gate | None,
    n_valid: int,
) -> list[Candidate]:
    """`n_best` sequences at most, best first; `draw` samples them. A greedy search asks the gate as it goes, beams and
    samples are cut by it afterwards."""
    width = max(n_best, options.beams)
    if draw:
        found = sample(run, step, rules, count=n_best, seed=seed, top_p=options.top_p, temperature=options.temperature)
    elif width == 1:
        return [greedy(run, step, rules, gate=gate, n_valid=n_valid)]
    else:
        found = beam_search(run, step, rules, beams=width)[:n_best]
    return found if gate is None else [one.gated(gate, n_valid) for one in found]
