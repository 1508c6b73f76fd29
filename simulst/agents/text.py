"""The text-to-text agent: source words one by one, the same policies, no audio."""

import time
from collections.abc import Sequence
from typing import ClassVar

from simulst.agents.base import PolicyAgent, SessionStates
from simulst.agents.harness import Segment, TextToTextAgent
from simulst.core.boundary import opens_word
from simulst.core.checked import NotFinite, SessionDecoder
from simulst.core.commit import CommitLog
from simulst.core.events import Event, ProgressEvent
from simulst.core.policy import READ, Committed, Decision, SourceView
from simulst.core.report import Report, SessionStats
from simulst.errors import PolicyError
from simulst.models.text.translator import TextTranslator
from simulst.policies import LoadedPolicy, check_fits


class TextSession:
    """One source text on one model and policy: a decision per word, and all that is left at the end."""

    def __init__(self, model: TextTranslator, policy: LoadedPolicy) -> None:
        check_fits(policy, model)
        self.model, self.policy = model, policy
        self._translator = model.open()
        self._decoder = SessionDecoder(model, self._translator, frozenset())
        self._log = CommitLog(model.vocabulary)
        self._state = policy.policy.start()
        self._stats = SessionStats()
        self._report = Report(self._stats, time.monotonic)
        self._ended = False
        self.last_decision: Decision | None = None

    @property
    def text(self) -> str:
        return self._log.text

    def feed(self, words: Sequence[str], /) -> list[Event]:
        self._report.begin()
        for word in words:
            self._translator.extend_text([word])
            self._step(final=False)
        self._report.charge()
        return self._report.drain()

    def finish(self) -> list[Event]:
        """A second call does nothing."""
        if self._ended:
            return []
        self._ended = True
        self._report.begin()
        self._translator.extend_text([], is_final=True)
        self._step(final=True)
        self._report.charge()
        self._report.end(self.text, words=self._log.words)
        return self._report.drain()

    def progress(self) -> ProgressEvent:
        whole = not self.model.vocabulary.spaced or opens_word(self.last_decision, self.model.vocabulary)
        return self._report.progress(settled=self._log.chars, whole=whole)

    def _step(self, *, final: bool) -> None:
        heard = self._report.audio_s = self._translator.heard_s
        view = SourceView(start_s=0.0, heard_s=heard, received_s=heard, is_final=final, step=self._stats.steps)
        committed = Committed(prefix=self._log.prefix, dropped=0, words=self._log.words, kept_words=self._log.words)
        self._decoder.prefix, self._decoder.final = self._log.prefix, final
        rule = self.policy.policy
        try:
            decision = (rule.finish if final else rule.step)(view, committed, self._decoder, self._state)
        except NotFinite:
            decision = READ
        if decision.retract:
            raise PolicyError(f"Policy {self.policy.name} takes text back, which SimulEval cannot.")
        if decision.hypothesis is not None and decision.commit:
            change = self._log.apply(decision.hypothesis.ids[: decision.commit], heard_s=heard)
            if change:
                self._report.write(change, settled=self._log.chars)
        self.last_decision = decision
        self._stats.steps += 1


class WordStates(SessionStates[list[str]]):
    """One source text; a segment is a word."""

    def prepare(self, segment: Segment) -> list[str]:
        return str(segment.content).split()


class TextAgent(PolicyAgent[list[str], TextTranslator], TextToTextAgent):
    """One policy on the text side of one model. SimulEval asks on after the source's end until a write is finished."""

    policy_name: ClassVar[str] = "wait_k"

    def load(self, device: str, dtype: str | None) -> TextTranslator:
        return TextTranslator(self.settings.load(device, dtype))

    def open_session(self) -> TextSession:
        return TextSession(self.model, self.settings.policy)

    def build_states(self) -> WordStates:
        return WordStates(self.open_session)
