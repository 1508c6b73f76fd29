"""Training for incremental decoding: READ/WRITE in the order of time, turns, and group positions.

`annotate` writes once, next to the features, when every source word of every talk is over and what every target word
has to wait for; `IncrementalSampler` makes sequences from it while plain training goes on.
"""

import gzip
import json
import random
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F

from simulst.core.latency_tags import LATENCIES, TURN_BLOCKS, turn_mark
from simulst.errors import DataError
from simulst.outputs import whole_file
from simulst.training import grouped
from simulst.training.interleaved import (
    InterleavedMarks,
    Labels,
    TimedSentence,
    chunked,
    in_joint_turns,
    in_turns,
    sequence,
    unsaid,
)
from simulst.training.pieces import Pieces
from simulst.training.sample import Marks, Sample, SampleConfig
from simulst.training.word_alignment import Method, align, latest_source_words
from simulst.training.word_times import ends_by_ctc, ends_by_length, word_starts

if TYPE_CHECKING:
    from simulst.models.speech_llm.network import SpeechLLM
    from simulst.training.features import Talk
    from simulst.training.texts import Corpus

Vectors = npt.NDArray[np.uint16]
"""[vectors, width], bit patterns of bfloat16."""

WORDS_FILE = "words.jsonl"
NEEDS_FILE = "needs.jsonl.gz"
LONGEST_CTC = 600
"""Vectors of one sentence above which its words are spread evenly."""


def opens_word(vocabulary: Pieces) -> Callable[[int], bool]:
    """Whether a piece of a SentencePiece vocabulary begins a word."""
    return lambda token: vocabulary.id_to_piece(token).startswith("\u2581")


def split_words(ids: Sequence[int], vocabulary: Pieces) -> list[tuple[int, ...]]:
    """Token ids by word."""
    starts = word_starts(ids, opens_word(vocabulary))
    return [tuple(ids[a:b]) for a, b in zip(starts, [*starts[1:], len(ids)], strict=True)]


def annotate_needs(
    corpus: "Corpus",
    vocabulary: Pieces,
    path: Path,
    method: Method = "auto",
    *,
    only: Container[int] | None = None,
) -> None:
    """One line per source sentence: for each of its translations the source word that each target word waits for.

    Sentences that are not in `only` get an empty line.
    """

    def texts(ids: Sequence[int]) -> list[str]:
        return [vocabulary.decode(list(one)).strip().lower().strip(".,!?;:\"'") for one in split_words(ids, vocabulary)]

    groups = [g if only is None or number in only else [] for number, g in enumerate(corpus.target)]
    source = [texts(ids) if group else [] for ids, group in zip(corpus.source, groups, strict=True)]
    pairs = [(one, texts(ids)) for one, group in zip(source, groups, strict=True) for ids in group]
    links = iter(zip(align(pairs, method), pairs, strict=True))
    with whole_file(path) as file, gzip.open(file, "wt", encoding="utf-8") as out:
        for group in groups:
            found = [next(links) for _ in group]
            needs = [latest_source_words(one, len(source), len(target)) for one, (source, target) in found]
            out.write(json.dumps(needs) + "\n")


