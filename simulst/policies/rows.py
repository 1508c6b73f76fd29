"""Alignment of ids that were found without it."""

from dataclasses import replace

from simulst.core.policy import Committed, Decoder
from simulst.core.translator import Evidence, Hypothesis


def with_rows(hypothesis: Hypothesis, commit: int, committed: Committed, decoder: Decoder) -> Hypothesis:
    """The part that is committed, with its alignment where history selection asks for it: one more forward."""
    ids = hypothesis.ids[:commit]
    hypothesis = replace(hypothesis, ids=ids)
    if Evidence.ALIGNMENT not in decoder.wants:
        return hypothesis
    forced = (*committed.prefix, *ids)
    alignment = decoder.hypothesise(prefix=forced, max_new=1)[0].alignment
    if alignment is None:
        return hypothesis
    rows = alignment.weights[: len(forced)]
    return replace(hypothesis, alignment=replace(alignment, weights=rows, history=len(committed.prefix), heads=None))
