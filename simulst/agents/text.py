"""The text-to-text agent: source words one by one, the same policies, no audio."""

from collections.abc import Sequence
from typing import Any, ClassVar

from simulst.agents.base import PolicyAgent, SessionStates
from simulst.agents.harness import TextToTextAgent
from simulst.core.checked import NotFinite, SessionDecoder
from simulst.core.commit import CommitLog
from simulst.core.policy import READ, Committed, Decision, SourceView
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
        self._steps = 0
        self._ended = False
        self.last_decision: Decision | None = None

    @property
    def text(self) -> str:
        return self._log.text

    @property
    def settled_text(self) -> str:
        return self._log.text

    def feed(self, words: Sequence[str]) -> None:
        for word in words:
            self._translator.extend_text([word])
            self._step(final=False)

    def finish(self) -> None:
        """A second call does nothing."""
        if not self._ended:
            self._ended = True
            self._translator.extend_text([], is_final=True)
            self._step(final=True)

    def _step(self, *, final: bool) -> None:
        heard = self._translator.heard_s
        view = SourceView(start_s=0.0, heard_s=heard, received_s=heard, is_final=final, step=self._steps)
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
            self._log.apply(decision.hypothesis.ids[: decision.commit], heard_s=heard)
        self.last_decision = decision
        self._steps += 1


class WordStates(SessionStates):
    """One source text; a segment is a word."""

    def prepare(self, segment: Any) -> list[str]:
        return list(segment.content.split())


class TextAgent(PolicyAgent, TextToTextAgent):  # type: ignore[misc]
    """One policy on the text side of one model. SimulEval asks on after the source's end until a write is finished."""

    policy_name: ClassVar[str] = "wait_k"
    states_kind: ClassVar[type[SessionStates]] = WordStates

    def load(self, device: str, dtype: str | None) -> TextTranslator:
        return TextTranslator(super().load(device, dtype))

    def open_session(self) -> TextSession:
        return TextSession(self.model, self.settings.policy)
