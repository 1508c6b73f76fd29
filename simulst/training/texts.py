"""Files of sentence pairs: what is read of each, how much of it, and what is held back for development."""

import csv
import gzip
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Protocol

from simulst.errors import DataError

SCORE, GROUP = 2, 3
"""Optional columns after both languages: how sure the aligner was, and the book."""


@dataclass(frozen=True, kw_only=True)
class TextSource:
    """A tab-separated file (or .gz) of `source<TAB>target[<TAB>score[<TAB>group]]` and what is taken of it."""

    path: str
    weight: float = 1.0
    """How often one of its sentences is drawn, next to one of weight 1."""
    spoken: float = 1.0
    """Share of its sentences that the synthesisers speak."""
    ordered: bool = False
    """Whether neighbouring lines follow each other in a text, so that runs of them are read as they stand."""
    min_score: float = 0.0
    max_words: int = 0
    """Of either side; 0: no limit."""
    max_ratio: float = 0.0
    """Longest length of one side in characters, as a multiple of the other's; 0: no limit."""
    without: str = ""
    """Pairs that hold one of these characters are left out (marks of a markup, say)."""
    held_groups: tuple[str, ...] = ()
    """Groups (books) that are kept for development."""
    held_last: int = 0
    """Lines at the end of the file that are kept for development."""
    swapped: bool = False
    """Whether the target language stands first."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One line of a file."""

    source: str
    target: str
    score: float = 1.0
    group: str = ""


def _opened(path: Path) -> IO[str]:
    return gzip.open(path, "rt", encoding="utf-8", newline="") if path.suffix == ".gz" else path.open(encoding="utf-8")


def read_pairs(path: Path, *, swapped: bool = False) -> Iterator[Pair]:
    """Every line of a file, `swapped` where the target stands first; DataError with file and line for what is wrong."""
    if not path.is_file():
        raise DataError(f"{path} does not exist; name a tab-separated file of sentences in both languages.")
    with _opened(path) as lines:
        for number, row in enumerate(csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE), 1):
            if not 2 <= len(row) <= 4:
                raise DataError(
                    f"{path}:{number} has {len(row)} columns; two to four are expected, both languages first."
                )
            try:
                score = float(row[SCORE]) if len(row) > SCORE else 1.0
            except ValueError:
                raise DataError(f"{path}:{number} has {row[SCORE]!r} where a score is expected.") from None
            source, target = row[1::-1] if swapped else row[:2]
            yield Pair(source=source, target=target, score=score, group=row[GROUP] if len(row) > GROUP else "")


def fits(pair: Pair, source: TextSource) -> bool:
    """Whether the limits of a source let a pair pass."""
    if pair.score < source.min_score or any(sign in pair.source + pair.target for sign in source.without):
        return False
    if source.max_words and max(len(pair.source.split()), len(pair.target.split())) > source.max_words:
        return False
    shorter, longer = sorted((len(pair.source), len(pair.target)))
    return not source.max_ratio or longer <= source.max_ratio * max(8, shorter)


def training_pairs(path: Path, source: TextSource) -> list[Pair]:
    """What training may see of a file."""
    return [pair for pair, held in _held(path, source) if not held and fits(pair, source)]


def held_pairs(path: Path, source: TextSource, count: int, seed: int = 0) -> list[Pair]:
    """At most `count` of the pairs held back, drawn at random but the same ones every time."""
    held = [pair for pair, is_held in _held(path, source) if is_held and fits(pair, source)]
    return random.Random(seed).sample(held, min(count, len(held)))


def _held(path: Path, source: TextSource) -> Iterable[tuple[Pair, bool]]:
    pairs = list(read_pairs(path, swapped=source.swapped))
    last = len(pairs) - source.held_last
    return ((pair, number >= last or pair.group in source.held_groups) for number, pair in enumerate(pairs))


class Encoder(Protocol):
    """What is needed of a SentencePiece processor."""

    def encode(self, text: str, /) -> list[int]: ...


@dataclass(frozen=True)
class Part:
    """Sentences [first, end) of a corpus that came from one file."""

    first: int
    end: int
    weight: float
    ordered: bool
    spoken: float


@dataclass
class Corpus:
    """Sentence pairs as token ids; sentence k is the k-th different source sentence of all files."""

    source: list[list[int]] = field(default_factory=list)
    target: list[list[list[int]]] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)

    @classmethod
    def of(cls, sources: Sequence[tuple[TextSource, Path]], vocabulary: Encoder) -> "Corpus":
        """Several files one after the other; a sentence that an earlier file has keeps its number there."""
        corpus = cls()
        for part, sentences in grouped(sources):
            for said, translations in sentences.items():
                corpus.source.append(vocabulary.encode(said))
                corpus.target.append([vocabulary.encode(one) for one in translations])
            corpus.parts.append(part)
        return corpus


def grouped(sources: Sequence[tuple[TextSource, Path]]) -> list[tuple[Part, dict[str, list[str]]]]:
    """For each file its place in the corpus and the different source sentences with their translations."""
    found: list[tuple[Part, dict[str, list[str]]]] = []
    home: dict[str, dict[str, list[str]]] = {}
    count = 0
    for source, path in sources:
        own: dict[str, list[str]] = {}
        for pair in training_pairs(path, source):
            home.setdefault(pair.source, own).setdefault(pair.source, []).append(pair.target)
        part = Part(count, count + len(own), source.weight, source.ordered, source.spoken)
        count = part.end
        found.append((part, own))
    return found
