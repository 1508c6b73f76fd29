"""Which search a call asks for: greedy, beams or samples, and the gate that is asked during or after it."""

from dataclasses import replace
from typing import Protocol

from simulst.core.translator import Query
from simulst.models.beam_search import beam_search
from simulst.models.decoding import Candidate, Rules, Run, Step, greedy, sample

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
    run: Run, step: Step, rules: Rules, options: SearchOptions, query: Query, *, n_valid: int
) -> list[Candidate]:
    """The sequences that are asked for, best first; `rules` say how long they may be."""
    if query.favoured is not None:
        rules = replace(rules, favoured=query.favoured)
    width, gate = max(query.n_best, options.beams), query.gate
    if query.sample:
        drawing = {"top_p": options.top_p, "temperature": options.temperature}
        found = sample(run, step, rules, count=query.n_best, seed=query.seed, **drawing)
    elif width == 1:
        return [greedy(run, step, rules, gate=gate, bias=query.bias, n_valid=n_valid)]
    else:
        found = beam_search(run, step, rules, beams=width)[: query.n_best]
    return found if gate is None else [one.gated(gate, n_valid) for one in found]
