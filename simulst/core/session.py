"""One stream: audio in, events out; the same loop for the command line, SimulEval, the evaluator and the live page."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from simulst.core.alignment import anchors
from simulst.core.checked import NotFinite, SessionDecoder
from simulst.core.commit import Change, CommitLog
from simulst.core.events import EndEvent, Event, HypothesisEvent, WriteEvent
from simulst.core.forced import SILENCE_KEPT_S, segment_cut
from simulst.core.history import HistoryConfig, HistorySelector, Selector, cap_audio
from simulst.core.loaded import LoadedPolicy, as_loaded, check_fits
from simulst.core.policy import Committed, Decision, Policy, SourceView
from simulst.core.source import SAMPLE_RATE, SourceBuffer, checked_samples
from simulst.core.transcript import LongTranscript
from simulst.core.translator import Evidence, Translator
from simulst.core.turns import selector_of_stream
from simulst.errors import AudioError, ModelError, PolicyError


@dataclass(kw_only=True)
class SessionStats:
    """Counts of one stream."""

    steps: int = 0
    writes: int = 0
    tokens: int = 0
    words_written: int = 0
    words_retracted: int = 0
    forced: int = 0
    """Times the source cap forced the policy on."""
    not_finite: int = 0
    """Steps whose evidence held NaN or infinities."""
    compute_s: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    """What the policy counts: the sums of its decisions' `diagnostics["counts"]`."""


