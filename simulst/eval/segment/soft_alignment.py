"""SoftSegmenter: align a hypothesis stream to reference units by similarity, then give every unit its segment.

Polák et al. 2025, "Better Late Than Never" (arXiv:2509.17349). The alignment maximises the summed similarity without
gap cost; ties prefer a match, then a skipped reference unit, then a skipped hypothesis unit, as in OmniSTEval 0.1.10.
One difference: a unit that OmniSTEval loses at the start of a recording (punctuation against a word) goes to the first
segment.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from simulst.eval.logs.units import Unit

PUNCTUATION = frozenset(".!?,;:-()。！？，；：—（）ー")
_MATCH, _SKIP_REFERENCE, _SKIP_HYPOTHESIS = 0, 1, 2


@dataclass(frozen=True, kw_only=True)
class ReferenceUnit:
    text: str
    """Normalised (lower case, NFKC)."""
    segment: int


def similarity(a: str, b: str, unit: Unit) -> float:
    """Jaccard index of character sets (words) or equality (characters); -inf between punctuation and other text."""
    if (a in PUNCTUATION) != (b in PUNCTUATION):
        return -np.inf
    if unit == "char":
        return float(a == b)
    common = len(set(a) & set(b))
    union = len(set(a)) + len(set(b)) - common
    return common / union if union else 0.0


def assign_segments(hypothesis: Sequence[str], references: Sequence[ReferenceUnit], unit: Unit) -> list[int]:
    """Segment of each hypothesis unit (normalised as the references are), non-decreasing; 0 when there is no reference.

    Time O(units x units), memory a quarter of a byte per pair.
    """
    if not references or not hypothesis:
        return [0] * len(hypothesis)
    partners = _align(hypothesis, [reference.text for reference in references], unit)
    return _close_gaps(hypothesis, references, partners, unit)


def _close_gaps(
    hypothesis: Sequence[str], references: Sequence[ReferenceUnit], partners: Sequence[tuple[int, int]], unit: Unit
) -> list[int]:
    """Segments from the aligned pairs (reference, hypothesis), -1 for a gap on either side.

    A unit next to a gap goes to the neighbour in the alignment that is more like it, the earlier one on ties; once one
    went to the later neighbour, the rest of the gap follows.
    """
    segments = [0] * len(hypothesis)
    following = _next_reference(partners)
    last: ReferenceUnit | None = None
    ahead = False
    for (r, h), n in zip(partners, following, strict=True):
        if r >= 0:
            last, ahead = references[r], False
        if h < 0:
            continue
        if r < 0 and not ahead:
            upcoming = references[n] if n >= 0 else None
            ahead = upcoming is not None and _score(hypothesis[h], upcoming, unit) > _score(hypothesis[h], last, unit)
            if ahead or last is None:
                segments[h] = references[n].segment
                continue
        segments[h] = last.segment if last is not None and not ahead else references[n].segment
    return segments


def _score(text: str, reference: ReferenceUnit | None, unit: Unit) -> float:
    return -np.inf if reference is None else similarity(text, reference.text, unit)


def _next_reference(partners: Sequence[tuple[int, int]]) -> list[int]:
    following, upcoming = [-1] * len(partners), -1
    for position in range(len(partners) - 1, -1, -1):
        if partners[position][0] >= 0:
            upcoming = partners[position][0]
        following[position] = upcoming
    return following


def _align(hypothesis: Sequence[str], references: Sequence[str], unit: Unit) -> list[tuple[int, int]]:
    hyp_ids, hyp_words = _vocabulary(hypothesis)
    ref_ids, ref_words = _vocabulary(references)
    common, hyp_sizes, ref_sizes = _shared_characters(hyp_words, ref_words, unit)
    moves = _kernel()(
        hyp_ids,
        ref_ids,
        common,
        hyp_sizes,
        ref_sizes,
        np.array([word in PUNCTUATION for word in hyp_words]),
        np.array([word in PUNCTUATION for word in ref_words]),
    )
    return _trace(moves, len(hypothesis), len(references))


def _vocabulary(texts: Sequence[str]) -> tuple[npt.NDArray[np.int32], list[str]]:
    ids: dict[str, int] = {}
    row = np.fromiter((ids.setdefault(text, len(ids)) for text in texts), dtype=np.int32, count=len(texts))
    return row, list(ids)


def _shared_characters(
    hypothesis: Sequence[str], references: Sequence[str], unit: Unit
) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Characters that two texts share, [hypothesis, references], and how many each has; a character unit is one."""
    if unit == "char":
        numbers, _ = _vocabulary([*hypothesis, *references])
        split = len(hypothesis)
        equal = (numbers[:split, None] == numbers[None, split:]).astype(np.uint16)
        return equal, np.ones(split, dtype=np.int64), np.ones(len(references), dtype=np.int64)
    columns = {character: k for k, character in enumerate(sorted(set("".join((*hypothesis, *references)))))}
    hyp_sets, ref_sets = (_incidence(words, columns) for words in (hypothesis, references))
    blocks = [(block @ ref_sets.T).astype(np.uint16) for block in np.array_split(hyp_sets, 16)]
    sizes = (sets.sum(axis=1).astype(np.int64) for sets in (hyp_sets, ref_sets))
    return np.concatenate(blocks), *sizes


