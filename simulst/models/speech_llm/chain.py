"""Transcript and translation as one text of the decoder: `<sp> v .. v <en> x .. x <de> y .. y` (StreamUni, 2507.07803).

The transcript ends where the model asks for the translation, and the translation is continued after any transcript that
it is given. The speech stays cached from call to call; the transcript and the translation are fed anew.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from simulst.core.translator import FloatArray
from simulst.models.decoding import Candidate, Rules, Run, Step, greedy
from simulst.models.speech_llm.contexts import BatchContext, Rows
from simulst.models.speech_llm.weights import Weights


class TranscriptRun:
    """Decoding of a transcript: the end of the text counts as its end too. Implements `decoding.Run`."""

    def __init__(self, run: Run, *, end: int, eos: int) -> None:
        self.run, self.end, self.eos = run, end, eos

    def advance(self, tokens: Sequence[int], parents: Sequence[int]) -> Step:
        return self.ended(self.run.advance(tokens, parents))

    def ended(self, step: Step) -> Step:
        """The same scores, that of the end the better of both ends."""
        logits = step.logits.clone()
        logits[:, self.end] = torch.maximum(logits[:, self.end], logits[:, self.eos])
        return replace(step, logits=logits)


def write_source(weights: Weights, context: BatchContext, vectors: Tensor, first: int, max_new: int) -> Candidate:
    """The transcript of the vectors (the oldest is number `first` of the stream), greedily, with its rows."""
    eos, end = weights.vocabulary.eos, weights.text_target_mark
    run, step, _ = context.begin(vectors, first, (), Rows(wanted=True, every_head=True), before=[weights.source_mark])
    suppress = weights.suppress.clone()
    suppress[eos], suppress[end] = True, False
    rules = Rules(eos=end, max_new=max_new, suppress=suppress, no_repeat_ngram=weights.options.no_repeat_ngram)
    writing = TranscriptRun(run, end=end, eos=eos)
    found = greedy(writing, writing.ended(step), rules)
    context.end(run)
    return found


def translate_after(
    weights: Weights,
    context: BatchContext,
    vectors: Tensor,
    first: int,
    source: Sequence[int],
    prefix: Sequence[int],
    rules: Rules,
    rows: Rows,
) -> tuple[Candidate, FloatArray | None]:
    """Greedy continuation of `prefix` after the transcript `source`, and the rows of the prefix where wanted."""
    before = [weights.source_mark, *source, weights.text_target_mark]
    run, step, history = context.begin(vectors, first, prefix, rows, before=before)
    found = greedy(run, step, rules)
    context.end(run)
    return found, history
