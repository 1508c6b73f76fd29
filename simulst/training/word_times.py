"""When each source word of a training sentence is over, in speech vectors: forced CTC alignment, or spread evenly."""

from collections.abc import Callable, Sequence

import numpy as np

from simulst.audio.samples import FloatArray as FloatArray


def word_starts(ids: Sequence[int], starts_word: Callable[[int], bool]) -> list[int]:
    """Index of the first token of each word; the first token always opens one."""
    return [i for i, token in enumerate(ids) if i == 0 or starts_word(token)]


def forced_alignment(log_probs: FloatArray, tokens: Sequence[int], blank: int) -> list[int] | None:
    """The frame in which each token is emitted last on the best CTC path; None when there are too few frames.

    `log_probs` [frames, vocabulary]; equal neighbours need a blank between them.
    """
    frames, count = len(log_probs), len(tokens)
    if not count:
        return []
    states = np.full(2 * count + 1, blank, dtype=np.int64)
    states[1::2] = tokens
    emit = log_probs[:, states]
    skips = np.zeros(len(states), dtype=bool)
    skips[3::2] = states[3::2] != states[1:-2:2]
    score = np.full(len(states), -np.inf, dtype=np.float32)
    score[:2] = emit[0, :2]
    back = np.zeros((frames, len(states)), dtype=np.int8)
    for t in range(1, frames):
        options = np.stack((score, np.r_[-np.inf, score[:-1]], np.r_[-np.inf, -np.inf, score[:-2]]))
        options[2, ~skips] = -np.inf
        back[t] = options.argmax(axis=0)
        score = options.max(axis=0) + emit[t]
    state = len(states) - 1 if score[-1] >= score[-2] else len(states) - 2
    if not np.isfinite(score[state]):
        return None
    last = [-1] * count
    for t in reversed(range(frames)):
        if state % 2 and last[state // 2] < 0:
            last[state // 2] = t
        state -= int(back[t, state])
    return last


def ends_by_ctc(
    log_probs: FloatArray, ids: Sequence[int], blank: int, starts_word: Callable[[int], bool]
) -> list[int] | None:
    """Frames after which each word of `ids` is over: one after the last emission of its last token."""
    last = forced_alignment(log_probs, ids, blank)
    if last is None:
        return None
    starts = word_starts(ids, starts_word)
    return [last[end - 1] + 1 for end in [*starts[1:], len(ids)]] if ids else []


def ends_by_length(lengths: Sequence[int], begin: float, end: float) -> list[int]:
    """Frames after which each word is over, by its letters, spread evenly between `begin` and `end`."""
    if not lengths:
        return []
    share = np.cumsum([max(1, one) for one in lengths]) / sum(max(1, one) for one in lengths)
    return [int(np.ceil(begin + (end - begin) * one)) for one in share]
