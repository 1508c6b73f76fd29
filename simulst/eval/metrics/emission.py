"""From what a session shows to what a log counts: when which word was written.

An append-only reader, as SimulEval's harness is one, splits every write into words for itself, so it must be given
whole words: a word whose next token is known to belong to it (its full stop, say) waits for that token.
"""

from collections.abc import Iterable
from typing import Protocol

from simulst.core.events import Event, WriteEvent
from simulst.core.policy import Decision
from simulst.core.translator import Translator
from simulst.eval.logs.units import Unit


class Speaker(Protocol):
    """What is needed of a session."""

    @property
    def text(self) -> str: ...
    @property
    def settled_text(self) -> str: ...
    @property
    def model(self) -> Translator: ...
    @property
    def last_decision(self) -> Decision | None: ...


class WordWriter:
    """Whole words of a session's text, each given out once."""

    def __init__(self, session: Speaker) -> None:
        self._session = session
        self._given = 0

    def take(self, *, final: bool = False) -> str:
        """The text since the last call as far as it can be written now, all of it when `final`."""
        session = self._session
        text = session.text if final else session.settled_text
        fresh = text[self._given :]
        if not final and session.model.vocabulary.spaced and not (text == session.text and opens_word(session)):
            fresh = fresh[: _last_space(fresh)]
        self._given += len(fresh)
        return fresh


def opens_word(session: Speaker) -> bool:
    """Whether the model's next token begins a new word, as far as its last hypothesis tells."""
    decision, vocabulary = session.last_decision, session.model.vocabulary
    if decision is None or decision.hypothesis is None:
        return False
    hypothesis = decision.hypothesis
    if decision.commit < len(hypothesis.ids):
        following: int | None = hypothesis.ids[decision.commit]
    else:
        following = vocabulary.eos if hypothesis.stop == "eos" else hypothesis.next_id
    return following is not None and (following == vocabulary.eos or vocabulary.starts_word(following))


def cut_units(text: str, unit: Unit) -> list[str]:
    """Units as SimulEval counts them: words between white space, or characters without blanks."""
    return text.split() if unit == "word" else list("".join(text.split()))


class AppendedUnits:
    """Every unit with the audio received and the computation spent when it was written; nothing is taken back."""

    def __init__(self, session: Speaker, unit: Unit) -> None:
        self._session, self._unit = session, unit
        self._writer = WordWriter(session)
        self.units: list[str] = []
        self.times: list[tuple[float, float]] = []
        """(audio, audio + all computation so far), seconds."""

    def take(self, events: Iterable[Event], audio_s: float, compute_s: float, *, final: bool = False) -> None:
        """Note what one step of the session has written."""
        new = cut_units(self._writer.take(final=final), self._unit)
        self.units += new
        self.times += [(audio_s, audio_s + compute_s)] * len(new)

    @property
    def text(self) -> str:
        return " ".join(self.units) if self._unit == "word" else self._session.text.strip()


class RevisedUnits:
    """The same for text that is taken back and corrected: a unit has the time of the write that last changed it."""

    def __init__(self, unit: Unit) -> None:
        self._unit, self._shown = unit, ""
        self.times: list[tuple[float, float]] = []

    def take(self, events: Iterable[Event], audio_s: float, compute_s: float, *, final: bool = False) -> None:
        for event in events:
            if isinstance(event, WriteEvent):
                self._change(event)

    def _change(self, event: WriteEvent) -> None:
        old, keep = self._shown, len(self._shown) - event.retract
        self._shown = new = old[:keep] + event.text
        kept = len(cut_units(old[:keep], self._unit))
        ends = not old[keep : keep + 1].strip() and not new[keep : keep + 1].strip()
        if self._unit == "word" and kept and not ends and not old[keep - 1].isspace():
            kept -= 1  # the change reaches into the last kept word
        count = len(cut_units(new, self._unit))
        now = (event.audio_s, event.audio_s + event.compute_s)
        self.times = [*self.times[:kept], *[now] * (count - kept)]

    @property
    def text(self) -> str:
        return " ".join(self._shown.split()) if self._unit == "word" else self._shown.strip()


def _last_space(text: str) -> int:
    """Length of the text up to its last white space."""
    return max((i for i, character in enumerate(text) if character.isspace()), default=0)
