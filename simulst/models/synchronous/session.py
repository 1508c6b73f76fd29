"""A stream on a model that writes as it hears: what it wrote stays, and decoding is to hand out what was written."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from simulst.core.source import SAMPLE_RATE, finite_samples
from simulst.core.translator import PLAIN, Alignment, Evidence, FloatArray, Hypothesis, PlainSession, Query, TokenStep
from simulst.errors import ModelError
from simulst.models.decoding import Stop
from simulst.models.vocabulary import PieceVocabulary


@dataclass(frozen=True, kw_only=True, slots=True)
class Emission:
    """A token and the number of the frame that it belongs to, counted from the start of the stream."""

    id: int
    frame: int
    logprob: float


class FrameStream(Protocol):
    """What a model knows of one stream: caches whose size does not depend on time."""

    @property
    def frames(self) -> int:
        """Frames that were decoded, silence after the end among them."""
        ...

    @property
    def between_words(self) -> bool:
        """Whether the model has paused, so that its last word is whole."""
        ...

    def hear(self, samples: FloatArray, *, is_final: bool) -> list[Emission]:
        """What the model writes while it hears the samples, with `is_final` up to the end of the audio."""
        ...


class Synchronous(Protocol):
    """Weights that open such streams."""

    name: str
    vocabulary: PieceVocabulary
    frame_samples: int

    def stream(self) -> FrameStream: ...


class SynchronousSession(PlainSession):
    """One stream: the model's own, and what it wrote that is still kept.

    Each token's row is 1 on its frame and 0 elsewhere. A prefix is what the model wrote itself: ModelError for another.
    """

    def __init__(self, translator: Synchronous) -> None:
        self.translator = translator
        self._stream = translator.stream()
        self._emitted: list[Emission] = []
        """What stands in kept audio or can still be in a prefix."""
        self._first = 0
        """How many of them can no longer be in a prefix."""
        self._received = self._start = 0  # samples, frames
        self._ended = False

    @property
    def start_s(self) -> float:
        return self._start * self._frame_s

    @property
    def heard_s(self) -> float:
        received_s = self._received / SAMPLE_RATE
        return received_s if self._ended else min(self._frames * self._frame_s, received_s)

    @property
    def source_end(self) -> int:
        """Frames decoded."""
        return self._frames

    def extend_source(self, samples: FloatArray, *, is_final: bool = False) -> None:
        samples = finite_samples(samples)
        if self._ended:
            raise ValueError("the source has ended: nothing can be appended")
        self._received += len(samples)
        self._ended = is_final
        self._emitted += self._stream.hear(samples, is_final=is_final)

    def hypothesise(self, prefix: Sequence[int], query: Query = PLAIN) -> list[Hypothesis]:
        """What was written after `prefix`; one hypothesis, whatever the search asked for."""
        told = self._emitted[self._first :]
        if tuple(prefix) != tuple(one.id for one in told[: len(prefix)]):
            raise ModelError(
                f"Model {self.translator.name} writes while it hears and cannot go on from text that it did not write; "
                "use a policy that commits what the model says as it stands."
            )
        history, fresh = told[: len(prefix)], told[len(prefix) :]
        count, stop, next_id = self._cut(fresh, query)
        said = fresh[:count]
        logprobs = tuple(one.logprob for one in said)
        return [
            Hypothesis(
                ids=tuple(one.id for one in said),
                stop=stop,
                next_id=next_id,
                logprobs=logprobs if Evidence.LOGPROBS in query.want else None,
                alignment=self._alignment([*history, *said], len(history), query.want),
                score=sum(logprobs) / max(1, len(logprobs)),
            )
        ]

    def transcript(self) -> str:
        """What was written about the kept audio."""
        kept = [one.id for one in self._emitted if one.frame >= self._start]
        return self.translator.vocabulary.decode(kept).strip()

    def drop_source(self, to_s: float) -> None:
        """Forget audio before `to_s`, rounded down to a frame; what was written about it can still be committed."""
        self._start = max(self._start, int(min(to_s, self.heard_s) / self._frame_s + 1e-6))
        self._forget()

    def drop_target(self, count: int) -> None:
        self._first += count
        self._forget()

    def _forget(self) -> None:
        gone = 0
        while gone < self._first and self._emitted[gone].frame < self._start:
            gone += 1
        del self._emitted[:gone]
        self._first -= gone

    @property
    def _frame_s(self) -> float:
        return self.translator.frame_samples / SAMPLE_RATE

    @property
    def _frames(self) -> int:
        """Frames decoded, none of them after the end of the audio."""
        received = -(-self._received // self.translator.frame_samples)
        return received if self._ended else min(self._stream.frames, received)

    def _cut(self, fresh: Sequence[Emission], query: Query) -> tuple[int, Stop, int | None]:
        """How many new tokens are told, why no more, and the one that would come next."""
        for i, one in enumerate(fresh):
            if query.max_new is not None and i >= query.max_new:
                return i, "length", one.id
            verdict = "continue" if query.gate is None else query.gate(self._step(i, one, query.want))
            if verdict != "continue":
                keep = i + (verdict == "stop_keep")
                return keep, "gate", fresh[keep].id if keep < len(fresh) else None
        if self._ended or self._stream.between_words:
            return len(fresh), "eos", self.translator.vocabulary.eos
        return len(fresh), "length", None

    def _step(self, index: int, one: Emission, want: frozenset[Evidence]) -> TokenStep:
        wanted = want & {Evidence.ALIGNMENT, Evidence.ALIGNMENT_HEADS}
        row = self._rows([one])[0] if wanted else None
        return TokenStep(
            index=index, token=one.id, logprob=one.logprob, weights=row, n_valid=self._frames - self._start
        )

    def _rows(self, tokens: Sequence[Emission]) -> FloatArray:
        """Rows [tokens, frames]; of tokens whose frame is no longer kept they are 0."""
        rows = np.zeros((len(tokens), self._frames - self._start), dtype=np.float32)
        for row, one in zip(rows, tokens, strict=True):
            frame = min(one.frame, self._frames - 1) - self._start
            if frame >= 0:
                row[frame] = 1.0
        return rows

    def _alignment(self, tokens: Sequence[Emission], history: int, want: frozenset[Evidence]) -> Alignment | None:
        if not want & {Evidence.ALIGNMENT, Evidence.ALIGNMENT_HEADS}:
            return None
        rows = self._rows(tokens)
        return Alignment(
            weights=rows,
            heads=rows[None] if Evidence.ALIGNMENT_HEADS in want else None,
            history=history,
            n_valid=rows.shape[1],
            frame_s=self._frame_s,
            start_s=self.start_s,
        )
