"""A stream on a model that encodes a window of audio again: what is kept, and decoding after the committed ids.

The run decides how the encoding reaches the decoder: by cross-attention (`session.py`), or as entries of a prompt
(`simulst.models.audio_llm`).
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Generic, Protocol, TypeVar

import numpy as np

from simulst.core.source import SAMPLE_RATE, SourceBuffer, finite_samples
from simulst.core.translator import PLAIN, Alignment, Evidence, FloatArray, Hypothesis, PlainSession, Query
from simulst.errors import ModelError
from simulst.models.decoding import Candidate, Rules, Run, Step, Stop, greedy, to_hypothesis
from simulst.models.search import RECENT_IDS, search
from simulst.models.seq2seq.weights import WindowWeights
from simulst.models.seq2seq.windows import EncodedWindow


class PromptedRun(Run, Protocol):
    """A run that is begun with a prompt and the committed ids."""

    marks: FloatArray | None
    """Rows of the prompt, [heads, marks, frames], where each head is wanted and the prompt holds nothing but marks."""

    def start(self, prompt: Sequence[int], prefix: Sequence[int]) -> tuple[Step, FloatArray | None]:
        """Feed prompt and prefix; the scores of the first new token, and the rows of the prefix."""
        ...


RunT = TypeVar("RunT", bound=PromptedRun)


class WindowSession(PlainSession, ABC, Generic[RunT]):
    """One stream: the kept audio, its encoding, and nothing that another session could see."""

    def __init__(self, translator: WindowWeights) -> None:
        self.translator = translator
        self._source = SourceBuffer()
        self._window: EncodedWindow | None = None
        self._text: tuple[int, ...] = ()
        """The last prefix and what followed it."""
        self._forgotten: tuple[int, ...] = ()
        """Ids that history selection dropped, newest last."""

    @property
    def start_s(self) -> float:
        return self._source.start_s

    @property
    def heard_s(self) -> float:
        return self._source.end_s

    @property
    def source_end(self) -> int:
        return self._source.end

    def extend_source(self, samples: FloatArray, *, is_final: bool = False) -> None:
        """Append samples; beyond the encoder's longest window the oldest audio is forgotten."""
        samples = finite_samples(samples)
        self._source.append(samples, is_final=is_final)
        if len(samples):
            self._window = None
        surplus = self._source.valid - self.translator.encoder.max_samples
        if surplus > 0:
            frame = self.translator.encoder.frame_samples
            self._source.trim(-(-(self._source.start + surplus) // frame) * frame)

    def drop_source(self, to_s: float) -> None:
        """Forget audio before `to_s`, rounded down to a frame."""
        frame = self.translator.encoder.frame_samples
        to_sample = min(int(to_s * SAMPLE_RATE + 1e-3), self._source.end) // frame * frame
        if to_sample > self._source.start:
            self._source.trim(to_sample)
            self._window = None

    @property
    def segments(self) -> "WindowSession[RunT]":
        return self

    def restart(self) -> None:
        """Forget what was heard; ids that went before stay what models take as text before."""
        self.drop_source(self.heard_s)
        self._source.is_final = False

    def drop_target(self, count: int) -> None:
        """Remember the dropped ids as the text before, for models that take it as context."""
        self._forgotten = (*self._forgotten, *self._text[:count])[-self.translator.positions :]
        self._text = self._text[count:]

    def source_words(self, since_s: float = 0.0) -> int:
        raise ModelError(
            f"Model '{self.translator.name}' does not count source words; use a policy that counts by time, "
            "or a model with CTC such as tiny-en-de."
        )

    def transcript(self) -> str:
        """Recognised source text of the kept audio: decoded on demand, "" where the model only translates."""
        window = self._encoded()
        prompt = None if window is None else self._transcript_prompt(window)
        if window is None or prompt is None:
            return ""
        run = self._run(window, rows=False, every_head=False)
        step, _ = run.start(prompt, ())
        found = self._reviewed(greedy(run, step, self._rules((), self._cap(None, 0), len(prompt))), run, ())
        return self.translator.vocabulary.decode(found.ids).strip()

    def hypothesise(self, prefix: Sequence[int], query: Query = PLAIN) -> list[Hypothesis]:
        """Continue `prefix` given the kept audio; ids that no longer fit the decoder's positions are left out from the
        front, and their alignment rows are zero."""
        self._text = prefix = tuple(prefix)
        window = self._encoded(prefix)
        if window is None or (query.max_new is not None and query.max_new <= 0):
            return [self._empty(len(prefix), "length" if window else "eos", query.want)]
        every_head = Evidence.ALIGNMENT_HEADS in query.want
        rows = every_head or Evidence.ALIGNMENT in query.want
        prompt = self._prompt(window)  # first: a run of its own may fill the window's cache
        run = self._run(window, rows=rows, every_head=every_head)
        kept = prefix[max(0, len(prefix) - self._room(len(prompt))) :]
        step, history = run.start(prompt, kept)
        if history is not None and len(kept) < len(prefix):
            missing = np.zeros((len(prefix) - len(kept), *history.shape[1:]), dtype=np.float32)
            history = np.concatenate([missing, history])
        rules = self._rules(prefix, self._cap(query.max_new, len(prefix)), len(prompt) + len(kept))
        drawn = search(run, step, rules, self.translator.options, query, n_valid=window.n_valid)
        found = [self._reviewed(one, run, prefix) for one in drawn]
        self._text = (*prefix, *found[0].ids)
        hypotheses = [
            to_hypothesis(
                one,
                history=history,
                n_valid=window.n_valid,
                frame_s=self.translator.frame_s,
                start_s=self.start_s,
                logprobs=Evidence.LOGPROBS in query.want,
                marks=run.marks,
            )
            for one in found
        ]
        if Evidence.NO_SPEECH not in query.want:
            return hypotheses
        return [replace(one, no_speech=self._no_speech(run)) for one in hypotheses]

    def _encoded(self, prefix: tuple[int, ...] = ()) -> EncodedWindow | None:
        """The encoding of the kept audio, computed once per change; None where there is too little."""
        if self._window is None and self._source.valid >= self.translator.encoder.min_samples:
            self._window = self._encode(self._source.read())
        return self._window

    def _encode(self, samples: FloatArray) -> EncodedWindow:
        return self.translator.encoder.encode(samples)

    def _rules(self, prefix: tuple[int, ...], cap: int, used: int) -> Rules:
        return Rules(
            eos=self.translator.vocabulary.eos,
            max_new=max(0, min(cap, self.translator.positions - used)),
            suppress=self.translator.suppress,
            suppress_first=self._suppress_first(prefix),
            no_repeat_ngram=self.translator.options.no_repeat_ngram,
            recent=prefix[-RECENT_IDS:],
        )

    def _cap(self, max_new: int | None, prefix: int) -> int:
        if max_new is not None:
            return max_new
        kept_s = self._source.valid / SAMPLE_RATE
        return max(20, int(self.translator.tokens_per_second * kept_s) + 20 - prefix)

    def _room(self, prompt: int) -> int:
        """How many committed ids the decoder may be given, with half its positions left for new ones at least."""
        return max(1, (self.translator.positions - prompt) // 2)

    def _empty(self, history: int, stop: Stop, want: frozenset[Evidence]) -> Hypothesis:
        translator = self.translator
        alignment = Alignment(
            weights=np.zeros((history, 0), dtype=np.float32),
            heads=np.zeros((len(translator.attention.heads), history, 0), dtype=np.float32),
            history=history,
            n_valid=0,
            frame_s=translator.frame_s,
            start_s=self.start_s,
        )
        return Hypothesis(
            ids=(),
            stop=stop,
            logprobs=() if Evidence.LOGPROBS in want else None,
            alignment=alignment if want & {Evidence.ALIGNMENT, Evidence.ALIGNMENT_HEADS} else None,
        )

    @abstractmethod
    def _run(self, window: EncodedWindow, *, rows: bool, every_head: bool) -> RunT:
        """A decoding run over the window, with attention rows where they are wanted."""

    @abstractmethod
    def _prompt(self, window: EncodedWindow) -> tuple[int, ...]:
        """Ids before the translation."""

    def _transcript_prompt(self, window: EncodedWindow) -> tuple[int, ...] | None:
        return None

    def _suppress_first(self, prefix: tuple[int, ...]) -> Sequence[int]:
        return ()

    def _no_speech(self, run: RunT) -> float | None:
        """Probability that the window holds no speech, where the model knows one."""
        return None

    def _reviewed(self, found: Candidate, run: RunT, prefix: tuple[int, ...]) -> Candidate:
        """A last word on a candidate, such as "this was no speech"."""
        return found
