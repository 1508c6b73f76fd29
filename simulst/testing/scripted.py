"""A translator that says what it is told, call by call."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from simulst.core.source import SAMPLE_RATE, SourceBuffer
from simulst.core.translator import (
    PLAIN,
    Alignment,
    Draw,
    Evidence,
    FloatArray,
    Hypothesis,
    PlainSession,
    PlainTranslator,
    Query,
    ReadWrite,
    TokenStep,
    Transduce,
    Turn,
)
from simulst.models.text.source_model import TextSide
from simulst.models.vocabulary import PieceVocabulary

EVERYTHING = frozenset(Evidence)


class ToyVocabulary(PieceVocabulary):
    """Pieces by name: `_` opens a word, `<0xNN>` is a byte; 0 is the end of the sequence."""

    def __init__(self, pieces: Sequence[str] = (), *, spaced: bool = True) -> None:
        self.names: list[str] = ["</s>"]
        super().__init__([b""], eos=0, spaced=spaced)
        self.encode(pieces)

    def encode(self, pieces: Sequence[str]) -> tuple[int, ...]:
        """Ids of pieces; new ones are added."""
        for name in pieces:
            if name not in self.names:
                self.names.append(name)
                raw = bytes([int(name[3:5], 16)]) if name.startswith("<0x") else name.replace("_", " ").encode()
                self.pieces.append(raw)
        return tuple(self.names.index(name) for name in pieces)


@dataclass(frozen=True, kw_only=True, eq=False)
class Scripted:
    """What one call of `hypothesise` returns: the best hypothesis, and other ids as `others` when several are asked."""

    ids: tuple[int, ...] = ()
    stop: Literal["eos", "length", "gate", "repeat"] = "eos"
    next_id: int | None = None
    weights: FloatArray | None = None
    """[H + N, frames]; None: a diagonal over the frames heard, or as `frames` or `fill` say."""
    frames: tuple[int, ...] | None = None
    """The frame of those heard that each new token attends to, counted from the newest."""
    fill: float | None = None
    """The weight everywhere."""
    history: int | None = None
    """H, if it is to differ from the length of the prefix."""
    n_valid: int | None = None
    logprobs: tuple[float, ...] | None = None
    p_choose: tuple[float, ...] | None = None
    no_speech: float | None = None
    others: tuple[tuple[int, ...], ...] = ()


@dataclass(kw_only=True)
class ScriptedTranslator(PlainTranslator):
    """Call i of a session returns `script[i]`, after the last one nothing; every session starts the script anew."""

    vocabulary: ToyVocabulary
    script: Sequence[Scripted] = ()
    provides: frozenset[Evidence] = EVERYTHING
    name: str = "scripted"
    frame_s: float = 0.04
    max_source_s: float = 30.0
    source_words: Sequence[int] = ()
    """Word counts, one per extension of the source; the last one stays."""
    block: int | None = None
    """Samples after which new source becomes visible; none: all at once."""
    padding: int = 0
    """Columns after the valid ones, whose weights exceed all others."""
    transcripts: Sequence[tuple[int, ...]] = ()
    """What `write_source` answers, one per extension of the source; the last one stays."""
    opened: "list[ScriptedSession]" = field(default_factory=list)

    def open(self) -> "ScriptedSession":
        self.opened.append(ScriptedSession(self))
        return self.opened[-1]


class ScriptedSession(PlainSession, TextSide):
    """Hears audio only to know how much there is; remembers the prefixes it was given in `prefixes`."""

    def __init__(self, model: ScriptedTranslator) -> None:
        self.model = model
        self.source = SourceBuffer()
        self.extensions = 0
        self.ends_s: list[float] = []
        self.prefixes: list[tuple[int, ...]] = []
        self.dropped_targets: list[int] = []
        self.chained: list[tuple[tuple[int, ...], float | None]] = []
        """Source and `until_s` of every call of `translate_after`."""

    @property
    def start_s(self) -> float:
        return self.source.start_s

    @property
    def heard_s(self) -> float:
        return self.source.end_s

    @property
    def source_end(self) -> int:
        return self.source.end if self.model.block is None else self.source.end // self.model.block

    def extend_source(self, samples: FloatArray, *, is_final: bool = False) -> None:
        self.source.append(samples, is_final=is_final)
        self.extensions += 1
        self.ends_s.append(self.source.end_s)

    def hypothesise(self, prefix: Sequence[int], query: Query = PLAIN) -> list[Hypothesis]:
        line = self._next(prefix)
        best = self._best(line, len(prefix), query)
        cap = query.max_new if query.max_new is not None else 10**9
        others = [
            Hypothesis(ids=ids[:cap], stop="eos" if len(ids) <= cap else "length", score=-1.0 - i)
            for i, ids in enumerate(line.others)
        ]
        return [best, *others[: query.n_best - 1]]

    def _next(self, prefix: Sequence[int]) -> Scripted:
        call = len(self.prefixes)
        self.prefixes.append(tuple(prefix))
        return self.model.script[call] if call < len(self.model.script) else Scripted()

    def _best(self, line: Scripted, prefix: int, query: Query) -> Hypothesis:
        history = prefix if line.history is None else line.history
        weights = self._rows(line, history)
        n_valid = weights.shape[1] if line.n_valid is None else line.n_valid
        weights = np.pad(weights, [(0, 0), (0, self.model.padding)], constant_values=9)
        count, stop, next_id = len(line.ids), line.stop, line.next_id
        if query.max_new is not None and query.max_new < count:
            count, stop, next_id = query.max_new, "length", None
        for i, token in enumerate(line.ids[:count]):
            row = weights[history + i] if history + i < len(weights) else None
            answer = "continue"
            if query.gate is not None:
                logprob = line.logprobs[i] if line.logprobs is not None else 0.0
                p_choose = line.p_choose[i] if line.p_choose is not None else None
                step = TokenStep(index=i, token=token, logprob=logprob, weights=row, n_valid=n_valid, p_choose=p_choose)
                answer = query.gate(step)
            if answer != "continue":
                count, stop = (i + 1, "gate") if answer == "stop_keep" else (i, "gate")
                next_id = None if answer == "stop_keep" else token
                break
        rows = weights if count == len(line.ids) else weights[: history + count]
        alignment = Alignment(
            weights=rows, history=history, n_valid=n_valid, frame_s=self.model.frame_s, start_s=self.start_s
        )
        return Hypothesis(
            ids=line.ids[:count],
            stop=stop,
            next_id=next_id,
            logprobs=line.logprobs if count == len(line.ids) or line.logprobs is None else line.logprobs[:count],
            alignment=self._wanted(alignment, query.want),
            no_speech=line.no_speech if Evidence.NO_SPEECH in query.want else None,
        )

    @staticmethod
    def _wanted(alignment: Alignment, want: frozenset[Evidence]) -> Alignment | None:
        if Evidence.ALIGNMENT_HEADS in want:
            return replace(alignment, heads=np.stack([alignment.weights] * 3))
        return alignment if Evidence.ALIGNMENT in want else None

    def _rows(self, line: Scripted, history: int) -> FloatArray:
        if line.weights is not None:
            return line.weights
        rows, frames = history + len(line.ids), int((self.heard_s - self.start_s) / self.model.frame_s + 1e-6)
        weights = np.full((rows, frames), 0.001 if line.fill is None else line.fill, dtype=np.float32)
        if frames and line.fill is None:
            attended = np.linspace(0, frames - 1, rows, dtype=np.int64)
            if line.frames is not None:
                attended[history:] = np.maximum(0, frames - 1 - np.asarray(line.frames, dtype=np.int64))
            weights[np.arange(rows), attended] = 1
        return weights

    def write_source(self, *, max_new: int | None = None) -> Hypothesis:
        """The transcript that belongs to what was heard; its tokens attend to frames all over it."""
        said = self.model.transcripts
        ids = said[min(self.extensions, len(said)) - 1] if said and self.extensions else ()
        return self._best(Scripted(ids=ids), 0, Query(max_new=max_new, want=frozenset({Evidence.ALIGNMENT})))

    def translate_after(
        self,
        source: Sequence[int],
        prefix: Sequence[int],
        *,
        until_s: float | None = None,
        max_new: int | None = None,
        want: frozenset[Evidence] = frozenset(),
    ) -> Hypothesis:
        """The next line of the script."""
        self.chained.append((tuple(source), until_s))
        return self._best(self._next(prefix), len(prefix), Query(max_new=max_new, want=want))

    def read_write(
        self, prefix: Sequence[int], plan: ReadWrite, *, final: bool = False, want: frozenset[Evidence] = frozenset()
    ) -> Hypothesis:
        """The next line of the script."""
        return self._best(self._next(prefix), len(prefix), Query(want=want))

    def transduce(
        self, prefix: Sequence[int], plan: Transduce, *, final: bool = False, want: frozenset[Evidence] = frozenset()
    ) -> Hypothesis:
        """The next line of the script."""
        return self._best(self._next(prefix), len(prefix), Query(want=want))

    def turns(self) -> tuple[Sequence[Turn], int]:
        return (), 0

    def keep_first(self, count: int, recent: int | None = None) -> None:
        """Nothing is cached."""

    @property
    def reads_and_writes(self) -> "ScriptedSession":
        return self

    @property
    def chain(self) -> "ScriptedSession":
        return self

    @property
    def transducer(self) -> "ScriptedSession":
        return self

    @property
    def text(self) -> "ScriptedSession":
        return self

    def continue_source(self, text: str, draw: Draw) -> list[str]:
        return [" and so on"] * draw.n

    def translate_text(self, texts: Sequence[str], prefix: Sequence[int], *, max_new: int) -> list[Hypothesis]:
        """The next line of the script: its ids for the first text, its `others` for further ones."""
        line = self._next(prefix)
        pool = [line.ids, *line.others]
        return [
            Hypothesis(ids=ids[:max_new], stop=line.stop if len(ids) <= max_new else "length")
            for ids in (pool[min(i, len(pool) - 1)] if line.others else line.ids for i in range(len(texts)))
        ]

    def source_words(self, since_s: float = 0.0) -> int:
        before = sum(end_s <= since_s + 1e-6 for end_s in self.ends_s) if since_s > 0 else 0
        return self._counted(self.extensions) - self._counted(before)

    def _counted(self, extensions: int) -> int:
        counts = self.model.source_words
        return counts[min(extensions, len(counts)) - 1] if counts and extensions else 0

    def transcript(self) -> str:
        return "one two three four" if self.extensions else ""

    def drop_source(self, to_s: float) -> None:
        self.source.trim(int(to_s / self.model.frame_s + 1e-6) * round(self.model.frame_s * SAMPLE_RATE))

    def drop_target(self, count: int) -> None:
        self.dropped_targets.append(count)
