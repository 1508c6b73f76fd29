"""What speech and text agents share: a session behind SimulEval's states and actions."""

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import ClassVar, Generic, Protocol, Self, TypeVar

from simulst.agents.harness import Action, AgentStates, GenericAgent, ReadAction, Segment, WriteAction
from simulst.agents.settings import AgentSettings, add_options, make_splitter, one_sentence
from simulst.core.events import Event, ProgressEvent
from simulst.sinks.drive import hand
from simulst.sinks.words import WordWriter

S = TypeVar("S")
S_contra = TypeVar("S_contra", contravariant=True)
"""What a session is fed: samples, or words."""
M = TypeVar("M")
"""The model of an agent."""


class Stream(Protocol[S_contra]):
    """A session of speech or text."""

    def feed(self, source: S_contra, /) -> list[Event]: ...
    def finish(self) -> list[Event]: ...
    def progress(self) -> ProgressEvent: ...


class SessionStates(AgentStates, Generic[S]):
    """One stream: its session, and the source that came since the last decision. Keeps no copy of the source.

    The session opens when it is first needed: SimulEval resets states before the model is where it belongs.
    """

    def __init__(self, open_session: Callable[[], Stream[S]]) -> None:
        self._open = open_session
        super().__init__()

    def reset(self) -> None:
        super().reset()
        self._session: Stream[S] | None = None
        self.writer = WordWriter()
        self.pending: list[S] = []

    @property
    def session(self) -> Stream[S]:
        if self._session is None:
            self._session = self._open()
        return self._session

    def update_source(self, segment: Segment) -> None:
        """Take a segment. A language tag that is not text (SimulEval's default) counts as none."""
        self.source_finished = bool(segment.finished)
        self.tgt_lang = segment.tgt_lang if isinstance(segment.tgt_lang, str) else None
        if not segment.is_empty and len(segment.content):
            self.pending.append(self.prepare(segment))

    def prepare(self, segment: Segment) -> S:
        """The source of a segment as the session takes it."""
        raise NotImplementedError


class PolicyAgent(GenericAgent, Generic[S, M]):
    """One policy on one model, mixed into SimulEval's agent classes.

    Weights are loaded once; every `states` object (`build_states`) is a stream of its own.
    """

    policy_name: ClassVar[str] = "stream_att"
    states: SessionStates[S]

    def __init__(self, args: Namespace | None = None) -> None:
        self.settings = AgentSettings.from_args(args, self.policy_name, source=self.source_type)
        self._split = make_splitter(self.settings)
        self._model: M | None = None
        device = vars(args).get("device") if args is not None else None
        self._place = (device or "cpu", self.settings.dtype)
        self._guard: Callable[[], AbstractContextManager[None]] = nullcontext
        super().__init__(args)  # builds states and resets them
        self.device = self._place[0]

    @classmethod
    def add_args(cls, parser: ArgumentParser) -> None:
        add_options(parser, cls.policy_name)

    @classmethod
    def from_args(cls, args: Namespace) -> Self:
        """As SimulEval's command line builds it: loads the model, so that mistakes show before any source is read."""
        with one_sentence():
            agent = cls(args)
            agent.open_session()
        agent._guard = one_sentence
        return agent

    def to(self, device: str, *args: object, fp16: bool = False, **kwargs: object) -> None:
        """Move to a device, for the streams that begin after this."""
        place = (device, "float16" if fp16 else self.settings.dtype)
        if place != self._place:
            self._place, self._model = place, None
            self.reset()
        self.device = device

    @property
    def model(self) -> M:
        if self._model is None:
            with self._guard():
                self._model = self.load(*self._place)
        return self._model

    def load(self, device: str, dtype: str | None) -> M:
        raise NotImplementedError

    def open_session(self) -> Stream[S]:
        raise NotImplementedError

    def build_states(self) -> SessionStates[S]:
        raise NotImplementedError

    def policy(self, states: SessionStates[S] | None = None) -> Action:
        """Decide on the source that has come; at its end everything left is one finished write."""
        now = self.states if states is None else states
        pending, now.pending = now.pending, []
        with self._guard():
            for source in pending:
                hand(now.session.feed(source), [now.writer])
            hand(now.session.finish() if now.source_finished else [now.session.progress()], [now.writer])
        text = now.writer.take().strip()
        if not text and not now.source_finished:
            return ReadAction()
        return WriteAction(self._split(text), finished=now.source_finished)
