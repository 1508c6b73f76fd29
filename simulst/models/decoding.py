"""Greedy, beam and sampled decoding after a forced prefix, one token at a time, with each token's attention row.

The loop knows no model: a `Run` is a batch of sequences that share source and prefix; it is fed one token per sequence
and answers with the scores of the next one. Rows are *predicting* rows: the query that produced the token's scores.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from simulst.core.favoured import Favoured
from simulst.core.translator import Alignment, Bias, FloatArray, Gate, Hypothesis, TokenStep
from simulst.errors import ModelError

Stop = Literal["eos", "length", "gate", "repeat"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Step:
    """What is known about the next token of every sequence of the batch."""

    logits: Tensor
    """[sequences, vocabulary]"""
    weights: Tensor | None = None
    """The attention that produced the logits, [sequences, frames], or [sequences, heads, frames] where every head is
    wanted, where the model computes; None where nobody asked for alignment."""
    p_choose: Tensor | None = None
    """Probability that the next token may be written, a number; None where nobody asked, and for several sequences."""

    def rows(self) -> FloatArray | None:
        """The same as an array."""
        return None if self.weights is None else self.weights.cpu().numpy()


class Run(Protocol):
    """One batch of sequences after the same prefix."""

    def advance(self, tokens: Sequence[int], parents: Sequence[int]) -> Step:
        """Continue sequence `parents[i]` with `tokens[i]`; the batch then has `len(tokens)` sequences."""
        ...


@runtime_checkable
class Picking(Protocol):
    """A `Run` of one sequence of which the next token can be looked at where it is computed, beside other streams."""

    def advance_picking(self, token: int, pick: Callable[[Step], Tensor]) -> tuple[Step, FloatArray]:
        """Continue with a token; the step, and the numbers [n] that `pick` takes of it."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Rules:
    """What may be generated."""

    eos: int
    max_new: int
    suppress: Tensor | None = None
    """[vocabulary] bool: never generated."""
    suppress_first: Sequence[int] = ()
    """Not generated as the first new token."""
    no_repeat_ngram: int = 0
    """No n-gram of this length comes twice in `recent` plus the new tokens; 0 turns the rule off."""
    recent: tuple[int, ...] = ()
    """The last committed ids that count for `no_repeat_ngram`."""
    favoured: Favoured | None = None
    """Terms whose tokens are made likelier."""

    def log_probs(self, logits: Tensor, sequences: Sequence[Sequence[int]]) -> Tensor:
        """Log-probabilities [sequences, vocabulary] over what is allowed after each sequence of new ids."""
        refuse_nan(bool(torch.isnan(logits).any()))
        return self.allowed(logits, sequences)

    def allowed(self, logits: Tensor, sequences: Sequence[Sequence[int]]) -> Tensor:
        """The same for scores that are known to be numbers, or will be."""
        scores = logits.float()
        if self.suppress is not None:
            scores = scores.masked_fill(self.suppress, -torch.inf)
        if self.favoured is not None:
            scores = self._raised(scores, sequences, self.favoured)
        for i, ids in enumerate(sequences):
            banned = [*self._repeats(ids), *(self.suppress_first if not ids else ())]
            if banned:
                scores = scores.clone() if self.suppress is None else scores
                scores[i, banned] = -torch.inf
        log_probs = torch.log_softmax(scores, dim=-1)
        return log_probs.masked_fill(torch.isnan(log_probs), -torch.inf)  # NaN where nothing is allowed

    @staticmethod
    def _raised(scores: Tensor, sequences: Sequence[Sequence[int]], favoured: Favoured) -> Tensor:
        """Scores with those of favoured tokens raised."""
        raised = scores.clone()
        for i, ids in enumerate(sequences):
            if boosts := favoured.boosts(ids):
                tokens = torch.tensor(list(boosts), device=scores.device)
                raised[i, tokens] += torch.tensor(list(boosts.values()), device=scores.device)
        return raised

    def _repeats(self, ids: Sequence[int]) -> set[int]:
        n = self.no_repeat_ngram
        text = [*self.recent, *ids]
        if n <= 0 or len(text) < n:
            return set()
        last = text[len(text) - n + 1 :]
        starts = (i for i in range(len(text) - n + 1) if text[i : i + n - 1] == last)
        return {text[i + n - 1] for i in starts} - {self.eos}


def refuse_nan(found: bool) -> None:
    """ModelError where scores that are no numbers were found."""
    if found:
        raise ModelError("The model computed NaN scores; load it with dtype=float32 or check its weights.")


