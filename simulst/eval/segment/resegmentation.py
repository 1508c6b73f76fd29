"""mWER resegmentation: cut one hypothesis stream into as many segments as the reference has, with least word errors.

Matusov et al. 2005, "Evaluating Machine Translation Output with Automatic Sentence Segmentation"; unit costs, ties and
back pointers as in mweralign 1.4.1, so that the cuts are the same. Exact by default; `band` restricts each word to the
segments near its emission time and widens until the path keeps clear of the border.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int32]
_FAR = 1 << 29


@dataclass(frozen=True, kw_only=True)
class Band:
    """A word emitted at e may lie in the segments that start between e - back and e + ahead."""

    back_ms: float = 60_000.0
    ahead_ms: float = 5_000.0


def segment_ends(
    hypothesis: Sequence[str],
    references: Sequence[Sequence[str]],
    *,
    band: Band | None = None,
    emission_ms: Sequence[float] = (),
    offsets_ms: Sequence[float] = (),
) -> list[int]:
    """For each reference segment the number of hypothesis tokens up to its end; non-decreasing, the last is all.

    Tokens are compared with A-Z and a-z equal and everything else exact (see docs/metrics.md). Segments may be empty.
    Cost is O(tokens x tokens); memory 4 bytes x tokens x segments. With `band`, one emission time per token and one
    offset per segment are needed.
    """
    if not references:
        return []
    hyp, ref, ends = _as_ids(hypothesis, references)
    if band is None or not hypothesis:
        low, high = _everything(len(hypothesis), len(references))
        return list(map(int, _kernel()(hyp, ref, ends, low, high)))
    while True:
        low, high = _band_limits(band, emission_ms, offsets_ms)
        cuts = list(map(int, _kernel()(hyp, ref, ends, low, high)))
        if not _touches_border(cuts, low, high, len(references)):
            return cuts
        band = Band(back_ms=2 * band.back_ms, ahead_ms=2 * band.ahead_ms)


def fold_ascii_case(token: str) -> str:
    """Lower-case A-Z only, as the reference tools do ("Über" and "über" stay different)."""
    return token.translate(_ASCII_LOWER)


_ASCII_LOWER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}


def _as_ids(hypothesis: Sequence[str], references: Sequence[Sequence[str]]) -> tuple[Ints, Ints, Ints]:
    """Token ids of the hypothesis, and of the references as one row with -1 where a segment ends."""
    ids: dict[str, int] = {}

    def number(token: str) -> int:
        return ids.setdefault(fold_ascii_case(token), len(ids))

    row: list[int] = []
    ends: list[int] = []
    for segment in references:
        row.extend(map(number, segment))
        row.append(-1)
        ends.append(len(row))
    hyp = np.fromiter(map(number, hypothesis), dtype=np.int32, count=len(hypothesis))
    return hyp, np.array(row, dtype=np.int32), np.array(ends, dtype=np.int32)


def _everything(tokens: int, segments: int) -> tuple[Ints, Ints]:
    return np.zeros(tokens + 1, dtype=np.int32), np.full(tokens + 1, segments - 1, dtype=np.int32)


def _band_limits(band: Band, emission_ms: Sequence[float], offsets_ms: Sequence[float]) -> tuple[Ints, Ints]:
    """First and last segment that each row of the table may use, [tokens + 1], non-decreasing."""
    offsets = np.maximum.accumulate(np.asarray(offsets_ms, dtype=np.float64))
    emission = np.asarray(emission_ms, dtype=np.float64)
    last = len(offsets) - 1
    low = np.searchsorted(offsets, emission - band.back_ms, side="left")
    high = np.searchsorted(offsets, emission + band.ahead_ms, side="right") - 1
    low = np.minimum.accumulate(np.clip(low, 0, last)[::-1])[::-1]
    high = np.maximum.accumulate(np.clip(high, low, last))
    high[:-1] = np.maximum(high[:-1], low[1:])  # after a silence the path must get from one word to the next
    low = np.concatenate(([0], low))
    high = np.concatenate(([last], high))
    high[-1] = last
    return low.astype(np.int32), high.astype(np.int32)


def _touches_border(cuts: Sequence[int], low: Ints, high: Ints, segments: int) -> bool:
    start = 0
    for segment, end in enumerate(cuts):
        for row in range(start + 1, end + 1):
            if (segment == low[row] and segment > 0) or (segment == high[row] and segment < segments - 1):
                return True
        start = end
    return False


@cache
def _kernel() -> Callable[..., Ints]:
    from simulst.eval.segment.compile import compiled

    return compiled(_fill_table)


def _fill_table(hyp: Ints, ref: Ints, ends: Ints, low: Ints, high: Ints) -> Ints:
    """Dynamic programming over hypothesis tokens (rows) and reference positions (columns, -1 = end of a segment).

    Position p of the text is column p + 1 here; column 0 is the start. A cell packs its cost (upper 32 bits) and the
    number of tokens before the segment it is in (lower 32), so that one comparison carries both. `starts[j, s]` is
    where segment s begins if it ends after token j.
    """
    tokens, positions, segments = hyp.shape[0], ref.shape[0], ends.shape[0]
    one = np.int64(1) << np.int64(32)
    tokens_before = one - 1
    row = np.arange(positions + 1) * one  # end marks cost 1 in the first row, as in the reference tools
    best = np.empty(positions + 1, dtype=np.int64)  # of substitution and insertion
    starts = np.zeros((tokens + 1, segments), dtype=np.int32)
    for j in range(1, tokens + 1):
        word = hyp[j - 1]
        first = 0 if low[j] == 0 else ends[low[j] - 1]
        last = ends[high[j]]
        cells, texts, bests = row[first : last + 1], ref[first:last], best[first + 1 : last + 1]
        for p in range(last - first):  # from 0, so that the compiler sees no negative index and vectorises
            substitute = cells[p] + (one if texts[p] != word else 0)
            insert = cells[p + 1] + one
            bests[p] = substitute if (substitute >> 32) < (insert >> 32) else insert
        left = (j if first == 0 else _FAR) * one
        row[first] = left
        begin = first + 1
        for s in range(low[j], high[j] + 1):
            end = ends[s]
            for p in range(begin, end):
                left += one
                other = best[p]
                left = other if other < (left & ~tokens_before) else left  # a deletion wins ties
                row[p] = left
            starts[j, s] = left & tokens_before
            left = (left & ~tokens_before) | j
            row[end] = left
            begin = end + 1
        if j < tokens:
            for p in range(last + 1, ends[high[j + 1]] + 1):
                row[p] = _FAR * one
    cuts = np.empty(segments, dtype=np.int32)
    cuts[segments - 1] = tokens
    for s in range(segments - 1, 0, -1):
        cuts[s - 1] = starts[cuts[s], s]
    return cuts