@dataclass(frozen=True, kw_only=True, eq=False)
class WordClock:
    """Finds when words are over: by the CTC of `model`, or from letters alone without one."""

    vocabulary: Pieces
    model: "SpeechLLM | None" = None
    blank: int = 0

    @torch.inference_mode()
    def ends(self, talk: "Talk", vectors: Vectors | None, source: Sequence[Sequence[int]]) -> list[list[int]]:
        """For each sentence of a talk the vectors, from the talk's first, after which each word is over."""
        projected = None
        if self.model is not None and vectors is not None:
            stored = np.asarray(vectors[talk.first : talk.first + talk.count])
            stacked = torch.from_numpy(stored.copy()).view(torch.bfloat16).float()
            projected = self.model.projector(stacked.to(self.model.device))
        ends = list[list[int]]()
        for (_, begin, finish), ids in zip(talk.sentences, source, strict=True):
            first, last = max(0, int(begin) - 1), min(talk.count, int(np.ceil(finish)) + 2)
            found = None
            if projected is not None and ids and 0 < last - first <= LONGEST_CTC:
                found = self._by_ctc(projected[first:last], ids)
            if found is None:
                piece = self.vocabulary.id_to_piece
                lengths = [sum(len(piece(t)) for t in word) for word in split_words(ids, self.vocabulary)]
                ends.append(ends_by_length(lengths, begin, finish))
            else:
                ends.append([first + one for one in found])
        return ends

    def _by_ctc(self, projected: torch.Tensor, ids: Sequence[int]) -> list[int] | None:
        assert self.model is not None
        columns = [self.blank, *sorted(set(ids))]  # other tokens would change every path by the same amount
        scores = F.linear(projected, self.model.embed(torch.tensor(columns, device=projected.device))).cpu().numpy()
        opens = opens_word(self.vocabulary)
        return ends_by_ctc(scores, [columns.index(t) for t in ids], 0, lambda column: opens(columns[column]))


def annotate_words(
    talks: "Sequence[Talk]",
    vectors: Vectors | None,
    source: Sequence[Sequence[int]],
    clock: WordClock,
    path: Path,
) -> None:
    """One line per talk, as `WordClock.ends`; resumable, lines that are there stay."""
    done = len(path.read_text().splitlines()) if path.exists() else 0
    with path.open("a") as out:
        for talk in talks[done:]:
            found = clock.ends(talk, vectors, [source[sentence] for sentence, _, _ in talk.sentences])
            out.write(json.dumps(found, separators=(",", ":")) + "\n")


@dataclass(frozen=True, kw_only=True)
class Annotations:
    """What `annotate_words` and `annotate_needs` wrote."""

    ends: list[list[list[int]]]
    """Talk, sentence, word."""
    needs: list[list[list[int]]]
    """Source sentence, translation, target word."""

    @classmethod
    def read(cls, folder: Path) -> "Annotations":
        """Read both files; DataError where one is missing."""
        try:
            ends = [json.loads(line) for line in (folder / WORDS_FILE).read_text().splitlines()]
            with gzip.open(folder / NEEDS_FILE, "rt", encoding="utf-8") as lines:
                needs = [json.loads(line) for line in lines]
        except (OSError, ValueError) as error:
            raise DataError(
                f"The word times and alignments of {folder} cannot be read ({error}); run the stage annotate."
            ) from error
        return cls(ends=ends, needs=needs)


@dataclass(frozen=True, kw_only=True)
class Run:
    """Consecutive sentences of a talk: vectors [start, end) of it, sentences from number `first` on."""

    talk_number: int
    talk: "Talk"
    first: int
    count: int
    start: int
    end: int