@dataclass(frozen=True, kw_only=True, eq=False)
class Candidate:
    """A sequence of new tokens with what is known about each."""

    ids: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    rows: tuple[FloatArray, ...] = ()
    total: float = 0.0
    """Sum of the log-probabilities, the end-of-sequence token included."""
    stop: Stop = "length"
    next_id: int | None = None
    feeds: bool = field(default=True, repr=False)

    @property
    def score(self) -> float:
        """Mean log-probability per token, the end-of-sequence token counted when it was predicted."""
        return self.total / max(1, len(self.ids) + (self.stop == "eos"))

    def extended(self, token: int, logprob: float, row: FloatArray | None) -> "Candidate":
        rows = self.rows if row is None else (*self.rows, row)
        ids, logprobs = (*self.ids, token), (*self.logprobs, logprob)
        return replace(self, ids=ids, logprobs=logprobs, rows=rows, total=self.total + logprob)

    def ended(self, eos: int, logprob: float) -> "Candidate":
        return replace(self, total=self.total + logprob, stop="eos", next_id=eos)

    def gated(self, gate: Gate, n_valid: int) -> "Candidate":
        """The part that a gate lets through, when it is asked after decoding instead of during it."""
        for i, token in enumerate(self.ids):
            row = self.rows[i] if self.rows else None
            verdict = gate(_seen(i, token, self.logprobs[i], row, n_valid))
            if verdict != "continue":
                keep = i + (verdict == "stop_keep")
                return self.cut(keep, next_id=token if verdict == "stop_drop" else None)
        return self

    def cut(self, keep: int, next_id: int | None) -> "Candidate":
        """The first `keep` tokens, ended by a gate."""
        logprobs = self.logprobs[:keep]
        return Candidate(
            ids=self.ids[:keep],
            logprobs=logprobs,
            rows=self.rows[:keep],
            total=sum(logprobs),
            stop="gate",
            next_id=next_id,
        )


def _seen(
    index: int, token: int, logprob: float, row: FloatArray | None, n_valid: int, p_choose: Tensor | None = None
) -> TokenStep:
    """What a gate is shown: the mean row where there is one per head."""
    weights = row.mean(axis=0) if row is not None and row.ndim == 2 else row
    p = None if p_choose is None else float(p_choose)
    return TokenStep(index=index, token=token, logprob=logprob, weights=weights, n_valid=n_valid, p_choose=p)


def greedy(
    run: Run, step: Step, rules: Rules, *, gate: Gate | None = None, bias: Bias | None = None, n_valid: int = 0
) -> Candidate:
    """The likeliest token each time; the gate is asked before a token is appended, and a bias is followed."""
    best, choice = Candidate(), Choice(rules=rules, bias=bias)
    picking = run if isinstance(run, Picking) else None
    host: FloatArray | None = None
    while len(best.ids) < rules.max_new:
        token, logprob, row = choice.read(choice.pick(step).cpu().numpy() if host is None else host, step)
        if logprob == -np.inf:
            return replace(best, stop="repeat")
        if token == rules.eos:
            return best.ended(token, logprob)
        if gate is not None:
            verdict = gate(_seen(len(best.ids), token, logprob, row, n_valid, step.p_choose))
            if verdict == "stop_drop":
                return replace(best, stop="gate", next_id=token)
            if verdict == "stop_keep":
                return replace(best.extended(token, logprob, row), stop="gate")
        best = best.extended(token, logprob, row)
        choice = replace(choice, ids=best.ids)
        if len(best.ids) < rules.max_new and picking is not None:
            step, host = picking.advance_picking(token, choice.pick)
        elif len(best.ids) < rules.max_new:
            step = run.advance([token], [0])
    return best


