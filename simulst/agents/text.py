"""The text-to-text agent: source words one by one, the same policies, no audio."""

import time
from collections.abc import Sequence
from typing import ClassVar

from simulst.agents.base import PolicyAgent, SessionStates
from simulst.agents.harness import Segment, TextToTextAgent
from simulst.core.deciding import Deciding
from simulst.core.events import Event
from simulst.errors import PolicyError
from simulst.models.text.translator import TextModel, text_translator
from simulst.policies import LoadedPolicy


class TextSession(Deciding):
    """One source text on one model and policy: a decision per word, and all that is left at the end."""

    def __init__(self, model: TextModel, policy: LoadedPolicy) -> None:
        super().__init__(model, policy, clock=time.monotonic)
        if self.revises:
            raise PolicyError(f"Policy {policy.name} takes text back, which SimulEval cannot.")
        self._source = model.open()
        self._begin(self._source)

    def feed(self, words: Sequence[str], /) -> list[Event]:
        self._report.begin()
        for word in words:
            self._source.extend_text([word])
            self._step(final=False)
        self._report.charge()
        return self.drain()

    def finish(self) -> list[Event]:
        """A second call does nothing."""
        if self._ended:
            return []
        self._ended = True
        self._report.begin()
        self._source.extend_text([], is_final=True)
        self._step(final=True)
        self._report.charge()
        return self._close()

    def _step(self, *, final: bool) -> None:
        self._report.audio_s = self._source.heard_s
        self._apply(self._decide(final=final, is_final=final))
        self.stats.steps += 1


class WordStates(SessionStates[list[str]]):
    """One source text; a segment is a word."""

    def prepare(self, segment: Segment) -> list[str]:
        return str(segment.content).split()


class TextAgent(PolicyAgent[list[str], TextModel], TextToTextAgent):
    """One policy on the text side of one model. SimulEval asks on after the source's end until a write is finished."""

    policy_name: ClassVar[str] = "wait_k"

    def load(self, device: str, dtype: str | None) -> TextModel:
        return text_translator(self.settings.load(device, dtype))

    def open_session(self) -> TextSession:
        return TextSession(self.model, self.settings.policy)

    def build_states(self) -> WordStates:
        return WordStates(self.open_session)
