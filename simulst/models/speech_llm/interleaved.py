"""Streams in which the model itself says when it reads and when it writes (EAST, 2504.09570; InfiniSST, 2503.02969).

The context is `<sp> <de> TAG v v v <write> y y <read> v v <write> y <read> ...`: speech and text in the order of time.
After each speech vector the model prefers `<write>` or `<read>`; between the two it writes text. In the turn layout the
clock puts `<write>` after every turn of speech and the model may answer with nothing. Nothing is computed twice: new
vectors go through the decoder together, and where one of them says WRITE those after it are taken back.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import compress
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from simulst.core.latency_tags import LATENCIES, TURN_BLOCKS, turn_mark
from simulst.core.translator import FloatArray, ReadWrite, Turn
from simulst.errors import ModelError
from simulst.models.beam_search import beam_search
from simulst.models.decoding import Candidate, Rules, Step, greedy, refuse_nan
from simulst.models.search import RECENT_IDS
from simulst.models.speech_llm.cache import StreamCache
from simulst.models.speech_llm.contexts import Rows, SpeechRun, StoredRow
from simulst.models.speech_llm.weights import Weights

PROMPT = 3
"""Entries before the first vector."""

Kind = Literal["prompt", "sink", "vector", "write", "read", "token", "aside"]
"""A sink is an entry that only the cache still holds: what it stood for is forgotten. An aside stands in a write and is
not part of the text."""


@dataclass(frozen=True, slots=True)
class Entry:
    kind: Kind
    value: int
    """Token id, or number of the vector in the stream."""


@dataclass(frozen=True, kw_only=True)
class Heard:
    """The source as a session holds it."""

    vectors: Tensor
    first: int
    """Number of the oldest kept vector in the stream."""
    words: Callable[[int, int], int]
    """Source words that begin at vectors [a, b)."""
    sentence_ends: frozenset[int] = frozenset()
    """Vectors with the mark that ends a source sentence."""


@dataclass(kw_only=True)
class Written:
    """What the model wrote in one call."""

    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    stop: Literal["eos", "length"] = "eos"


class WriteRun(SpeechRun):
    """Decoding of one write: the end of the text counts as the end of the write."""

    def scored(self, logits: Tensor) -> Tensor:
        logits = logits.clone()
        read, eos = self.weights.read_mark, self.weights.vocabulary.eos
        logits[:, read] = torch.maximum(logits[:, read], logits[:, eos])
        return logits


class InterleavedStream:
    """The context of one stream; entries are fed when they have to be, at the latest with the next vectors."""

    def __init__(self, weights: Weights, cache: StreamCache, plan: ReadWrite) -> None:
        self.weights, self.cache, self.plan = weights, cache, plan
        language = weights.text_target_mark if plan.joint else weights.target_mark
        prompt = (weights.speech_mark, language, weights.vocabulary.mark(tag(plan)))
        self.entries = [Entry("prompt", token) for token in prompt]
        """All entries in order; the first `len(self.cache)` are in the cache, the others wait to be fed."""
        self.rows: list[StoredRow | None] = []
        """The row of every text token among the entries."""
        self.next = 0
        """Number of the next vector to read."""
        self.read_since = 0
        """Number of the first vector after the last write."""
        self.sinks = 0
        """Entries after the prompt that stay in the cache for good."""

    @property
    def tokens(self) -> list[int]:
        return [entry.value for entry in self.entries if entry.kind == "token"]

    # -- reading and writing ----------------------------------------------------------------------------------------

    def advance(self, heard: Heard, rows: bool, *, final: bool) -> Written:
        """Read every vector that is new and write where the model, the clock or the end of the stream says so."""
        written = Written()
        if self.cache.forgets:
            self._empty()
        end = heard.first + len(heard.vectors)
        self.next = max(self.next, heard.first)
        self.read_since = max(self.read_since, heard.first)
        while self.next < end:
            if self._read(heard, end):
                self._write(heard, rows, written)
        if final and self.next > self.read_since:
            self._write(heard, rows, written)
        return written

    def _read(self, heard: Heard, end: int) -> bool:
        """Feed vectors up to the first one after which to write; False if there is none."""
        new = [Entry("vector", number) for number in range(self.next, end)]
        self.entries += new
        hidden = self._feed(heard)[-len(new) :]
        wants = self._wants_to_write(hidden)
        for offset, entry in enumerate(new):
            if self._due(heard, entry.value, wants[offset]):
                self._cut(len(self.entries) - len(new) + offset + 1)
                self.next = entry.value + 1
                return True
        self.next = end
        return False

    def _feed(self, heard: Heard) -> Tensor:
        """Compute the entries that wait; their hidden states [n, width]."""
        waiting = self.entries[len(self.cache) :]
        embeds = self.weights.embed([0 if entry.kind == "vector" else entry.value for entry in waiting])
        at = torch.tensor([entry.kind == "vector" for entry in waiting], device=embeds.device)
        numbers = [entry.value - heard.first for entry in waiting if entry.kind == "vector"]
        with torch.inference_mode():
            embeds[at] = heard.vectors[numbers]
        return self.cache.extend(embeds, range(len(self.cache), len(self.entries))).hidden

    def _wants_to_write(self, hidden: Tensor) -> list[float]:
        """Probability of WRITE against READ after each entry."""
        marks = [self.weights.read_mark, self.weights.write_mark]
        with torch.inference_mode():
            scores = self.weights.model.output.scores_of(hidden, marks).float()
            found: list[float] = scores.softmax(-1)[:, 1].tolist()
        refuse_nan(any(math.isnan(p) for p in found))
        return found

    def _due(self, heard: Heard, number: int, probability: float) -> bool:
        if self.plan.turn:
            return number + 1 - self.read_since >= self.plan.turn * self.weights.block_vectors
        ends = number in heard.sentence_ends and self.plan.sentence_words > 0
        if ends and heard.words(self.read_since, number + 1) >= self.plan.sentence_words:
            return True
        return probability >= self.plan.threshold

    def _write(self, heard: Heard, rows: bool, written: Written) -> None:
        """Let the model write until it prefers to read, at most as many tokens as the plan allows."""
        start = len(self.entries)
        allowed = min(self.plan.max_new(heard.words(self.read_since, self.next)), self.plan.most - len(written.ids))
        found = self._decoded(heard, rows, max(0, allowed))
        self.read_since = self.next
        if not found.ids and not self.plan.turn:
            self._cut(start)  # nothing was said: as if it had gone on reading
            return
        self._append(found, heard.first)
        own = self._own(found.ids)
        written.ids += compress(found.ids, own)
        written.logprobs += compress(found.logprobs, own)
        written.stop = "eos" if found.stop == "eos" else "length"

    def _own(self, ids: Sequence[int]) -> list[bool]:
        """Which ids of a write are part of the text."""
        return [True] * len(ids)

    def _decoded(self, heard: Heard, rows: bool, allowed: int) -> Candidate:
        """One write of at most `allowed` tokens."""
        weights, start = self.weights, len(self.entries)
        if len(self.cache) < start:
            self._feed(heard)
        source = torch.tensor(self._vectors(), device=weights.device, dtype=torch.long)
        run = self._run(source, Rows(wanted=rows, every_head=True))
        step, _ = run.start(weights.embed([weights.write_mark]), [start], text=1)
        return self._searched(run, step, self._rules(allowed), start)

    def _run(self, source: Tensor, rows: Rows) -> WriteRun:
        return WriteRun(self.weights, self.cache, source=source, rows=rows)

    def _rules(self, allowed: int) -> Rules:
        weights = self.weights
        return Rules(
            eos=weights.read_mark,
            max_new=allowed,
            suppress=weights.suppress_in_write,
            no_repeat_ngram=weights.options.no_repeat_ngram,
            recent=tuple(self.tokens[-RECENT_IDS:]),
            favoured=None if self.plan.favoured is None else self.plan.favoured.after(self.tokens),
        )

    def _searched(self, run: WriteRun, step: Step, rules: Rules, start: int) -> Candidate:
        """One write, greedy or by beams; what beams say stays in copies, so that all but the mark waits to be fed."""
        beams = self.weights.options.beams
        if beams == 1:
            return greedy(run, step, rules)
        found = beam_search(run, step, rules, beams=beams)[0]
        self.cache.crop(start + 1)
        return found

    def _append(self, found: Candidate, first: int) -> None:
        """Entries of one write; what decoding has not fed (the last token of a full one, the mark) waits."""
        weights = self.weights
        self.entries.append(Entry("write", weights.write_mark))
        own = self._own(found.ids)
        self.entries += [Entry("token" if text else "aside", id_) for id_, text in zip(found.ids, own, strict=True)]
        self.entries.append(Entry("read", weights.read_mark))
        if found.rows:
            self.rows += [StoredRow(first=first, weights=row) for row in compress(found.rows, own)]
        else:
            self.rows += [None] * sum(own)

    def _vectors(self) -> list[int]:
        return [i for i, entry in enumerate(self.entries) if entry.kind == "vector"]

    def _cut(self, length: int) -> None:
        """Forget the entries from `length` on."""
        del self.entries[length:]
        self.cache.crop(min(length, len(self.cache)))

    # -- what was committed and what may be forgotten ---------------------------------------------------------------

    def follow(self, prefix: Sequence[int]) -> None:
        """Take back what was written beyond the committed ids; they come last where they are not the stream's own."""
        tokens = self.tokens
        same = next((i for i, (a, b) in enumerate(zip(tokens, prefix, strict=False)) if a != b), None)
        same = min(len(tokens), len(prefix)) if same is None else same
        if same < len(tokens):
            self._take_back(same)
        if same < len(prefix):
            self._append(Candidate(ids=self._as_written(prefix[same:])), 0)

    def _as_written(self, text: Sequence[int]) -> tuple[int, ...]:
        """Text as it stands in a write."""
        return tuple(text)

    def _take_back(self, keep: int) -> None:
        """Cut right after the first `keep` tokens; vectors that were read after them are read again."""
        places = [i for i, entry in enumerate(self.entries) if entry.kind == "token"]
        cut = places[keep]
        inside = self.entries[cut - 1].kind in ("token", "aside")
        if not inside:  # the whole write goes
            cut -= 1
        self.next = next((entry.value for entry in self.entries[cut:] if entry.kind == "vector"), self.next)
        self._cut(cut)
        del self.rows[keep:]
        if inside:
            self.entries.append(Entry("read", self.weights.read_mark))
        writes = [i for i, entry in enumerate(self.entries) if entry.kind == "write"]
        since = [entry.value for entry in self.entries[writes[-1] if writes else 0 :] if entry.kind == "vector"]
        self.read_since = since[0] if since else self.next

    def drop_source(self, first: int) -> None:
        """Vectors before number `first` are gone."""
        self._keep([entry.kind != "vector" or entry.value >= first for entry in self.entries])

    def drop_target(self, count: int) -> None:
        """The oldest `count` text tokens are gone."""
        kept, seen = list[bool](), 0
        for entry in self.entries:
            seen += entry.kind == "token"
            kept.append(entry.kind != "token" or seen > count)
        del self.rows[:count]
        self._keep(kept)

    def _keep(self, kept: list[bool]) -> None:
        """Evict entries, and the marks of writes that lost all their text although they had some."""
        for i, entry in enumerate(self.entries):
            if entry.kind == "write":
                end = next(j for j in range(i + 1, len(self.entries)) if self.entries[j].kind == "read")
                before = self.entries[i - 1].kind == "vector" and kept[i - 1]
                for j in range(i + 1, end):
                    kept[j] = kept[j] and (before or self.entries[j].kind != "aside")
                text = [kept[j] for j in range(i + 1, end)]
                kept[i] = kept[end] = any(text) if text else before
        self._stay(kept)
        if all(kept):
            return
        index = [i for i, stays in enumerate(kept) if stays]
        cached = [i for i in index if i < len(self.cache)]
        self.entries = [self.entries[i] for i in index]
        if self.weights.evicts_turns if self.plan.turn or self.sinks else self.weights.evicts:
            self.cache.keep(cached)
        else:
            self._empty()

    def _stay(self, kept: list[bool]) -> None:
        """Turn the first entries after the prompt into sinks where they would go."""
        prompt = sum(entry.kind == "prompt" for entry in self.entries)
        for i in range(prompt, min(prompt + self.sinks, len(self.cache))):
            if not kept[i]:
                kept[i], self.entries[i] = True, Entry("sink", 0)

    def _empty(self) -> None:
        """Everything is fed anew, so what cannot be fed is gone."""
        self.cache.crop(0)
        self.entries = [entry for entry in self.entries if entry.kind != "sink"]

    def turns(self) -> tuple[list[Turn], int]:
        """The turns that are over, speech and what was written after it, and the entries after the last of them."""
        turns, tokens, entries, last = list[Turn](), 0, 0, 0
        for entry in self.entries:
            if entry.kind in ("prompt", "sink"):
                continue
            entries += 1
            tokens += entry.kind == "token"
            last = entry.value + 1 if entry.kind == "vector" else last
            if entry.kind == "read":
                frame_s = self.weights.frame_s
                turns.append(Turn(tokens=tokens, end_s=last * frame_s, entries=entries, vector_s=frame_s))
                tokens = entries = 0
        return turns, entries

    def history(self, count: int, first: int, vectors: int) -> FloatArray:
        """Rows of the first `count` tokens over the kept vectors, [count, heads, vectors]."""
        heads = len(self.weights.attention.heads)
        empty = np.zeros((heads, vectors), dtype=np.float32)
        placed = [empty if row is None else row.over(first, vectors) for row in self.rows[:count]]
        return np.stack(placed) if placed else np.zeros((0, heads, vectors), dtype=np.float32)


def tag(plan: ReadWrite) -> str:
    """The mark of the prompt that tells the model how it is run; ModelError for a latency that has none."""
    if plan.turn:
        if plan.turn not in TURN_BLOCKS:
            raise ModelError(f"A turn has {' or '.join(map(str, TURN_BLOCKS))} blocks of audio, not {plan.turn}.")
        return turn_mark(plan.turn, joint=plan.joint)
    if plan.latency not in LATENCIES:
        raise ModelError(f"The latency is one of {', '.join(LATENCIES)}, not {plan.latency!r}.")
    return f"<{plan.latency}>"
