"""Training sequences of the speech LLM: tasks, runs of sentences, truncations; see `SampleConfig`."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from simulst.training.features import Talk, read_talks
from simulst.training.incremental import IncrementalSampler, Run
from simulst.training.texts import Corpus


@dataclass(frozen=True, kw_only=True)
class SampleConfig:
    """Shares of tasks; the rest of speech is translated, the rest of everything is text translation."""

    text_share_start: float = 0.6
    text_share_end: float = 0.3
    transcript_share: float = 0.12
    """Of speech samples: the target is the English transcript."""
    truncated_share: float = 0.15
    """Of speech samples: the audio stops inside a sentence and so does the target, without an end mark."""
    silent_share: float = 0.01
    run_lengths: tuple[float, ...] = (0.5, 0.18, 0.12, 0.08, 0.06, 0.03, 0.02, 0.01)
    """Chances of 1, 2, ... consecutive sentences."""
    text_runs: tuple[float, ...] = (0.75, 0.15, 0.1)
    max_text_tokens: int = 200
    """Of the English side of a run of text."""
    source_lm_share: float = 1.0
    """Of text samples: those whose English side is learned too, with a small weight."""
    cascade_share: float = 0.0
    """Of speech samples: the transcript first, then the translation."""
    max_vectors: int = 250
    read_write_share: float = 0.0
    """Of speech samples: READ and WRITE in the order of time, see `simulst.training.incremental`; so the next two."""
    turn_share: float = 0.0
    grouped_share: float = 0.0
    decision_weight: float = 0.3
    """Loss weight of a READ or WRITE decision."""
    block_vectors: int = 7
    """Speech vectors per encoder block."""


@dataclass
class Sample:
    """`ids` with -1 - label where speech vectors go; `weights[i]` is the loss weight of predicting `ids[i]`, or the
    label (0: none) of a vector."""

    ids: list[int]
    weights: list[float]
    vectors: tuple[int, int] | None = None
    """[first, end) in the feature file."""
    source: list[int] | None = None
    """English ids for CTC."""
    visible: list[int] | None = None
    """With group positions: how many source entries each target entry, the last ones of `ids`, sees."""


@dataclass(frozen=True, kw_only=True)
class Marks:
    speech: int
    english: int
    german: int
    blank: int
    eos: int

    @classmethod
    def of(cls, vocabulary: Any) -> "Marks":
        find = vocabulary.piece_to_id
        return cls(
            speech=find("<sp>"),
            english=find("<en>"),
            german=find("<de>"),
            blank=find("<blank>"),
            eos=vocabulary.eos_id(),
        )


class Sampler:
    """Endless random samples; speech only from talks that were finished when the sampler was made."""

    def __init__(
        self,
        corpus: Corpus,
        features: Path | None,
        marks: Marks,
        config: SampleConfig,
        incremental: "IncrementalSampler | None" = None,
    ) -> None:
        self.corpus, self.marks, self.config, self.incremental = corpus, marks, config, incremental
        self._part_weights = [(part.end - part.first) * part.weight for part in corpus.parts]
        self.talks: list[Talk] = read_talks(features) if features else []
        # talks weighted by their number of sentences
        self._by_sentence = [(t, i) for t, talk in enumerate(self.talks) for i in range(len(talk.sentences))]

    def sample(self, rng: random.Random, progress: float) -> Sample:
        """`progress` in [0, 1] moves the share of text from its start to its end over the first third."""
        c = self.config
        text = c.text_share_start + (c.text_share_end - c.text_share_start) * min(1.0, 3 * progress)
        if not self.talks or rng.random() < text:
            return self._text(rng)
        return self._speech(rng)

    def _text(self, rng: random.Random) -> Sample:
        n = 1 + rng.choices(range(len(self.config.text_runs)), self.config.text_runs)[0]
        numbers = self._text_run(n, rng)
        english = [t for k in numbers for t in self.corpus.english[k]]
        german = [t for k in numbers for t in rng.choice(self.corpus.german[k])]
        m = self.marks
        ids = [m.english, *english, m.german, *german, m.eos]
        on_source = 0.3 if rng.random() < self.config.source_lm_share else 0.0
        return Sample(ids, [0.0] + [on_source] * len(english) + [0.0] + [1.0] * (len(german) + 1))

    def _text_run(self, n: int, rng: random.Random) -> list[int]:
        """Numbers of up to `n` sentences of one file, neighbours where its order means something."""
        part = rng.choices(self.corpus.parts, self._part_weights)[0]
        if part.ordered:
            first = rng.randrange(part.first, part.end)
            numbers = list(range(first, min(part.end, first + n)))
        else:
            numbers = [rng.randrange(part.first, part.end) for _ in range(n)]
        while len(numbers) > 1 and sum(len(self.corpus.english[k]) for k in numbers) > self.config.max_text_tokens:
            numbers.pop()
        return numbers

    def _speech(self, rng: random.Random) -> Sample:
        c, m = self.config, self.marks
        talk_number, i = rng.choice(self._by_sentence)
        talk = self.talks[talk_number]
        if rng.random() < c.silent_share:
            return self._silence(talk, rng)
        n = 1 + rng.choices(range(len(c.run_lengths)), c.run_lengths)[0]
        run = talk.sentences[i : i + n]
        previous_end = talk.sentences[i - 1][2] if i else 0.0
        next_start = talk.sentences[i + len(run)][1] if i + len(run) < len(talk.sentences) else float(talk.count)
        start = int(max(previous_end - 1, run[0][1] - rng.uniform(0, 5) if rng.random() < 0.8 else previous_end, 0))
        while len(run) > 1 and run[-1][2] - start > c.max_vectors:
            next_start, run = run[-1][1], run[:-1]
        later = self.incremental
        if later is not None and later.knows(talk_number) and rng.random() < later.share:
            end = min(talk.count, int(np.ceil(rng.uniform(run[-1][2], max(run[-1][2], next_start + 0.5)))))
            place = Run(talk_number=talk_number, talk=talk, first=i, count=len(run), start=start, end=end)
            return later.sample(place, rng)
        english_task = rng.random() < c.transcript_share
        sides = [self.corpus.english[s[0]] if english_task else rng.choice(self.corpus.german[s[0]]) for s in run]
        tag = m.english if english_task else m.german
        if rng.random() < c.truncated_share:
            return self._truncated(talk, run, sides, start, tag, rng)
        end = min(talk.count, int(np.ceil(rng.uniform(run[-1][2], max(run[-1][2], next_start + 0.5)))))
        target = [t for side in sides for t in side]
        source = [t for s in run for t in self.corpus.english[s[0]]]
        if not english_task and rng.random() < c.cascade_share:
            tag, target = m.english, [*source, m.german, *target]
        ids = [m.speech, *[-1] * (end - start), tag, *target, m.eos]
        weights = [0.0] * (end - start + 2) + [1.0] * (len(target) + 1)
        return Sample(ids, weights, (talk.first + start, talk.first + end), source)

    def _truncated(
        self,
        talk: Talk,
        run: tuple[tuple[int, float, float], ...],
        sides: list[list[int]],
        start: int,
        tag: int,
        rng: random.Random,
    ) -> Sample:
        _, begin, finish = run[-1]
        share = rng.uniform(0.1, 0.95)
        end = max(start + 1, min(talk.count, int(begin + share * (finish - begin))))
        target = [t for side in sides[:-1] for t in side] + sides[-1][: max(0, int(share * len(sides[-1])) - 1)]
        ids = [self.marks.speech, *[-1] * (end - start), tag, *target]
        return Sample(ids, [0.0] * (end - start + 2) + [1.0] * len(target), (talk.first + start, talk.first + end))

    def _silence(self, talk: Talk, rng: random.Random) -> Sample:
        """A pause before the first sentence or after the last: nothing is said."""
        first, last = int(talk.sentences[0][1]), int(np.ceil(talk.sentences[-1][2])) + 1
        start, end = (0, first) if rng.random() < 0.5 else (last, talk.count)
        start, end = (start, end) if end > start else (0, max(1, first))
        ids = [self.marks.speech, *[-1] * (end - start), self.marks.german, self.marks.eos]
        return Sample(ids, [0.0] * (end - start + 2) + [1.0], (talk.first + start, talk.first + end), [])


def batches(sampler: Sampler, seed: str, progress: float, positions: int, pool: int = 12) -> Iterator[list[Sample]]:
    """About `pool` batches of at most `positions` padded positions, samples of like length together."""
    rng = random.Random(seed)
    samples, total = [], 0
    while total < pool * positions:
        samples.append(sampler.sample(rng, progress))
        total += len(samples[-1].ids)
    samples.sort(key=lambda s: (len(s.ids), rng.random()))
    groups: list[list[Sample]] = [[]]
    for sample in samples:
        if groups[-1] and (len(groups[-1]) + 1) * len(sample.ids) > positions:
            groups.append([])
        groups[-1].append(sample)
    rng.shuffle(groups)
    yield from groups


def open_vectors(folder: Path, width: int) -> npt.NDArray[np.uint16]:
    """The feature file as [vectors, width] of bfloat16 bit patterns, memory-mapped."""
    flat = np.memmap(folder / "vectors.bf16", np.uint16, "r")
    return flat[: len(flat) // width * width].reshape(-1, width)
