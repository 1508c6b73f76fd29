"""One stream on a speech LLM: encoder state, kept speech vectors, their cache, and decoding after the committed ids."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import torch

from simulst.core.source import finite_samples
from simulst.core.translator import (
    PLAIN,
    Evidence,
    FloatArray,
    Hypothesis,
    PlainSession,
    Query,
    ReadWrite,
    SourceModel,
    Transduce,
    Turn,
)
from simulst.errors import ModelError
from simulst.models.decoding import Candidate, Rules, to_hypothesis
from simulst.models.search import RECENT_IDS, search
from simulst.models.speech_llm.cache import Tally
from simulst.models.speech_llm.chain import translate_after, write_source
from simulst.models.speech_llm.compute import Compute
from simulst.models.speech_llm.contexts import BatchContext, Context, Rows
from simulst.models.speech_llm.grouped import GroupedContext
from simulst.models.speech_llm.head_budget import HeadBudget
from simulst.models.speech_llm.hearing import Hearing, SourceWord
from simulst.models.speech_llm.interleaved import PROMPT, Heard, InterleavedStream, tag
from simulst.models.speech_llm.joint import JointStream
from simulst.models.speech_llm.text import SpeechLLMText
from simulst.models.speech_llm.transduced import TransducerStream
from simulst.models.speech_llm.weights import Weights

CLOSING_S = 0.5
"""Silence that a model which reads and writes by itself hears after the end, so that it knows the last word is over."""


class SpeechLLMSession(PlainSession):
    """One stream: nothing here is shared with another session but the weights."""

    def __init__(self, weights: Weights, compute: Compute) -> None:
        self.weights, self.compute = weights, compute
        self._hearing = Hearing.begin(weights, compute)
        self.tally = Tally()
        self._context: Context | None = None
        self._chained: BatchContext | None = None
        self._interleaved: InterleavedStream | None = None
        self._transduced: TransducerStream | None = None
        self._sinks = 0
        self._recent: int | None = None
        self._received = 0
        self._silence = 0
        """Samples before the first ones of a segment, so that its vectors lie where those of the stream do."""
        self._before_end: tuple[Hearing, torch.Tensor] | None = None
        """What was known before the last piece of audio, and that piece."""

    def _new_context(self) -> Context:
        cache = self.compute.new_cache(self.tally)
        if self.weights.options.positions == "grouped":
            return GroupedContext(self.weights, cache)
        return BatchContext(self.weights, cache)

    @property
    def segments(self) -> "SpeechLLMSession":
        return self

    def restart(self) -> None:
        """Hear what comes next as a recording of its own, on the same axis."""
        vector_samples = round(self.weights.frame_s * 16_000)
        first, self._silence = divmod(self._received, vector_samples)
        self._hearing.restart(first)
        self._context = self._chained = self._interleaved = self._transduced = self._before_end = None

    @property
    def reads_and_writes(self) -> "SpeechLLMSession | None":
        return self if self.weights.model.config.reads_and_writes else None

    @property
    def chain(self) -> "SpeechLLMSession | None":
        return self if "chain" in self.weights.model.config.tasks else None

    @property
    def transducer(self) -> "SpeechLLMSession | None":
        return None if self.weights.transducer is None else self

    @property
    def text(self) -> SourceModel:
        return SpeechLLMText(self.weights, lambda: self.compute.new_cache(Tally()))

    @property
    def decoder_positions(self) -> int:
        return self.tally.positions

    @property
    def start_s(self) -> float:
        return self._hearing.first * self.weights.frame_s

    @property
    def heard_s(self) -> float:
        return min(self._hearing.end * self.weights.frame_s, self._received / 16_000)

    @property
    def source_end(self) -> int:
        return self._hearing.end

    def extend_source(self, samples: FloatArray, *, is_final: bool = False) -> None:
        """Encode the blocks that became complete; frames that are out are never computed again."""
        samples = finite_samples(samples)
        self._received += len(samples)
        if self._silence:
            samples = np.concatenate([np.zeros(self._silence, np.float32), samples])
            self._silence = 0
        with torch.inference_mode():
            audio = torch.from_numpy(samples.copy()).to(self.weights.device)
        if is_final and self.weights.model.config.reads_and_writes:
            self._before_end = (self._hearing.copy(), audio)
        self._hearing.hear(audio, is_final=is_final)

    def _hear_silence(self) -> None:
        """Hear the last piece again with silence after it, once, where nothing of it was read or forgotten yet."""
        if self._before_end is None:
            return
        (before, audio), self._before_end = self._before_end, None
        read = 0 if self._interleaved is None else self._interleaved.next
        if before.first == self._hearing.first and read <= before.end:
            self._hearing = before
            with torch.inference_mode():
                longer = torch.cat((audio, audio.new_zeros(round(CLOSING_S * 16_000))))
            before.hear(longer, is_final=True)

    def source_words(self, since_s: float = 0.0) -> int:
        return self._hearing.words_since(since_s)

    def transcript(self) -> str:
        """Greedy CTC of the kept audio."""
        return self._hearing.transcript()

    def source_tokens(self) -> tuple[SourceWord, ...]:
        """Tokens that CTC finds in the kept audio, in order."""
        return self._hearing.source

    def word_times(self) -> list[tuple[str, float]]:
        """Recognised source words of the kept audio and the absolute time each begins to be heard."""
        return self._hearing.word_times()

    def drop_source(self, to_s: float) -> None:
        """Forget vectors before `to_s`; the cache closes up, or is filled anew when it is next needed."""
        hearing = self._hearing
        count = min(int(to_s / self.weights.frame_s + 1e-6) - hearing.first, len(hearing.vectors))
        if count > 0:
            hearing.forget(count)
            for context in (self._context, self._chained):
                if context is not None:
                    context.drop_source(count)
            if self._transduced is not None:
                self._transduced.drop_source(count)
            if self._interleaved is not None:
                self._interleaved.drop_source(hearing.first)

    def drop_target(self, count: int) -> None:
        if self._context is not None:
            self._context.drop_target(count)
        if self._transduced is not None:
            self._transduced.drop_target(count)
        if self._interleaved is not None:
            self._interleaved.drop_target(count)

    def hypothesise(self, prefix: Sequence[int], query: Query = PLAIN) -> list[Hypothesis]:
        """Continue `prefix` given the kept vectors."""
        every_head = Evidence.ALIGNMENT_HEADS in query.want
        rows = every_head or Evidence.ALIGNMENT in query.want
        cap = self._cap(query.max_new, len(prefix))
        if not len(self._hearing.vectors) or cap <= 0:
            nothing = Candidate(stop="eos" if not len(self._hearing.vectors) else "length")
            return [self._hypothesis(nothing, self._no_history(len(prefix), every_head) if rows else None, query.want)]
        write = Evidence.P_CHOOSE in query.want
        wanted = Rows(wanted=rows, every_head=every_head, p_choose=write)
        if self._context is None:
            self._context = self._new_context()
        run, step, history = self._context.begin(self._hearing.vectors, self._hearing.first, prefix, wanted)
        rules, options, n_valid = self._rules(prefix, cap), self.weights.options, len(self._hearing.vectors)
        if write:  # which are those of one sequence
            options = replace(options, beams=1)
        found = search(run, step, rules, options, query, n_valid=n_valid)
        self._context.end(run)
        return [self._hypothesis(one, history, query.want) for one in found]

    def _rules(self, prefix: Sequence[int], cap: int) -> Rules:
        weights = self.weights
        return Rules(
            eos=weights.vocabulary.eos,
            max_new=cap,
            suppress=weights.suppress,
            no_repeat_ngram=weights.options.no_repeat_ngram,
            recent=tuple(prefix[-RECENT_IDS:]),
        )

    def _cap(self, max_new: int | None, prefix: int) -> int:
        if max_new is not None:
            return max_new
        return max(0, int(5 * len(self._hearing.vectors) * self.weights.frame_s) + 20 - prefix)

    def _no_history(self, prefix: int, every_head: bool) -> FloatArray:
        count = len(self._hearing.vectors)
        shape = (prefix, len(self.weights.attention.heads), count) if every_head else (prefix, count)
        return np.zeros(shape, dtype=np.float32)

    def _hypothesis(self, found: Candidate, history: FloatArray | None, want: frozenset[Evidence]) -> Hypothesis:
        hypothesis = to_hypothesis(
            found,
            history=history,
            n_valid=len(self._hearing.vectors) if history is None else history.shape[-1],
            frame_s=self.weights.frame_s,
            start_s=self.start_s,
            logprobs=Evidence.LOGPROBS in want,
        )
        if hypothesis.alignment is not None and Evidence.ALIGNMENT_HEADS not in want:
            return replace(hypothesis, alignment=replace(hypothesis.alignment, heads=None))
        return hypothesis

    def write_source(self, *, max_new: int | None = None) -> Hypothesis:
        """The transcript of the kept vectors as the decoder writes it, with alignment."""
        cap, want = self._cap(max_new, 0), frozenset({Evidence.ALIGNMENT})
        hearing, found = self._hearing, Candidate(stop="eos")
        if len(hearing.vectors) and cap > 0:
            found = write_source(self.weights, self._batch_context(), hearing.vectors, hearing.first, cap)
        return self._hypothesis(found, self._no_history(0, every_head=True), want)

    def translate_after(
        self,
        source: Sequence[int],
        prefix: Sequence[int],
        *,
        until_s: float | None = None,
        max_new: int | None = None,
        want: frozenset[Evidence] = frozenset(),
    ) -> Hypothesis:
        """Continue `prefix` after a transcript, given the kept vectors before `until_s`."""
        hearing, frame_s = self._hearing, self.weights.frame_s
        end = None if until_s is None else max(0, int(until_s / frame_s + 1e-6) - hearing.first)
        vectors, cap = hearing.vectors[:end], self._cap(max_new, len(prefix))
        every_head = Evidence.ALIGNMENT_HEADS in want
        rows = Rows(wanted=every_head or Evidence.ALIGNMENT in want, every_head=every_head)
        if not len(vectors) or cap <= 0:
            stop: Literal["eos", "length"] = "length" if len(vectors) else "eos"
            history = self._no_history(len(prefix), every_head)[..., : len(vectors)] if rows.wanted else None
            return self._hypothesis(Candidate(stop=stop), history, want)
        rules, context = self._rules(prefix, cap), self._batch_context()
        found, history = translate_after(self.weights, context, vectors, hearing.first, source, prefix, rules, rows)
        return self._hypothesis(found, history, want)

    def _batch_context(self) -> BatchContext:
        """Where a transcript stands before the translation, with positions of one count; with grouped ones it has a
        cache of its own."""
        if self._context is None and self.weights.options.positions != "grouped":
            self._context = self._new_context()
        if isinstance(self._context, BatchContext):
            return self._context
        if self._chained is None:
            self._chained = BatchContext(self.weights, self.compute.new_cache(self.tally))
        return self._chained

    def read_write(
        self, prefix: Sequence[int], plan: ReadWrite, *, final: bool = False, want: frozenset[Evidence] = frozenset()
    ) -> Hypothesis:
        """Read the vectors that are new, write where the model (or the clock) says so; all new ids, in order."""
        if final:
            self._hear_silence()
        if self._interleaved is None or tag(self._interleaved.plan) != tag(plan):
            self._interleaved = self._new_stream(plan)
        stream, count = self._interleaved, len(self._hearing.vectors)
        stream.plan, stream.sinks = plan, self._sinks
        stream.follow(prefix)
        rows = bool(want & {Evidence.ALIGNMENT, Evidence.ALIGNMENT_HEADS})
        written = stream.advance(self._heard(), rows, final=final)
        history = stream.history(len(prefix) + len(written.ids), self._hearing.first, count) if rows else None
        found = Candidate(
            ids=tuple(written.ids),
            logprobs=tuple(written.logprobs),
            rows=() if history is None else tuple(history[len(prefix) :]),
            total=sum(written.logprobs),
            stop=written.stop,
        )
        return self._hypothesis(found, None if history is None else history[: len(prefix)], want)

    def _new_stream(self, plan: ReadWrite) -> InterleavedStream:
        cache = self.compute.new_cache(self.tally, self._budget())
        if not plan.joint:
            return InterleavedStream(self.weights, cache, plan)
        if "joint" not in self.weights.model.config.tasks:
            raise ModelError("The model was not trained to write transcript and translation in one text.")
        return JointStream(self.weights, cache, plan, self.compute.once)

    def transduce(
        self, prefix: Sequence[int], plan: Transduce, *, final: bool = False, want: frozenset[Evidence] = frozenset()
    ) -> Hypothesis:
        """Look at the blocks that are new; the tokens that are written for good."""
        if self._transduced is None:
            self._transduced = TransducerStream(self.weights, self.compute.new_cache(self.tally))
        stream, hearing, forced = self._transduced, self._hearing, tuple(prefix)
        ids = stream.advance(hearing.vectors, hearing.first, forced, plan, final=final)
        every_head = Evidence.ALIGNMENT_HEADS in want
        if ids is None or not len(hearing.vectors) or not (every_head or Evidence.ALIGNMENT in want):
            return self._hypothesis(Candidate(ids=ids or (), stop="eos"), None, want)
        rows = Rows(wanted=True, every_head=every_head)
        history = stream.rows(hearing.vectors, hearing.first, (*forced, *ids), rows)
        found = Candidate(ids=ids, rows=tuple(history[len(forced) :]), stop="eos")
        return self._hypothesis(found, history[: len(forced)], want)

    def turns(self) -> tuple[Sequence[Turn], int]:
        return ((), 0) if self._interleaved is None else self._interleaved.turns()

    def keep_first(self, count: int, recent: int | None = None) -> None:
        if count and not self.weights.evicts_turns:
            raise ModelError("Attention sinks are cached entries that outlive their source; load with cache=evict.")
        self._sinks, self._recent = count, recent
        self.compute.new_cache(Tally(), self._budget())

    def _budget(self) -> HeadBudget | None:
        if self._recent is None:
            return None
        if self.weights.options.beams > 1:
            raise ModelError(
                "A budget by head is for greedy decoding; load with beams=1 or use history.method = turns."
            )
        return HeadBudget(streaming=self.weights.streaming_heads(), first=PROMPT + self._sinks, recent=self._recent)

    def _heard(self) -> Heard:
        hearing, marks = self._hearing, self.weights.sentence_marks
        return Heard(
            vectors=hearing.vectors,
            first=hearing.first,
            words=hearing.words_between,
            sentence_ends=frozenset(word.vector for word in hearing.source if word.token in marks),
        )