class Session:
    """Translates one stream with a model and a policy.

    `feed` takes 16 kHz mono float32 samples in pieces of any size and decides once per `chunk_ms` of audio, whatever
    the pieces; `finish` says the rest, once. `model` may be shared by any number of sessions. With `hypotheses` the
    unstable remainder is reported too, with `keep_transcript` `transcript()` covers the whole stream.
    """

    def __init__(
        self,
        model: Translator,
        policy: LoadedPolicy | Policy,
        *,
        chunk_ms: int | None = None,
        history: HistoryConfig | Selector | str | None = None,
        hypotheses: bool = False,
        keep_transcript: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not hasattr(model, "provides"):
            raise ModelError(f"A session takes a loaded model, not {model!r:.80}; load_model makes one of a name.")
        loaded = as_loaded(policy)
        self.model = model
        self.policy = loaded.policy
        self.name = loaded.name
        self.chunk_ms = loaded.chunk_ms if chunk_ms is None else chunk_ms
        if not (isinstance(self.chunk_ms, int | float | np.number) and np.isfinite(self.chunk_ms)):
            raise PolicyError(f"chunk_ms is {chunk_ms!r:.80}; it must be a number of milliseconds")
        check_fits(loaded, model)
        self._retracts = Evidence.RETRACT in loaded.policy.needs()
        chosen = loaded.history if history is None else history
        if isinstance(chosen, str):
            chosen = HistoryConfig(method=chosen)
        if not isinstance(chosen, HistoryConfig) and not hasattr(chosen, "select"):
            raise PolicyError(f"history is {chosen!r:.80}; it must be a HistoryConfig, a selector or a method's name")
        selector = HistorySelector(chosen.resolve(model.provides)) if isinstance(chosen, HistoryConfig) else chosen
        self.selector: Selector = selector
        self._max_source_s = min(model.max_source_s, selector.max_audio_s or model.max_source_s)
        self._chunk = round(self.chunk_ms * SAMPLE_RATE / 1000)
        if self._chunk < 1:
            raise PolicyError(f"chunk_ms is {self.chunk_ms}; it must be at least 1")
        if self._chunk / SAMPLE_RATE >= self._max_source_s:
            raise PolicyError(
                f"A chunk of {self.chunk_ms} ms does not fit into the {self._max_source_s:g} s of audio that "
                f"{model.name} may keep; choose a smaller chunk_ms"
            )
        self._show_hypotheses = hypotheses
        self._keep_transcript = keep_transcript
        self._clock = clock
        self.reset()

    def reset(self) -> None:
        """Forget the stream; the next one starts as in a fresh session."""
        self._source = SourceBuffer()
        self._translator = self.model.open()
        self._history = selector_of_stream(self.selector, self._translator)
        self._decoder = SessionDecoder(self.model, self._translator, self.selector.wants, whole=self._show_hypotheses)
        self._log = CommitLog(self.model.vocabulary)
        self._state: Any = self.policy.start()
        self._received = 0  # samples given to the translator
        self._ended = False
        self._started: float | None = None
        self._outbox: list[Event] = []
        self._shown_hypothesis = ""
        self._transcript = LongTranscript()
        self._mark = self._compute_before = 0.0
        self.lag = 0.0
        """Seconds from the end of the source words behind the latest write to that write, computing included."""
        self.last_decision: Decision | None = None
        self.stats = SessionStats()

    @property
    def text(self) -> str:
        """Everything that is shown now."""
        return self._log.text

    @property
    def settled_text(self) -> str:
        """What can no longer change: all that is shown, unless the policy may take back."""
        return self._log.settled if self._retracts else self._log.text

    @property
    def audio_s(self) -> float:
        """Audio that has been decided on."""
        return self._received / SAMPLE_RATE

    @property
    def prefix(self) -> tuple[int, ...]:
        """Committed ids that are still forced."""
        return self._log.prefix

    def transcript(self) -> str:
        """Recognised source text, "" where the model has none; of kept audio only unless `keep_transcript` is set."""
        kept = self._translator.transcript()
        return self._transcript.text(kept) if self._keep_transcript else kept

    def feed(self, samples: npt.ArrayLike, *, catch_up: bool = False) -> list[Event]:
        """Take samples, decide for every complete chunk, and return what happened.

        With `catch_up` all complete chunks are heard but only one decision is made, at the last of them: for a live
        stream that has fallen behind. Raises AudioError for samples that are not finite numbers in one dimension; if a
        step raises, the events before it come with the next call.
        """
        if self._ended:
            raise AudioError("The stream has ended: call reset() before feeding the next one.")
        self._begin()
        self._source.append(checked_samples(samples))
        try:
            while self._source.valid >= self._chunk:
                behind = self._source.valid >= 2 * self._chunk
                self._hear(self._source.read(end=self._source.start + self._chunk))
                if not (catch_up and behind):
                    self._step(final=False)
        finally:
            self._charge()
        return self.drain()

    def finish(self) -> list[Event]:
        """End the stream: hear what is left, say everything that is left to say. A second call does nothing."""
        if self._ended:
            return []
        self._begin()
        self._ended = True
        try:
            self._hear(self._source.read(), is_final=True)
            self._step(final=True)
        finally:
            self._charge()
        stats = self.stats
        self._outbox.append(
            EndEvent(
                text=self.text,
                audio_s=self.audio_s,
                wall_s=self._wall_s(),
                rtf=stats.compute_s / self.audio_s if self._received else 0.0,
                erasure=stats.words_retracted / max(1, self._log.words),
                counts=dict(stats.counts),
            )
        )
        return self.drain()

    @property
    def decoder_positions(self) -> int | None:
        """Entries (speech vectors, marks, tokens) the decoder has processed, each time anew; None: not counted."""
        tally = getattr(self._translator, "tally", None)
        return None if tally is None else int(tally.positions)

    @property
    def shows_rest(self) -> bool:
        """Whether the latest hypothesis went on beyond what was committed, so that its rest needs no `preview`."""
        found = self.last_decision.hypothesis if self.last_decision is not None else None
        return found is not None and found.stop != "gate"

    def preview(self, max_new: int = 16) -> str:
        """The unstable continuation of the text, decoded for display only; "" before the first chunk and after the end.

        For policies that stop decoding at the border of what is safe, whose hypotheses hold no more than they commit.
        """
        if self._ended or not self._received:
            return ""
        self._begin()
        found = self._translator.hypothesise(self._log.prefix, max_new=max_new)
        self._charge()
        return self._log.preview(found[0].ids) if found else ""

    def drain(self) -> list[Event]:
        """Events that nobody has taken yet (left behind by an interrupted call)."""
        events, self._outbox = self._outbox, []
        return events

    def _begin(self) -> None:
        self._mark = self._clock()
        if self._started is None:
            self._started = self._mark

    def _charge(self) -> None:
        """Count the time since the last mark as computing."""
        now = self._clock()
        self.stats.compute_s += now - self._mark
        self._mark = now

    def _wall_s(self) -> float:
        return self._clock() - (self._started or 0.0)

    def _hear(self, chunk: npt.NDArray[np.float32], *, is_final: bool = False) -> None:
        self._compute_before = self.stats.compute_s
        self._make_room(len(chunk))
        self._translator.extend_source(chunk, is_final=is_final)
        self._received += len(chunk)
        self._source.trim(self._received)

    def _view(self, *, is_final: bool) -> SourceView:
        return SourceView(
            start_s=self._translator.start_s,
            heard_s=self._translator.heard_s,
            received_s=self.audio_s,
            is_final=is_final,
            step=self.stats.steps,
        )

    def _committed(self) -> Committed:
        return Committed(prefix=self._log.prefix, dropped=self._log.dropped, words=self._log.words)

    def _step(self, *, final: bool) -> None:
        decision = self._decide(final=final, is_final=final)
        self._apply(decision)
        self.stats.steps += 1
        if decision.segment_end and not final:
            self._state = self.policy.start()
        if not final:
            trim = self._history.select(
                self._log.kept, start_s=self._translator.start_s, segment_end=decision.segment_end
            )
            self._trim(trim.tokens, trim.to_s)
        self._report_hypothesis(decision, final)

    def _decide(self, *, final: bool, is_final: bool) -> Decision:
        """The policy's decision; with `final` its ungated last one, of the stream or of forced progress."""
        self._decoder.prefix, self._decoder.final = self._log.prefix, final
        ask = self.policy.finish if final else self.policy.step
        try:
            decision = ask(self._view(is_final=is_final), self._committed(), self._decoder, self._state)
        except NotFinite:
            self.stats.not_finite += 1
            decision = Decision(reason="evidence is not finite", diagnostics={"not_finite": self.stats.not_finite})
        available = 0 if decision.hypothesis is None else len(decision.hypothesis.ids)
        if not (0 <= decision.commit <= available and 0 <= decision.retract <= len(self._log.kept)):
            raise PolicyError(
                f"Policy {self.name} decided to commit {decision.commit} of {available} tokens and to retract "
                f"{decision.retract} of {len(self._log.kept)}; nothing was committed."
            )
        self.stats.counts.update(decision.diagnostics.get("counts", {}))
        self.last_decision = decision
        return decision

    def _apply(self, decision: Decision) -> None:
        """Write what was decided and refresh the anchors of kept ids, where the alignment's rows index them."""
        hypothesis = decision.hypothesis
        if hypothesis is None and not decision.retract:
            return
        alignment = None if hypothesis is None else hypothesis.alignment
        history = len(self._log.kept) - decision.retract
        if alignment is not None and alignment.history != history:
            alignment = None
        times = anchors(alignment, history + decision.commit, self.policy.attended)
        frame_s = alignment.frame_s if alignment is not None else 0.0
        words = self._log.words
        change = self._log.apply(
            hypothesis.ids[: decision.commit] if hypothesis is not None else (),
            retract=decision.retract,
            anchors=times[history:],
            frame_s=frame_s,
            heard_s=self._translator.heard_s,
        )
        self._log.realign(times[:history])
        self.stats.tokens += decision.commit
        self.stats.words_retracted += change.words_retracted
        self.stats.words_written += self._log.words - words + change.words_retracted
        if change:
            self.stats.writes += 1
            self._write(change)

    def _write(self, change: Change) -> None:
        self._charge()
        if change.end_s is not None:
            self.lag = max(0.0, self.audio_s - change.end_s) + self.stats.compute_s - self._compute_before
        self._outbox.append(
            WriteEvent(
                text=change.text,
                retract=change.retract,
                audio_s=self.audio_s,
                wall_s=self._wall_s(),
                compute_s=self.stats.compute_s,
                start_s=change.start_s,
                end_s=change.end_s,
            )
        )

    def _trim(self, tokens: int, to_s: float | None) -> None:
        if tokens:
            self._log.drop(tokens)
            self._translator.drop_target(tokens)
        if to_s is not None and to_s > self._translator.start_s:
            before = self._translator.transcript() if self._keep_transcript else ""
            self._translator.drop_source(min(to_s, self._translator.heard_s))
            if self._keep_transcript:
                self._transcript.forget(before, self._translator.transcript())

    def _make_room(self, samples: int) -> None:
        """Trim so that the next samples fit under the source cap; force the policy on where that would lose speech."""
        need_s = (self._received + samples) / SAMPLE_RATE - self._max_source_s
        if need_s <= self._translator.start_s:
            return
        need_s += self.model.frame_s  # audio goes in whole frames
        trim = cap_audio(self._log.kept, start_s=self._translator.start_s, need_s=need_s)
        if trim is not None:
            self._trim(trim.tokens, trim.to_s)
        else:
            self._force(need_s)

    def _force(self, need_s: float) -> None:
        """Commit what the model says about the kept audio, up to a good place to cut, and begin a new segment there."""
        self.stats.forced += 1
        decision = self._decide(final=True, is_final=False)
        heard_s = self._translator.heard_s
        cut = heard_s if decision.commit or decision.retract else heard_s - SILENCE_KEPT_S
        if decision.hypothesis is not None:
            keep, at_s = segment_cut(decision.hypothesis, decision.commit, self.model.vocabulary, need_s, self.policy)
            if at_s is not None:
                decision, cut = replace(decision, commit=keep), at_s
        self.last_decision = decision = replace(decision, segment_end=True, reason="source cap")
        self._apply(decision)
        self._state = self.policy.start()
        self._trim(len(self._log.kept), max(cut, need_s))

    def _report_hypothesis(self, decision: Decision, final: bool) -> None:
        if not self._show_hypotheses:
            return
        rest = decision.hypothesis.ids[decision.commit :] if decision.hypothesis is not None and not final else ()
        text = self._log.preview(rest) if rest else ""
        if text != self._shown_hypothesis:
            self._shown_hypothesis = text
            self._outbox.append(HypothesisEvent(text=text, audio_s=self.audio_s, wall_s=self._wall_s()))