@dataclass(frozen=True, kw_only=True, eq=False)
class Choice:
    """The likeliest token after `ids`, of the mixture with the biased text while they follow that."""

    rules: Rules
    bias: Bias | None = None
    ids: tuple[int, ...] = ()

    @property
    def shown(self) -> int | None:
        """The token of the biased text that comes next."""
        bias, count = self.bias, len(self.ids)
        if bias is None or count >= len(bias.ids) or self.ids != bias.ids[:count]:
            return None
        return bias.ids[count]

    def pick(self, step: Step) -> Tensor:
        """All that is asked of the device, in one piece [n], for `read`."""
        shown = self.rules.eos if self.shown is None else self.shown
        with torch.inference_mode():
            log_probs = self.rules.allowed(step.logits[:1], [self.ids])[0]
            best, token = log_probs.max(dim=-1)
            few = torch.stack((token.float(), best, log_probs[shown], torch.isnan(step.logits).any().float()))
            return few if step.weights is None else torch.cat((few, step.weights[0].flatten().float()))

    def read(self, host: FloatArray, step: Step) -> tuple[int, float, FloatArray | None]:
        """The token, its log-probability and the row; ModelError where scores are no numbers."""
        refuse_nan(bool(host[3]))
        row = None if step.weights is None else host[4:].reshape(step.weights.shape[1:])
        likeliest, logprob, of_shown = int(host[0]), float(host[1]), float(host[2])
        shown = self.shown
        if self.bias is None or shown is None or of_shown == -np.inf:
            return likeliest, logprob, row
        weight = self.bias.weight
        mixed = (1 - weight) * float(np.exp(host[2])) + weight
        if mixed >= (1 - weight) * float(np.exp(host[1])):
            return shown, of_shown, row
        return likeliest, logprob, row


def sample(
    run: Run, step: Step, rules: Rules, *, count: int, seed: int, top_p: float = 1.0, temperature: float = 1.0
) -> list[Candidate]:
    """`count` sequences drawn independently from the nucleus of probability `top_p`; best score first."""
    generator = torch.Generator().manual_seed(seed)
    drawn = [Candidate() for _ in range(count)]
    parents = [0] * count
    while any(one.feeds for one in drawn):
        logits = step.logits[torch.tensor(parents, device=step.logits.device)]
        log_probs = rules.log_probs(logits, [one.ids for one in drawn])
        log_probs, rows = log_probs.cpu(), step.rows()
        tokens = _draw(log_probs, generator, top_p=top_p, temperature=temperature)
        for i, one in enumerate(drawn):
            row = None if rows is None else rows[parents[i]]
            drawn[i] = _continued(one, tokens[i], float(log_probs[i, tokens[i]]), row, rules)
        if any(one.feeds for one in drawn):
            step = run.advance(tokens, parents)
            parents = list(range(count))
    return sorted(drawn, key=lambda one: -one.score)


def _continued(one: Candidate, token: int, logprob: float, row: FloatArray | None, rules: Rules) -> Candidate:
    """The sequence after a drawn token; one that has ended stays as it is while the others go on."""
    if not one.feeds:
        return one
    if len(one.ids) >= rules.max_new:
        return replace(one, feeds=False)
    if logprob == -np.inf:
        return replace(one, stop="repeat", feeds=False)
    if token == rules.eos:
        return replace(one.ended(token, logprob), feeds=False)
    grown = one.extended(token, logprob, row)
    return replace(grown, feeds=len(grown.ids) < rules.max_new)


def _draw(log_probs: Tensor, generator: torch.Generator, *, top_p: float, temperature: float) -> list[int]:
    scaled = log_probs / temperature
    probabilities = torch.softmax(scaled, dim=-1).nan_to_num(0.0)
    ordered, order = probabilities.sort(dim=-1, descending=True, stable=True)
    outside = ordered.cumsum(dim=-1) - ordered >= top_p
    outside[:, 0] = False
    ordered = ordered.masked_fill(outside, 0.0)
    ordered[:, 0] += ordered.sum(dim=-1) == 0  # nothing is allowed: the caller sees its -inf and stops
    picks = torch.multinomial(ordered, 1, generator=generator)
    return [int(token) for token in order.gather(-1, picks)[:, 0]]


def to_hypothesis(
    found: Candidate,
    *,
    history: FloatArray | None,
    n_valid: int,
    frame_s: float,
    start_s: float,
    logprobs: bool,
    marks: FloatArray | None = None,
) -> Hypothesis:
    """A candidate as policies see it; `history` are the rows of the forced prefix, as `Step.weights`, and `marks` those
    before it, [heads, marks, frames]."""
    alignment = None
    if history is not None:
        new = np.stack(found.rows) if found.rows else np.zeros((0, *history.shape[1:]), dtype=np.float32)
        rows = np.concatenate([history, new])
        alignment = Alignment(
            weights=rows if rows.ndim == 2 else rows.mean(axis=1),
            heads=None if rows.ndim == 2 else rows.transpose(1, 0, 2),
            history=len(history),
            n_valid=n_valid,
            frame_s=frame_s,
            start_s=start_s,
            marks=marks,
        )
    return Hypothesis(
        ids=found.ids,
        stop=found.stop,
        next_id=found.next_id,
        logprobs=found.logprobs if logprobs else None,
        alignment=alignment,
        score=found.score,
    )
