"""One stream: audio in, events out; the same loop for the command line, SimulEval, the evaluator and the live page."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy.typing as npt

from simulst.core.activity import SpeechActivity
from simulst.core.commit import REPLACEMENT
from simulst.core.deciding import Deciding
from simulst.core.events import Event
from simulst.core.forced import SILENCE_KEPT_S, segment_cut
from simulst.core.glossary import Glossary
from simulst.core.history import HistoryConfig, HistorySelector, Selector
from simulst.core.loaded import LoadedPolicy, as_loaded, chunk_samples, favouring_of
from simulst.core.policy import AnyPolicy, Decision
from simulst.core.source import SAMPLE_RATE, FloatArray, SourceBuffer, checked_samples
from simulst.core.transcript import LongTranscript
from simulst.core.translator import Query, Translator
from simulst.core.turns import selector_of_stream
from simulst.errors import AudioError, ModelError, PolicyError


class Session(Deciding):
    """Translates one stream with a model and a policy.

    `feed` takes 16 kHz mono float32 samples in pieces of any size and decides once per `chunk_ms` of audio, whatever
    the pieces; `finish` says the rest, once. `model` may be shared by any number of sessions. With `hypotheses` the
    unstable remainder is reported too, with `keep_transcript` `transcript()` covers the whole stream. Terms of a
    `glossary` are favoured once they are heard; GlossaryError where model or policy take none.
    """

    def __init__(
        self,
        model: Translator,
        policy: LoadedPolicy | AnyPolicy,
        *,
        chunk_ms: int | None = None,
        history: HistoryConfig | Selector | str | None = None,
        hypotheses: bool = False,
        keep_transcript: bool = False,
        glossary: Glossary | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if isinstance(model, str | Path):
            raise ModelError(f"A session takes a loaded model, not {model!r:.80}; load_model makes one of a name.")
        loaded = as_loaded(policy)
        self.chunk_ms = loaded.chunk_ms if chunk_ms is None else chunk_ms
        self._chunk = chunk_samples(self.chunk_ms)
        super().__init__(model, loaded, clock=clock)
        chosen = loaded.history if history is None else history
        if isinstance(chosen, str):
            chosen = HistoryConfig(method=chosen)
        if not isinstance(chosen, HistoryConfig | Selector):
            raise PolicyError(f"history is {chosen!r:.80}; it must be a HistoryConfig, a selector or a method's name")
        selector = HistorySelector(chosen.resolve(model.provides)) if isinstance(chosen, HistoryConfig) else chosen
        self.selector: Selector = selector
        self._segments = chosen if isinstance(chosen, HistoryConfig) else HistoryConfig()
        self._max_source_s = min(model.max_source_s, selector.max_audio_s or model.max_source_s)
        if self._chunk / SAMPLE_RATE >= self._max_source_s:
            raise PolicyError(
                f"A chunk of {self.chunk_ms} ms does not fit into the {self._max_source_s:g} s of audio that "
                f"{model.name} may keep; choose a smaller chunk_ms"
            )
        self._show_hypotheses = hypotheses
        self._keep_transcript = keep_transcript
        self._favouring = None if glossary is None else favouring_of(glossary, loaded, model)
        self.reset()

    def reset(self) -> None:
        """Forget the stream; the next one starts as in a fresh session."""
        translator = self.model.open()
        self._source = SourceBuffer()
        self._history = selector_of_stream(self.selector, translator)
        self._activity = SpeechActivity()
        self._received = 0  # samples given to the translator
        self._judged = 0  # samples in which speech was looked for
        self._transcript = LongTranscript()
        self._begin(
            translator,
            self.selector.wants,
            whole=self._show_hypotheses,
            activity=self._activity,
            favouring=self._favouring,
        )

    def transcript(self) -> str:
        """Recognised source text, "" where the model has none; of kept audio only unless `keep_transcript` is set."""
        kept = self._translator.transcript()
        text = self._transcript.text(kept) if self._keep_transcript else kept
        return text.replace(REPLACEMENT, "")  # half a character that was recognised

    def feed(self, samples: npt.ArrayLike, *, catch_up: bool = False) -> list[Event]:
        """Take samples, decide for every complete chunk, and return what happened.

        With `catch_up` all complete chunks are heard but only one decision is made, at the last of them: for a live
        stream that has fallen behind. Raises AudioError for samples that are not finite numbers in one dimension; if a
        step raises, the events before it come with the next call.
        """
        self.take(samples)
        while self.advance(catch_up=catch_up):
            pass
        return self.drain()

    def take(self, samples: npt.ArrayLike) -> None:
        """Take samples and leave the rest to `advance`, as `feed_all` does. Raises AudioError as `feed` does."""
        if self._ended:
            raise AudioError("The stream has ended: call reset() before feeding the next one.")
        self._report.begin()
        self._source.append(checked_samples(samples))
        self._report.charge()

    def advance(self, *, catch_up: bool = False) -> bool:
        """Hear the next complete chunk and decide; False where there is none."""
        if self._source.valid < self._chunk:
            return False
        behind = self._source.valid >= 2 * self._chunk
        self._report.begin()
        try:
            self._hear_segments(self._source.read(end=self._source.start + self._chunk))
            if not (catch_up and behind):
                self._step(final=False)
        finally:
            self._report.charge()
        return True

    def finish(self) -> list[Event]:
        """End the stream: hear what is left, say everything that is left to say. A second call does nothing."""
        if self._ended:
            return []
        self._report.begin()
        self._ended = True
        try:
            rest = self._source.read()
            self._judge(rest)
            self._hear(rest, is_final=True)
            self._step(final=True)
        finally:
            self._report.charge()
        return self._close()

    def break_off(self) -> list[Event]:
        """End the stream as it stands: what an interrupted call has left behind, and the end."""
        self._ended = True
        return self._close()

    @property
    def decoder_positions(self) -> int | None:
        """Entries (speech vectors, marks, tokens) the decoder has processed, each time anew; None: not counted."""
        return self._translator.decoder_positions

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
        self._report.begin()
        query = Query(max_new=max_new, favoured=self._decoder.favoured(self._log.prefix))
        found = self._translator.hypothesise(self._log.prefix, query)
        self._report.charge()
        return self._log.preview(found[0].ids) if found else ""

    def _hear_segments(self, chunk: FloatArray) -> None:
        """Hear a chunk; where a pause in it ends a segment, that is heard and translated to its end before the rest."""
        self._judge(chunk)
        whole_s = (self._received + len(chunk)) / SAMPLE_RATE
        while (cut := self._segment_cut(len(chunk))) is not None:
            self._hear(chunk[:cut], is_final=True)
            self._report.audio_s = whole_s
            self._end_segment()
            chunk = chunk[cut:]
        self._hear(chunk)

    def _judge(self, samples: FloatArray) -> None:
        """Note where the next samples hold speech, once also where hearing them failed and is tried again."""
        self._activity.extend(samples[self._judged - self._received :])
        self._judged = self._received + len(samples)

    def _segment_cut(self, samples: int) -> int | None:
        """Samples of the next ones up to where a pause has ended a segment; None where none ends in them, or where the
        model cannot hear what comes next as a recording of its own."""
        config, translator = self._segments, self._translator
        if config.segment_s is None or translator.segments is None:
            return None
        end_s = self._activity.segment_end(translator.start_s, least_s=config.segment_s, pause_s=config.pause_s)
        if end_s is None:
            return None
        return min(max(0, round((end_s + config.pause_s) * SAMPLE_RATE) - self._received), samples)

    def _end_segment(self) -> None:
        """Say all that is left of a segment, and begin the next one as if it were a stream of its own."""
        decision = self._decide(final=True, is_final=False)
        self._apply(decision)
        self.stats.steps += 1
        self._rule.restart()
        segments, before = self._translator.segments, self._translator.transcript() if self._keep_transcript else ""
        assert segments is not None
        self._translator.drop_target(len(self._log.kept))
        self._log.drop(len(self._log.kept))
        segments.restart()
        self._activity.trim(self._translator.start_s)
        self._transcript.forget(before, "")

    def _hear(self, chunk: FloatArray, *, is_final: bool = False) -> None:
        """Give samples to the model whose activity is known."""
        self._report.hear()
        self._make_room(len(chunk))
        self._translator.extend_source(chunk, is_final=is_final)
        self._activity.trim(self._translator.start_s)
        self._received += len(chunk)
        self._report.audio_s = self._received / SAMPLE_RATE
        self._source.trim(self._received)

    def _step(self, *, final: bool) -> None:
        over = not final and self._segment_over()
        decision = self._decide(final=final or over, is_final=final)
        self._apply(decision)
        self.stats.steps += 1
        if (over or decision.segment_end) and not final:
            self._rule.restart()
        if over:
            self._trim(len(self._log.kept), self._translator.heard_s)
        elif not final:
            trim = self._history.select(
                self._log.kept, start_s=self._translator.start_s, segment_end=decision.segment_end
            )
            ended_s = decision.segment_end_s if trim.tokens == len(self._log.kept) else None
            self._trim(trim.tokens, trim.to_s if ended_s is None else ended_s)
        self._report_hypothesis(decision, final)

    def _segment_over(self) -> bool:
        """Whether a pause ends a segment here, of a model that hears all segments as one stream: it may forget them
        only while the pause lasts."""
        config, translator = self._segments, self._translator
        if config.segment_s is None or translator.segments is not None:
            return False
        limits = {"least_s": config.segment_s, "pause_s": config.pause_s}
        return self._activity.segment_over(translator.start_s, translator.heard_s, **limits)

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
        trim = self._history.make_room(self._log.kept, start_s=self._translator.start_s, need_s=need_s)
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
        self._rule.restart()
        self._trim(len(self._log.kept), max(cut, need_s))

    def _report_hypothesis(self, decision: Decision, final: bool) -> None:
        if self._show_hypotheses:
            rest = decision.hypothesis.ids[decision.commit :] if decision.hypothesis is not None and not final else ()
            self._report.hypothesis(self._log.preview(rest) if rest else "")
