"""One stream on a speech LLM: encoder state, kept speech vectors, their cache, and decoding after the committed ids."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch

from simulst.core.translator import Evidence, FloatArray, Gate, Hypothesis, ReadWrite, SourceLanguageModel, Turn
from simulst.errors import AudioError, ModelError
from simulst.models.decoding import Candidate, Rules, to_hypothesis
from simulst.models.search import RECENT_IDS, search
from simulst.models.speech_llm.cache import Tally
from simulst.models.speech_llm.chain import translate_after, write_source
from simulst.models.speech_llm.compute import Compute
from simulst.models.speech_llm.contexts import BatchContext, Context, Rows
from simulst.models.speech_llm.grouped import GroupedContext
from simulst.models.speech_llm.interleaved import Heard, InterleavedStream, tag
from simulst.models.speech_llm.text import continue_source, translate_text
from simulst.models.speech_llm.weights import Weights
from simulst.models.text.source_model import load_source_model

CLOSING_S = 0.5
"""Silence that a model which reads and writes by itself hears after the end, so that it knows the last word is over."""


@dataclass(frozen=True, kw_only=True)
class SourceWord:
    """A CTC token of the source and the speech vector (absolute) it was read from."""

    token: int
    vector: int


class SpeechLLMSession:
    """One stream: nothing here is shared with another session but the weights."""

    def __init__(self, weights: Weights, compute: Compute) -> None:
        self.weights, self.compute = weights, compute
        model = weights.model
        self._encoder = model.encoder.open()
        self._vectors = model.embeddings.new_zeros(0, model.embeddings.shape[1])
        self._first = 0  # absolute index of the oldest kept vector
        self.tally = Tally()
        self._context: Context | None = None
        self._interleaved: InterleavedStream | None = None
        self._sinks = 0
        self._received = 0
        self._source: tuple[SourceWord, ...] = ()
        self._last_ctc = weights.blank
        self._words = 0
        self._before_end: tuple[dict[str, Any], torch.Tensor] | None = None
        """What was known before the last piece of audio, and that piece."""

    def _new_context(self) -> Context:
        cache = self.compute.new_cache(self.tally)
        if self.weights.options.positions == "grouped":
            return GroupedContext(self.weights, cache)
        return BatchContext(self.weights, cache)

    @property
    def start_s(self) -> float:
        return self._first * self.weights.frame_s

    @property
    def heard_s(self) -> float:
        return min((self._first + len(self._vectors)) * self.weights.frame_s, self._received / 16_000)

    @property
    def source_end(self) -> int:
        return self._first + len(self._vectors)

    def extend_source(self, samples: FloatArray, *, is_final: bool = False) -> None:
        """Encode the blocks that became complete; frames that are out are never computed again."""
        samples = np.asarray(samples, dtype=np.float32)
        if samples.ndim != 1 or not np.isfinite(samples).all():
            raise AudioError("Audio must be mono samples that are finite numbers.")
        self._received += len(samples)
        with torch.inference_mode():
            audio = torch.from_numpy(samples.copy()).to(self.weights.model.embeddings)
            if is_final and self.weights.model.config.reads_and_writes:
                known = ("_encoder", "_vectors", "_first", "_source", "_last_ctc", "_words")
                state = {name: getattr(self, name) for name in known}
                self._before_end = ({**state, "_encoder": self._encoder.clone()}, audio)
            self._encode(audio, is_final=is_final)

    def _encode(self, audio: torch.Tensor, *, is_final: bool) -> None:
        vectors, tokens = self.compute.hear(audio, self._encoder, is_final=is_final)
        if tokens:
            self._hear_words(tokens)
            self._vectors = torch.cat((self._vectors, vectors))

    def _hear_silence(self) -> None:
        """Hear the last piece again with silence after it, once, where nothing of it was read or forgotten yet."""
        if self._before_end is None:
            return
        (state, audio), self._before_end = self._before_end, None
        read = 0 if self._interleaved is None else self._interleaved.next
        if state["_first"] == self._first and read <= self._first + len(state["_vectors"]):
            vars(self).update(state, _encoder=state["_encoder"].clone())  # a snapshot may hold the same
            with torch.inference_mode():
                self._encode(torch.cat((audio, audio.new_zeros(round(CLOSING_S * 16_000)))), is_final=True)

    def _hear_words(self, tokens: Sequence[int]) -> None:
        """Greedy CTC of new vectors: collapse repeats, drop blanks, count word starts."""
        weights = self.weights
        at = self._first + len(self._vectors)
        found = []
        for offset, token in enumerate(tokens):
            if token not in (weights.blank, self._last_ctc):
                found.append(SourceWord(token=token, vector=at + offset))
                self._words += weights.vocabulary.starts_word(token)
            self._last_ctc = token
        self._source = (*self._source, *found)

    def source_words(self, since_s: float = 0.0) -> int:
        if since_s <= 0:
            return self._words
        starts, frame_s = self.weights.vocabulary.starts_word, self.weights.frame_s
        return sum(starts(word.token) and word.vector * frame_s >= since_s - 1e-6 for word in self._source)

    def transcript(self) -> str:
        """Greedy CTC of the kept audio."""
        return self.weights.vocabulary.decode([word.token for word in self._source]).strip()

    def source_tokens(self) -> tuple[SourceWord, ...]:
        """Tokens that CTC finds in the kept audio, in order."""
        return self._source

    def word_times(self) -> list[tuple[str, float]]:
        """Recognised source words of the kept audio and the absolute time each begins to be heard."""
        vocabulary, words = self.weights.vocabulary, list[tuple[list[int], float]]()
        for piece in self._source:
            if vocabulary.starts_word(piece.token) or not words:
                words.append(([], piece.vector * self.weights.frame_s))
            words[-1][0].append(piece.token)
        return [(vocabulary.decode(tokens).strip(), at) for tokens, at in words]

    def drop_source(self, to_s: float) -> None:
        """Forget vectors before `to_s`; the cache closes up, or is filled anew when it is next needed."""
        count = min(int(to_s / self.weights.frame_s + 1e-6) - self._first, len(self._vectors))
        if count > 0:
            self._vectors = self._vectors[count:].clone()
            self._first += count
            self.compute.forget(self._encoder, count)
            self._source = tuple(word for word in self._source if word.vector >= self._first)
            if self._context is not None:
                self._context.drop_source(count)
            if self._interleaved is not None:
                self._interleaved.drop_source(self._first)

    def drop_target(self, count: int) -> None:
        if self._context is not None:
            self._context.drop_target(count)
        if self._interleaved is not None:
            self._interleaved.drop_target(count)

    def snapshot(self) -> object:
        return {**{k: v for k, v in vars(self).items() if k not in ("weights", "compute", "tally")}, **self._forked()}

    def rollback(self, snapshot: object) -> None:
        assert isinstance(snapshot, dict)
        vars(self).update(snapshot)
        vars(self).update(self._forked())

    def _forked(self) -> dict[str, object]:
        return {
            "_encoder": self._encoder.clone(),
            "_context": None if self._context is None else self._context.fork(),
            "_interleaved": None if self._interleaved is None else self._interleaved.fork(),
        }

    def hypothesise(
        self,
        prefix: Sequence[int],
        *,
        max_new: int | None = None,
        n_best: int = 1,
        sample: bool = False,
        seed: int = 0,
        gate: Gate | None = None,
        want: frozenset[Evidence] = frozenset(),
    ) -> list[Hypothesis]:
        """Continue `prefix` given the kept vectors."""
        every_head = Evidence.ALIGNMENT_HEADS in want
        rows = every_head or Evidence.ALIGNMENT in want
        cap = self._cap(max_new, len(prefix))
        if not len(self._vectors) or cap <= 0:
            nothing = Candidate(stop="eos" if not len(self._vectors) else "length")
            return [self._hypothesis(nothing, self._no_history(len(prefix), every_head) if rows else None, want)]
        wanted = Rows(wanted=rows, every_head=every_head)
        if self._context is None:
            self._context = self._new_context()
        run, step, history = self._context.begin(self._vectors, self._first, prefix, wanted)
        rules, options, n_valid = self._rules(prefix, cap), self.weights.options, len(self._vectors)
        found = search(run, step, rules, options, n_best=n_best, draw=sample, seed=seed, gate=gate, n_valid=n_valid)
        self._context.end(run)
        return [self._hypothesis(one, history, want) for one in found]

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
        return max(0, int(5 * len(self._vectors) * self.weights.frame_s) + 20 - prefix)

    def _no_history(self, prefix: int, every_head: bool) -> FloatArray:
        count = len(self._vectors)
        shape = (prefix, len(self.weights.attention.heads), count) if every_head else (prefix, count)
        return np.zeros(shape, dtype=np.float32)

    def _hypothesis(self, found: Candidate, history: FloatArray | None, want: frozenset[Evidence]) -> Hypothesis:
        hypothesis = to_hypothesis(
            found,
            history=history,
            n_valid=len(self._vectors) if history is None else history.shape[-1],
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
        nothing = Candidate(stop="eos")
        if len(self._vectors) and cap > 0:
            nothing = write_source(self.weights, self._batch_context(), self._vectors, self._first, cap)
        return self._hypothesis(nothing, self._no_history(0, every_head=True), want)

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
        frame_s = self.weights.frame_s
        end = len(self._vectors) if until_s is None else max(0, int(until_s / frame_s + 1e-6) - self._first)
        vectors, cap = self._vectors[:end], self._cap(max_new, len(prefix))
        every_head = Evidence.ALIGNMENT_HEADS in want
        rows = Rows(wanted=every_head or Evidence.ALIGNMENT in want, every_head=every_head)
        if not len(vectors) or cap <= 0:
            stop: Literal["eos", "length"] = "length" if len(vectors) else "eos"
            history = self._no_history(len(prefix), every_head)[..., : len(vectors)] if rows.wanted else None
            return self._hypothesis(Candidate(stop=stop), history, want)
        rules, context = self._rules(prefix, cap), self._batch_context()
        found, history = translate_after(self.weights, context, vectors, self._first, source, prefix, rules, rows)
        return self._hypothesis(found, history, want)

    def _batch_context(self) -> BatchContext:
        if self._context is None:
            self._context = self._new_context()
        if not isinstance(self._context, BatchContext):
            raise ModelError("The transcript comes before the translation with positions=batch only.")
        return self._context

    def read_write(
        self, prefix: Sequence[int], plan: ReadWrite, *, final: bool = False, want: frozenset[Evidence] = frozenset()
    ) -> Hypothesis:
        """Read the vectors that are new, write where the model (or the clock) says so; all new ids, in order."""
        if final:
            self._hear_silence()
        if self._interleaved is None or tag(self._interleaved.plan) != tag(plan):
            self._interleaved = InterleavedStream(self.weights, self.compute.new_cache(self.tally), plan)
        stream, count = self._interleaved, len(self._vectors)
        stream.plan, stream.sinks = plan, self._sinks
        stream.follow(prefix)
        rows = bool(want & {Evidence.ALIGNMENT, Evidence.ALIGNMENT_HEADS})
        written = stream.advance(self._heard(), rows, final=final)
        history = stream.history(len(prefix) + len(written.ids), self._first, count) if rows else None
        found = Candidate(
            ids=tuple(written.ids),
            logprobs=tuple(written.logprobs),
            rows=() if history is None else tuple(history[len(prefix) :]),
            total=sum(written.logprobs),
            stop=written.stop,
        )
        return self._hypothesis(found, None if history is None else history[: len(prefix)], want)

    def turns(self) -> tuple[Sequence[Turn], int]:
        return ((), 0) if self._interleaved is None else self._interleaved.turns()

    def keep_first(self, count: int) -> None:
        if count and not self.weights.evicts_turns:
            raise ModelError("Attention sinks are cached entries that outlive their source; load with cache=evict.")
        self._sinks = count

    def _heard(self) -> Heard:
        starts, marks = self.weights.vocabulary.starts_word, self.weights.sentence_marks
        return Heard(
            vectors=self._vectors,
            first=self._first,
            words=lambda a, b: sum(a <= word.vector < b and starts(word.token) for word in self._source),
            sentence_ends=frozenset(word.vector for word in self._source if word.token in marks),
        )

    def continuer(self, name: str) -> SourceLanguageModel:
        """The causal model `name`, or this one."""
        return load_source_model(name) if name else self

    def continue_source(
        self, text: str, *, n: int, max_tokens: int, top_p: float = 0.9, temperature: float = 1.0, seed: int = 0
    ) -> list[str]:
        """`n` sampled continuations of a source text, each without the text itself."""
        return continue_source(
            self.weights, text, n=n, max_tokens=max_tokens, top_p=top_p, temperature=temperature, seed=seed
        )

    def translate_text(self, texts: Sequence[str], prefix: Sequence[int], *, max_new: int) -> list[Hypothesis]:
        """Greedy translations of source texts that begin with `prefix`: new ids only."""
        return translate_text(self.weights, texts, prefix, max_new=max_new)
