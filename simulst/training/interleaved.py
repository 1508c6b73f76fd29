"""Training sequences in the order of time, for models that decide themselves when to read and when to write.

`<sp> <de> TAG v v v <write> y y <read> v v <write> y <read> ...` from word times and word alignments: a target word may
be written once every source word that it and the words before it need is over (EAST, 2504.09570; trajectories as in
InfiniSST, 2503.02969). The latency tag says by how many more source words it waits; a sentence is seen at several
latencies. Runs of sentences are documents. In the turn layout the clock writes after every few blocks of audio, the
translation alone or source and target words together (t-SOT, 2307.03354).
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from simulst.core.latency_tags import LATENCIES

LAG_WORDS: dict[str, int | None] = dict(zip(LATENCIES, (0, 1, 2, 4, None), strict=True))
"""Source words that a target word waits for beyond those it needs; None: the whole sentence."""


@dataclass(frozen=True, kw_only=True)
class TimedSentence:
    """One sentence of a run, its times in vectors from the start of the sample."""

    ends: tuple[int, ...]
    """Vectors after which each source word is over."""
    words: tuple[tuple[int, ...], ...]
    """Token ids of each target word."""
    needs: tuple[int, ...]
    """For each target word the source word (from 0) that has to be over; never falls."""
    source: tuple[tuple[int, ...], ...] = ()
    """Token ids of each source word, where they are written too."""

    def begun(self, at: int) -> "TimedSentence":
        """What is left of it where speech begins `at` vectors later: source words that are not over by then, and the
        target words that wait for one of them."""
        first = sum(end <= at for end in self.ends)
        kept = [i for i, need in enumerate(self.needs) if need >= first]
        return TimedSentence(
            ends=tuple(end - at for end in self.ends[first:]),
            words=tuple(self.words[i] for i in kept),
            needs=tuple(self.needs[i] - first for i in kept),
            source=self.source[first:],
        )


@dataclass(frozen=True, kw_only=True)
class Write:
    """Target tokens that are written once `after` vectors have been read."""

    after: int
    ids: tuple[int, ...]


def chunked(sentences: Sequence[TimedSentence], latency: str, vectors: int) -> list[Write]:
    """What is written when, of what is due within the first `vectors` vectors."""
    lag, writes = LAG_WORDS[latency], list[Write]()
    for sentence in sentences:
        last = len(sentence.ends) - 1
        for need, ids in zip(sentence.needs, sentence.words, strict=True):
            due = sentence.ends[last if lag is None else min(last, need + lag)]
            if due > vectors:
                return writes
            if writes and writes[-1].after >= due:
                writes[-1] = Write(after=writes[-1].after, ids=writes[-1].ids + ids)
            else:
                writes.append(Write(after=due, ids=ids))
    return writes


def released(sentences: Sequence[TimedSentence], vectors: int) -> list[tuple[int, tuple[int, ...]]]:
    """In the order of the text, when each target word may be written, and its tokens; of the first `vectors`."""
    found = list[tuple[int, tuple[int, ...]]]()
    for sentence in sentences:
        for need, ids in zip(sentence.needs, sentence.words, strict=True):
            if sentence.ends[need] > vectors:
                return found
            found.append((sentence.ends[need], ids))
    return found


def unsaid(sentences: Sequence[TimedSentence], writes: Sequence[Write], vectors: int) -> tuple[int, ...]:
    """What may be written after `vectors` and was not: the answer to the WRITE that the end of a stream forces."""
    everything = [token for _, ids in released(sentences, vectors) for token in ids]
    return tuple(everything[sum(len(write.ids) for write in writes) :])


def in_turns(sentences: Sequence[TimedSentence], turn: int, vectors: int) -> list[Write]:
    """What is written after every `turn` vectors and at the end, maybe nothing."""
    waiting, writes, at = released(sentences, vectors), list[Write](), 0
    for after in _borders(turn, vectors):
        ids = list[int]()
        while at < len(waiting) and waiting[at][0] <= after:
            ids += waiting[at][1]
            at += 1
        writes.append(Write(after=after, ids=tuple(ids)))
    return writes


def _borders(turn: int, vectors: int) -> list[int]:
    return [*range(turn, vectors, turn), vectors]


def in_joint_turns(sentences: Sequence[TimedSentence], turn: int, vectors: int, marks: tuple[int, int]) -> list[Write]:
    """The same with source words among the target words, each when it is over; a turn begins with source words, and
    the mark of the source or the target stands where the language changes."""
    said = [one for sentence in sentences for one in _both(sentence, marks) if one[0] <= vectors]
    writes, at = list[Write](), 0
    for after in _borders(turn, vectors):
        ids, now = list[int](), marks[0]
        while at < len(said) and said[at][0] <= after:
            _, mark, word = said[at]
            ids += word if mark == now else (mark, *word)
            now, at = mark, at + 1
        writes.append(Write(after=after, ids=tuple(ids)))
    return writes


def _both(sentence: TimedSentence, marks: tuple[int, int]) -> list[tuple[int, int, tuple[int, ...]]]:
    """When each word of both languages may be written, the mark of its language and its tokens, in order."""
    spoken = [(end, i, marks[0], ids) for i, (end, ids) in enumerate(zip(sentence.ends, sentence.source, strict=True))]
    written = [(sentence.ends[i], i, marks[1], ids) for i, ids in zip(sentence.needs, sentence.words, strict=True)]
    ordered = sorted([*spoken, *written], key=lambda one: one[1])  # stable: a source word before what waits for it
    return [(end, mark, ids) for end, _, mark, ids in ordered]


@dataclass(frozen=True, kw_only=True)
class InterleavedMarks:
    """Ids of the marks; `prompt` stands first, the tag after it."""

    prompt: tuple[int, ...]
    tags: dict[str, int]
    read: int
    write: int


@dataclass(frozen=True, kw_only=True)
class Labels:
    """Weights of the loss."""

    decision: float = 0.3
    """READ or WRITE after a vector."""
    kept_reads: float = 0.34
    """Share of the READ decisions that are trained, the others' weight on top: most of them say the same."""


def sequence(
    writes: Sequence[Write],
    vectors: int,
    marks: InterleavedMarks,
    tag: str,
    labels: Labels,
    rng: random.Random,
    *,
    decides: bool,
    flush: tuple[int, ...] | None = None,
) -> tuple[list[int], list[float]]:
    """Ids and loss weights; a vector stands as `-1 - label`, where the label is what the entry before it says.

    With `decides` the model says READ before every vector and WRITE before every write, else the clock does and only
    text and its end are trained. `flush` is written at the end without being asked, as when a stream ends.
    """
    ids, weights = [*marks.prompt, marks.tags[tag]], [0.0] * (len(marks.prompt) + 1)
    read = 0

    def hear(until: int) -> None:
        for _ in range(until - read):
            ids.append(-1 - marks.read)
            kept = decides and rng.random() < labels.kept_reads
            weights.append(labels.decision / labels.kept_reads if kept else 0.0)

    for write in writes:
        hear(write.after)
        read = max(read, write.after)
        ids += [marks.write, *write.ids, marks.read]
        weights += [labels.decision if decides else 0.0, *[1.0] * (len(write.ids) + 1)]
    hear(vectors)
    if flush is not None:
        ids += [marks.write, *flush, marks.read]
        weights += [0.0, *[1.0] * (len(flush) + 1)]
    return ids, weights
