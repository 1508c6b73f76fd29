"""Transcript and translation in one text, in the order of time (token-level serialised output, 2307.03354).

`<sp> <de> TAG v v v <write> x x <de> y <en> x <de> y y <read> v v <write> ..`: a turn begins with the transcript, and
the mark of a language leads over to the other one. Each session gives out one language; those that are beside each
other on a stream have every turn decoded once.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from simulst.core.translator import ReadWrite
from simulst.models.decoding import Candidate, Rules, Step, greedy
from simulst.models.search import RECENT_IDS
from simulst.models.speech_llm.cache import StreamCache
from simulst.models.speech_llm.contexts import Rows
from simulst.models.speech_llm.interleaved import Entry, Heard, InterleavedStream, WriteRun
from simulst.models.speech_llm.weights import Weights

Once = Callable[[Hashable, Callable[[], Candidate]], Candidate]
"""`Compute.once`."""


class JointRun(WriteRun):
    """Decoding of one turn: a mark leads over to the other language, never twice in a row."""

    def scored(self, logits: Tensor) -> Tensor:
        logits, marks = super().scored(logits), languages(self.weights)
        last = next((token for token in reversed(self.tokens) if token in marks), marks[0])
        bare = bool(self.tokens) and self.tokens[-1] in marks
        logits[:, list(marks) if bare else [last]] = -torch.inf
        return logits


class JointStream(InterleavedStream):
    """The context of one stream of turns in two languages, of which one is the text; the other stands aside."""

    def __init__(self, weights: Weights, cache: StreamCache, plan: ReadWrite, once: Once) -> None:
        super().__init__(weights, cache, plan)
        self._once = once

    def _read(self, heard: Heard, end: int) -> bool:
        """Take vectors up to the end of the turn; they are computed with the write, by whoever decodes it."""
        due = max(self.next + 1, self.read_since + self.plan.turn * self.weights.block_vectors)
        until = min(end, due)
        self.entries += [Entry("vector", number) for number in range(self.next, until)]
        self.next = until
        return until == due

    def _decoded(self, heard: Heard, rows: bool, allowed: int) -> Candidate:
        known = tuple((one.kind if one.kind in ("vector", "sink") else "", one.value) for one in self.entries)
        return self._once((known, rows, allowed), partial(super()._decoded, heard, rows, allowed))

    def _run(self, source: Tensor, rows: Rows) -> WriteRun:
        return JointRun(self.weights, self.cache, source=source, rows=rows)

    def _rules(self, allowed: int) -> Rules:
        suppress = self.weights.suppress_in_write.clone()
        suppress[list(languages(self.weights))] = False
        said = [entry.value for entry in self.entries if entry.kind in ("token", "aside")]
        return replace(super()._rules(allowed), suppress=suppress, recent=tuple(said[-RECENT_IDS:]))

    def _searched(self, run: WriteRun, step: Step, rules: Rules, start: int) -> Candidate:
        """Greedy, whatever the option `beams`."""
        return greedy(run, step, rules)

    def _own(self, ids: Sequence[int]) -> list[bool]:
        return own_language(ids, languages(self.weights), self.weights.target_mark)

    def _as_written(self, text: Sequence[int]) -> tuple[int, ...]:
        """Text from elsewhere behind the mark of its language, where a turn does not begin with that."""
        own = self.weights.target_mark
        return tuple(text) if own == languages(self.weights)[0] else (own, *text)


def languages(weights: Weights) -> tuple[int, int]:
    """The marks of the transcript's language and of the translation's."""
    return weights.source_mark, weights.text_target_mark


def own_language(ids: Sequence[int], marks: tuple[int, int], own: int) -> list[bool]:
    """Which ids of a turn are text in the language of the mark `own`; marks are text in none."""
    found, now = list[bool](), marks[0]
    for token in ids:
        now = token if token in marks else now
        found.append(token not in marks and now == own)
    return found