class IncrementalSampler:
    """Samples of the incremental tasks; `share` of all speech samples in all."""

    def __init__(
        self, annotations: Annotations, corpus: "Corpus", vocabulary: Pieces, marks: "Marks", config: "SampleConfig"
    ) -> None:
        self.annotations, self.corpus, self.vocabulary, self.plain = annotations, corpus, vocabulary, marks
        self.config = config
        self.shares = config.in_time
        find = vocabulary.piece_to_id
        tags = {name: find(f"<{name}>") for name in LATENCIES}
        tags |= {f"turn {m}": find(turn_mark(m)) for m in TURN_BLOCKS}
        tags |= {f"joint {m}": find(turn_mark(m, joint=True)) for m in TURN_BLOCKS}
        self.marks = InterleavedMarks(
            prompt=(marks.speech, marks.target), tags=tags, read=find("<read>"), write=find("<write>")
        )

    @property
    def share(self) -> float:
        return sum(self.shares.values())

    def knows(self, talk_number: int) -> bool:
        """Whether the talk was there when words were timed."""
        return talk_number < len(self.annotations.ends)

    def sample(self, run: Run, rng: random.Random) -> "Sample":
        task = rng.choices(list(self.shares), list(self.shares.values()))[0]
        sentences = [self._timed(run, i, rng) for i in range(run.count)]
        if task == "grouped":
            return self._grouped(run, sentences, rng)
        if rng.random() < self.config.robust_share:
            run, sentences = _begun_anywhere(run, sentences, rng)
        return self._interleaved(run, sentences, rng, task)

    def _timed(self, run: Run, i: int, rng: random.Random) -> TimedSentence:
        number = run.talk.sentences[run.first + i][0]
        ends = self.annotations.ends[run.talk_number][run.first + i]
        which = rng.randrange(len(self.corpus.target[number]))
        return TimedSentence(
            ends=tuple(max(1, one - run.start) for one in ends),
            words=tuple(split_words(self.corpus.target[number][which], self.vocabulary)),
            needs=tuple(self.annotations.needs[number][which]),
            source=tuple(split_words(self.corpus.source[number], self.vocabulary)),
        )

    def _interleaved(self, run: Run, sentences: list[TimedSentence], rng: random.Random, task: str) -> "Sample":
        vectors, flush = run.end - run.start, None
        if rng.random() < self.config.truncated_share:
            begin = max(1, int(run.talk.sentences[run.first + run.count - 1][1]) - run.start)
            vectors = rng.randint(min(begin, vectors), vectors)
        if task != "read_write":
            blocks = rng.choice(TURN_BLOCKS)
            turn = blocks * self.config.block_vectors
            both = (self.plain.source, self.plain.target)
            joint = task == "joint"
            tag = f"joint {blocks}" if joint else f"turn {blocks}"
            writes = in_joint_turns(sentences, turn, vectors, both) if joint else in_turns(sentences, turn, vectors)
        else:
            tag = rng.choice(LATENCIES)
            writes = chunked(sentences, tag, vectors)
            if not writes or writes[-1].after < vectors:
                flush = unsaid(sentences, writes, vectors)
        labels = Labels(decision=self.config.decision_weight)
        decides = task == "read_write"
        ids, weights = sequence(writes, vectors, self.marks, tag, labels, rng, decides=decides, flush=flush)
        first, whole = run.talk.first + run.start, vectors == run.end - run.start
        return Sample(ids, weights, (first, first + vectors), _source(sentences) if whole else None)

    def _grouped(self, run: Run, sentences: list[TimedSentence], rng: random.Random) -> "Sample":
        source, m = 1 + run.end - run.start, self.plain
        words = [word for sentence in sentences for word in sentence.words]
        ends = [end for sentence in sentences for end in sentence.ends]
        if rng.random() < 0.5:
            seen = grouped.schedule(ends, len(words), source, rng, slack=self.config.block_vectors)
        else:
            needed = [sentence.ends[need] for sentence in sentences for need in sentence.needs]
            seen = grouped.aligned(needed, source, rng, slack=self.config.block_vectors)
        target = [token for word in words for token in word]
        rows = grouped.rows_of_words([i for i, word in enumerate(words) for _ in word], seen, source)
        ids = [m.speech, *[-1] * (source - 1), m.target, *target, m.eos]
        weights = [0.0] * (source + 1) + [1.0] * (len(target) + 1)
        vectors = (run.talk.first + run.start, run.talk.first + run.end)
        return Sample(ids, weights, vectors, _source(sentences), visible=[*rows, source])


def _source(sentences: Sequence[TimedSentence]) -> list[int]:
    return [token for sentence in sentences for word in sentence.source for token in word]


def _begun_anywhere(
    run: Run, sentences: Sequence[TimedSentence], rng: random.Random
) -> tuple[Run, list[TimedSentence]]:
    """A run whose speech begins anywhere before the end of its first sentence, in the middle of a word if need be."""
    at = rng.randrange(min(run.end - run.start, max(sentences[0].ends, default=1)))
    return replace(run, start=run.start + at), [sentence.begun(at) for sentence in sentences]
