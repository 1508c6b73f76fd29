"""Beam search over the sequences of one model."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from simulst.models.decoding import Candidate, Rules, Run, Step


def beam_search(run: Run, step: Step, rules: Rules, *, beams: int) -> list[Candidate]:
    """Up to `beams` sequences, best mean log-probability first; a row is that of the beam the token was taken from.

    The search is over once as many sequences have ended: longer ones would win by repeating themselves, since what is
    said again is likelier each time.
    """
    live, finished = [Candidate()], list[Candidate]()
    while live and len(live[0].ids) < rules.max_new:
        log_probs = rules.log_probs(step.logits, [one.ids for one in live])
        parents, tokens, grown, rows = list[int](), list[int](), list[Candidate](), step.rows()
        for rank, (parent, token, logprob) in enumerate(_ranked(log_probs, live, 2 * beams)):
            if token == rules.eos:
                finished += [live[parent].ended(token, logprob)] if rank < beams else []
            elif len(grown) < beams:
                row = None if rows is None else rows[parent]
                grown.append(live[parent].extended(token, logprob, row))
                parents.append(parent)
                tokens.append(token)
        if not grown and not finished:
            live = [replace(one, stop="repeat") for one in live]
            break
        live = grown if len(finished) < beams else []
        if live and len(live[0].ids) < rules.max_new:
            step = run.advance(tokens, parents)
    return sorted([*finished, *live], key=lambda one: -one.score)[:beams]


def _ranked(log_probs: Tensor, live: Sequence[Candidate], count: int) -> list[tuple[int, int, float]]:
    """The `count` best (sequence, token, log-probability) by total log-probability, impossible ones left out."""
    totals = log_probs + torch.tensor([[one.total] for one in live], device=log_probs.device)
    values, indices = totals.flatten().topk(min(count, totals.numel()))
    size, own = log_probs.shape[1], log_probs.flatten()[indices]
    found = torch.stack((values.double(), indices.double(), own.double())).tolist()
    return [(*divmod(int(i), size), p) for v, i, p in zip(*found, strict=True) if v > -np.inf]
