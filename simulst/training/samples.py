"""Training sequences of the speech LLM: tasks, runs of sentences, truncations; see `SampleConfig`."""

import random
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np
import numpy.typing as npt

from simulst.training.features import Talk, read_talks
from simulst.training.incremental import IncrementalSampler, Run
from simulst.training.rough import RoughText
from simulst.training.sample import Marks, Sample, SampleConfig
from simulst.training.texts import Corpus


class Sampler:
    """Endless random samples; speech only from talks that were finished when the sampler was made."""

    def __init__(
        self,
        corpus: Corpus,
        features: Path | None,
        marks: Marks,
        config: SampleConfig,
        incremental: "IncrementalSampler | None" = None,
        rough: RoughText | None = None,
    ) -> None:
        self.corpus, self.marks, self.config, self.incremental = corpus, marks, config, incremental
        self.rough = rough
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
        sources = [self.corpus.source[k] for k in numbers]
        if self.rough is not None:
            sources = self.rough(sources, rng)
        targets = [rng.choice(self.corpus.target[k]) for k in numbers]
        if self.config.text_truncated_share and rng.random() < self.config.text_truncated_share:
            return self._truncated_text(sources, targets, rng.uniform(0.1, 0.95))
        source, target = list(chain.from_iterable(sources)), list(chain.from_iterable(targets))
        m = self.marks
        ids = [m.source, *source, m.target, *target, m.eos]
        on_source = 0.3 if rng.random() < self.config.source_lm_share else 0.0
        return Sample(ids, [0.0] + [on_source] * len(source) + [0.0] + [1.0] * (len(target) + 1))

    def _truncated_text(self, sources: list[list[int]], targets: list[list[int]], share: float) -> Sample:
        """Both sides as far as this share of the last sentence."""
        last = sources[-1][: max(1, int(share * len(sources[-1])))]
        source = [*chain.from_iterable(sources[:-1]), *last]
        target = [*chain.from_iterable(targets[:-1]), *_begun(targets[-1], share)]
        ids = [self.marks.source, *source, self.marks.target, *target]
        return Sample(ids, [0.0] * (len(source) + 2) + [1.0] * len(target))

    def _text_run(self, n: int, rng: random.Random) -> list[int]:
        """Numbers of up to `n` sentences of one file, neighbours where its order means something."""
        part = rng.choices(self.corpus.parts, self._part_weights)[0]
        if part.ordered:
            first = rng.randrange(part.first, part.end)
            numbers = list(range(first, min(part.end, first + n)))
        else:
            numbers = [rng.randrange(part.first, part.end) for _ in range(n)]
        while len(numbers) > 1 and sum(len(self.corpus.source[k]) for k in numbers) > self.config.max_text_tokens:
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
        sides = [self.corpus.source[s[0]] if english_task else rng.choice(self.corpus.target[s[0]]) for s in run]
        tag = m.source if english_task else m.target
        if rng.random() < c.truncated_share:
            return self._truncated(talk, run, sides, start, tag, rng)
        end = min(talk.count, int(np.ceil(rng.uniform(run[-1][2], max(run[-1][2], next_start + 0.5)))))
        target = [t for side in sides for t in side]
        source = [t for s in run for t in self.corpus.source[s[0]]]
        if not english_task and rng.random() < c.cascade_share:
            tag, target = m.source, [*source, m.target, *target]
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
        target = [*chain.from_iterable(sides[:-1]), *_begun(sides[-1], share)]
        ids = [self.marks.speech, *[-1] * (end - start), tag, *target]
        return Sample(ids, [0.0] * (end - start + 2) + [1.0] * len(target), (talk.first + start, talk.first + end))

    def _silence(self, talk: Talk, rng: random.Random) -> Sample:
        """A pause before the first sentence or after the last: nothing is said."""
        first, last = int(talk.sentences[0][1]), int(np.ceil(talk.sentences[-1][2])) + 1
        start, end = (0, first) if rng.random() < 0.5 else (last, talk.count)
        start, end = (start, end) if end > start else (0, max(1, first))
        ids = [self.marks.speech, *[-1] * (end - start), self.marks.target, self.marks.eos]
        return Sample(ids, [0.0] * (end - start + 2) + [1.0], (talk.first + start, talk.first + end), [])


def _begun(target: list[int], share: float) -> list[int]:
    """What can be said of a sentence of which so much was heard: its last token might be another one."""
    return target[: max(0, int(share * len(target)) - 1)]


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