def _incidence(words: Sequence[str], columns: dict[str, int]) -> npt.NDArray[np.float32]:
    """Which word holds which character, [words, characters]."""
    matrix = np.zeros((len(words), len(columns)), dtype=np.float32)
    for index, word in enumerate(words):
        matrix[index, [columns[character] for character in set(word)]] = 1.0
    return matrix


def _trace(moves: npt.NDArray[np.uint8], j: int, i: int) -> list[tuple[int, int]]:
    pairs = []
    while i > 0 or j > 0:
        if i == 0:
            move = _SKIP_HYPOTHESIS
        elif j == 0:
            move = _SKIP_REFERENCE
        else:
            move = (int(moves[j - 1, (i - 1) >> 2]) >> (2 * ((i - 1) & 3))) & 3
        i -= move != _SKIP_HYPOTHESIS
        j -= move != _SKIP_REFERENCE
        pairs.append((-1 if move == _SKIP_HYPOTHESIS else i, -1 if move == _SKIP_REFERENCE else j))
    return pairs[::-1]


@cache
def _kernel() -> Callable[..., npt.NDArray[np.uint8]]:
    from simulst.eval.segment.compile import compiled

    return compiled(_fill_table)


def _fill_table(
    hyp: npt.NDArray[np.int32],
    ref: npt.NDArray[np.int32],
    common: npt.NDArray[np.uint16],
    hyp_sizes: npt.NDArray[np.int64],
    ref_sizes: npt.NDArray[np.int64],
    hyp_punctuation: npt.NDArray[np.bool_],
    ref_punctuation: npt.NDArray[np.bool_],
) -> npt.NDArray[np.uint8]:
    """Moves of the dynamic programming, two bits each, [hypothesis, ceil(reference / 4)].

    `common` [hypothesis vocabulary, reference vocabulary] counts shared symbols. `score` holds one row of the table.
    """
    rows, columns, words = hyp.shape[0], ref.shape[0], ref_sizes.shape[0]
    like = np.empty(words, dtype=np.float64)
    before = np.zeros(columns + 1, dtype=np.float64)  # column 0 never earns anything
    score = np.zeros(columns + 1, dtype=np.float64)
    match = np.empty(columns, dtype=np.float64)
    move = np.zeros((columns + 3) // 4 * 4, dtype=np.uint8)
    moves = np.empty((rows, (columns + 3) // 4), dtype=np.uint8)
    for j in range(rows):
        word = hyp[j]
        for v in range(words):
            shared = common[word, v]
            union = hyp_sizes[word] + ref_sizes[v] - shared
            value = shared / union if union > 0 else 0.0
            like[v] = -np.inf if ref_punctuation[v] != hyp_punctuation[word] else value
        for i in range(columns):
            match[i] = before[i] + like[ref[i]]
        left = 0.0
        for i in range(columns):
            left = max(left, max(match[i], before[i + 1]))
            score[i + 1] = left
        for i in range(columns):
            skip = 1 if score[i] >= before[i + 1] else 2
            move[i] = 0 if match[i] >= score[i] and match[i] >= before[i + 1] else skip
        for k in range(moves.shape[1]):
            moves[j, k] = move[4 * k] | move[4 * k + 1] << 2 | move[4 * k + 2] << 4 | move[4 * k + 3] << 6
        before, score = score, before
    return moves
