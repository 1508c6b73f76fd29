"""Word alignments of sentence pairs, for deciding when a target word may be written.

`eflomal` is used where the package is installed. Without it a small statistical aligner of our own runs: IBM model 2
with the diagonal prior of fast_align (Dyer et al. 2013), estimated in both directions and joined by grow-diag. It knows
no morphology and needs some ten thousand pairs to be of use.
"""

import importlib.util
import re
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from simulst.errors import DataError

Pair = tuple[Sequence[str], Sequence[str]]
Method = Literal["auto", "eflomal", "ibm2"]
"""auto: eflomal where it is installed, else ibm2."""
Links = frozenset[tuple[int, int]]
"""(source word, target word), both counted from 0."""

DIAGONAL = 4.0
"""How strongly words are expected at the same relative place."""
NULL = 0.08
"""Prior of a word that has no counterpart."""
FLOOR = 1e-9

_TRIM = re.compile(r"^\W+|\W+$")


def words(text: str) -> list[str]:
    """Words as they are aligned: cut at spaces, lower-case, punctuation at both ends left off where letters remain."""
    return [_TRIM.sub("", word.lower()) or word for word in text.split()]


def align(pairs: Sequence[Pair], method: Method = "auto", *, iterations: int = 5) -> list[Links]:
    """Links of every pair of word lists; DataError where eflomal is asked for and not installed."""
    installed = importlib.util.find_spec("eflomal") is not None
    if method == "eflomal" and not installed:
        raise DataError("The aligner eflomal is not installed; run `pip install eflomal` or use method ibm2.")
    if method == "eflomal" or (method == "auto" and installed):
        return _eflomal(pairs)
    forward = _estimate(pairs, iterations)
    backward = _estimate([(target, source) for source, target in pairs], iterations)
    return [
        grow_diag(
            {(s, t) for t, s in enumerate(there) if s is not None},
            {(s, t) for s, t in enumerate(back) if t is not None},
        )
        for there, back in zip(forward, backward, strict=True)
    ]


def latest_source_words(links: Iterable[tuple[int, int]], source: int, target: int) -> list[int]:
    """For each target word the source word (from 0) that has to be heard before it, never falling.

    The latest word it is linked to, a running maximum over the words before it (a translation is written in order); a
    word without links waits with the word after it. The last target word waits for the last source word.
    """
    if not target or not source:
        return [0] * target
    latest: list[int | None] = [None] * target
    for s, t in links:
        before = latest[t]
        latest[t] = s if before is None else max(before, s)
    needed = source - 1
    latest[-1] = needed
    for t in reversed(range(target)):
        found = latest[t]
        latest[t] = needed = needed if found is None else found
    return [int(one) for one in np.maximum.accumulate(np.array(latest, dtype=np.int64))]


def grow_diag(forward: set[tuple[int, int]], backward: set[tuple[int, int]]) -> Links:
    """The intersection of two alignments, grown by links of their union that touch it and cover a new word."""
    union, joined = forward | backward, forward & backward
    grown = True
    while grown:
        grown = False
        for s, t in sorted(union - joined):
            near = any((s + a, t + b) in joined for a in (-1, 0, 1) for b in (-1, 0, 1))
            free = all(one != s for one, _ in joined) or all(one != t for _, one in joined)
            if near and free:
                joined = joined | {(s, t)}
                grown = True
    return frozenset(joined)


def _estimate(pairs: Sequence[Pair], iterations: int) -> list[list[int | None]]:
    """For each target word of each pair the source word it most likely comes from, None for no word."""
    if not any(len(source) and len(target) for source, target in pairs):
        return [[None] * len(target) for _, target in pairs]
    source_ids, target_ids = _numbers(pair[0] for pair in pairs), _numbers(pair[1] for pair in pairs)
    left, right, prior, group, lengths = _links(source_ids, target_ids)
    size = int(right.max()) + 1
    keys, key = np.unique(left * size + right, return_inverse=True)
    of_source = keys // size
    table = np.ones(len(keys))
    for _ in range(iterations):
        joint = table[key] * prior
        posterior = joint / np.maximum(np.bincount(group, joint), FLOOR)[group]
        counts = np.bincount(key, posterior, minlength=len(keys))
        table = counts / np.maximum(np.bincount(of_source, counts), FLOOR)[of_source]
    joint = table[key] * prior
    return _best(joint, lengths)


def _numbers(sentences: Iterable[Sequence[str]]) -> list[npt.NDArray[np.int64]]:
    """Sentences as arrays of word numbers from 1 on (0 stands for no word)."""
    known: dict[str, int] = {}
    return [np.array([known.setdefault(w, len(known) + 1) for w in one], dtype=np.int64) for one in sentences]


def _links(
    sources: list[npt.NDArray[np.int64]], targets: list[npt.NDArray[np.int64]]
) -> tuple[
    npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float64], npt.NDArray[np.int64], list[tuple[int, int]]
]:
    """All possible links in one row: source word, target word, prior, target word token; and the lengths of pairs."""
    left, right, prior, group, lengths, tokens = [], [], [], [], [], 0
    for source, target in zip(sources, targets, strict=True):
        m, n = len(source), len(target)
        lengths.append((m, n))
        if not n:
            continue
        place = np.abs((np.arange(n)[:, None] + 0.5) / n - (np.arange(m)[None] + 0.5) / max(1, m))
        weight = np.exp(-DIAGONAL * place)
        weight *= (1 - NULL) / np.maximum(weight.sum(axis=1, keepdims=True), FLOOR)
        left.append(np.tile(np.concatenate(([0], source)), n))
        right.append(np.repeat(target, m + 1))
        prior.append(np.concatenate((np.full((n, 1), NULL), weight), axis=1).ravel())
        group.append(np.repeat(np.arange(tokens, tokens + n), m + 1))
        tokens += n
    return np.concatenate(left), np.concatenate(right), np.concatenate(prior), np.concatenate(group), lengths


def _best(joint: npt.NDArray[np.float64], lengths: list[tuple[int, int]]) -> list[list[int | None]]:
    found, at = list[list[int | None]](), 0
    for m, n in lengths:
        block = joint[at : at + n * (m + 1)].reshape(n, m + 1)
        at += n * (m + 1)
        found.append([int(one) - 1 if one else None for one in block.argmax(axis=1)] if n else [])
    return found


def _eflomal(pairs: Sequence[Pair]) -> list[Links]:
    from eflomal import Aligner

    with tempfile.TemporaryDirectory() as folder:
        forward, backward = Path(folder) / "forward", Path(folder) / "backward"
        source, target = ("".join(" ".join(pair[i]) + "\n" for pair in pairs).splitlines(True) for i in (0, 1))
        Aligner().align(source, target, links_filename_fwd=str(forward), links_filename_rev=str(backward), quiet=True)
        return [
            grow_diag(_parsed(one), _parsed(other))
            for one, other in zip(forward.read_text().splitlines(), backward.read_text().splitlines(), strict=True)
        ]


def _parsed(line: str) -> set[tuple[int, int]]:
    return {(int(s), int(t)) for s, t in (link.split("-") for link in line.split())}
