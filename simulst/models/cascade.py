"""Cascade: a recogniser commits source words as they are spoken, a text model translates them: `--model ASR+TEXT`.

The recogniser runs in a session of its own under StreamAtt, so that its words are final and its audio is trimmed; the
text model sees whole words only. What a policy can ask for is the evidence of a text translator; where the text model
tells its attention over source words, that is attention over time (AlignAtt and StreamAtt on text, as Alignatt4LLM).
"""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from simulst.core.events import WriteEvent
from simulst.core.history import AUDIO_MARGIN_S
from simulst.core.languages import Pair, side_by_side
from simulst.core.sentences import ends_sentence
from simulst.core.translator import (
    DECODING,
    PLAIN,
    FloatArray,
    Hypothesis,
    PlainTranslator,
    Query,
    SourceModel,
    Translator,
)
from simulst.errors import ModelError
from simulst.models.ears import Listening, Rooms
from simulst.models.halves import CascadeFamily, Options
from simulst.models.meeting import Meeting
from simulst.models.registry import can_provide
from simulst.models.text.translator import TEXT, TextTranslatorSession, text_translator
from simulst.models.word_clock import FRAME_S, TimedGate, WordClock

if TYPE_CHECKING:
    from simulst.core.session import Session

MAX_SOURCE_S = 30.0
REST_S = AUDIO_MARGIN_S
"""How long after a cut a sentence may end whose last words are forgotten too."""


def load(family: CascadeFamily, options: Options, *, name: str, device: str, dtype: str | None) -> "Cascade":
    """The cascade of the two models of a family of cascades."""
    recogniser, text = family.load_halves(options, device=device, dtype=dtype)
    return Cascade(recogniser, text, name=name, options=options)


class Cascade(PlainTranslator):
    """A recogniser and a text model; sessions hold everything else."""

    frame_s = FRAME_S
    max_source_s = MAX_SOURCE_S
    meeting: Meeting | None = None
    """Where its streams meet."""

    def __init__(self, recogniser: Translator, text: Translator, *, name: str, options: Options) -> None:
        from simulst.policies import load_policy

        self.name, self.options = name, options
        self.recogniser, self.text = recogniser, text_translator(text)
        self.vocabulary = self.text.vocabulary
        self.provides = self.text.provides
        self.tokens_per_second = self.text.tokens_per_second
        self.policy = load_policy(options.recogniser_policy)
        if self.policy.policy.revises:
            raise ModelError(f"Policy '{options.recogniser_policy}' takes words back; a recogniser must commit them.")
        self.listen()

    def listen(self) -> "Session":
        """A session of the recogniser."""
        from simulst.core.session import Session

        return Session(self.recogniser, self.policy, chunk_ms=self.options.recogniser_chunk_ms)

    def open(self) -> "CascadeSession":
        return self.opened(self.listen())

    def opened(self, listening: Listening) -> "CascadeSession":
        """A session after a recogniser that may have other listeners."""
        return CascadeSession(listening, self.text.text_side(), lag_s=self.options.recogniser_lag_s)

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """Those of the text model."""
        return self.text.pairs

    def for_pair(self, pair: Pair) -> "Cascade":
        """The same recogniser before the text model for another pair."""
        return self._writing(self.text.for_pair(pair))

    def of(self, recogniser: Translator, text: Translator, meeting: Meeting) -> "Cascade":
        """The same with halves that are computed where streams meet."""
        other = copy.copy(self)
        other.recogniser, other.text, other.meeting = recogniser, text_translator(text), meeting
        return other

    def side_by_side(self, pairs: Sequence[Pair]) -> list[Translator]:
        """A text model for each pair, all after one recogniser."""
        rooms = Rooms(self.listen)
        texts = side_by_side(self.text, pairs)
        return [Listener(self._writing(text), rooms) for text in texts]

    def _writing(self, text: Translator) -> "Cascade":
        """The same recogniser before another text model."""
        other = copy.copy(self)
        other.text = text_translator(text)
        other.vocabulary = other.text.vocabulary
        return other


class Listener(PlainTranslator):
    """A cascade whose recogniser is that of others too; its n-th session hears with the n-th of theirs."""

    def __init__(self, cascade: Cascade, rooms: Rooms) -> None:
        self.cascade, self._rooms, self._opened = cascade, rooms, 0
        self.name, self.vocabulary, self.provides = cascade.name, cascade.vocabulary, cascade.provides
        self.frame_s, self.max_source_s = cascade.frame_s, cascade.max_source_s
        self.tokens_per_second = cascade.tokens_per_second

    @property
    def meeting(self) -> Meeting | None:
        return self.cascade.meeting

    def open(self) -> "CascadeSession":
        ear = self._rooms.enter(self._opened)
        self._opened += 1
        return self.cascade.opened(ear)


@dataclass(frozen=True, kw_only=True)
class HeardWord:
    """A recognised word and the absolute end of its audio."""

    text: str
    end_s: float


class CascadeSession(TextTranslatorSession):
    """One stream: the recogniser's session, and the words it committed that are still kept, on a clock of audio."""

    def __init__(self, listening: Listening, text: SourceModel, *, lag_s: float) -> None:
        super().__init__(text)
        self._listening, self._lag_s = listening, lag_s
        self._words: tuple[HeardWord, ...] = ()
        self._forgotten = 0
        self._changes = 0
        self._start_s = self._heard_s = 0.0
        self._began_s = 0.0
        """Where the recogniser's own time began."""

    @property
    def segments(self) -> "CascadeSession":
        return self

    def restart(self) -> None:
        """Let the recogniser hear what comes next as a recording of its own."""
        self._listening.reset()
        self._began_s = self._heard_s
        self.is_final = False
        self.drop_source(math.inf)

    @property
    def start_s(self) -> float:
        return self._start_s

    @property
    def heard_s(self) -> float:
        return self._heard_s

    @property
    def source_end(self) -> int:
        return self._changes

    def hypothesise(self, prefix: Sequence[int], query: Query = PLAIN) -> list[Hypothesis]:
        """Continue `prefix` given the words committed so far; rows over words become rows over time."""
        clock = WordClock(
            ends_s=[word.end_s for word in self._words],
            start_s=self._start_s,
            heard_s=self._heard_s - (0.0 if self._sentence_over else self._lag_s),
        )
        gate = None if query.gate is None else TimedGate(query.gate, clock)
        return [clock.timed(one) for one in super().hypothesise(prefix, replace(query, gate=gate))]

    @property
    def _sentence_over(self) -> bool:
        """Whether the last word ends a sentence, so that no other one will change what it means."""
        return ends_sentence([" ".join(self.words)])

    def extend_source(self, samples: FloatArray, *, is_final: bool = False) -> None:
        """Let the recogniser hear the samples; words that it commits become visible at once."""
        events = [*self._listening.feed(samples)]
        if is_final:
            events += self._listening.finish()
        self._heard_s += len(samples) / 16_000
        for event in events:
            if isinstance(event, WriteEvent):
                end_s = self._heard_s
                if event.end_s is not None:
                    end_s = min(self._began_s + event.end_s, end_s)
                self._append(event.text, end_s)
        self.is_final = is_final

    def _append(self, text: str, end_s: float) -> None:
        """Words of a committed piece of text; times between the last word's and the piece's end are interpolated."""
        words = [*self._words]
        pieces = text.split()
        if words and pieces and not text[0].isspace():
            words[-1] = HeardWord(text=words[-1].text + pieces.pop(0), end_s=end_s if not pieces else words[-1].end_s)
        begin_s = words[-1].end_s if words else self._start_s
        for i, piece in enumerate(pieces, start=1):
            words.append(HeardWord(text=piece, end_s=begin_s + (max(end_s, begin_s) - begin_s) * i / len(pieces)))
        self._changes += 1
        self._words = tuple(words)
        self.words = tuple(word.text for word in words)

    def source_words(self, since_s: float = 0.0) -> int:
        return self._forgotten + len(self._words) if since_s <= 0 else sum(w.end_s > since_s for w in self._words)

    def transcript(self) -> str:
        return super().transcript() if self._words else ""

    def drop_source(self, to_s: float) -> None:
        """Forget the words that end before `to_s`, with the rest of a sentence that is over soon after; the recogniser
        trims its own audio."""
        kept = _without_a_rest([word for word in self._words if word.end_s > to_s], to_s + REST_S)
        self._forgotten += len(self._words) - len(kept)
        self._words = kept
        self.words = tuple(word.text for word in kept)
        self._start_s = max(self._start_s, min(to_s, self._heard_s))


def _without_a_rest(words: Sequence[HeardWord], until_s: float) -> tuple[HeardWord, ...]:
    """The words behind the first sentence end before `until_s`, if there are any.

    Cuts leave half a second before the source of what is kept. The last word of a sentence would stand there as one of
    its own, and the sentence behind it would be translated twice.
    """
    for i, word in enumerate(words[:-1], start=1):
        if word.end_s > until_s:
            break
        if ends_sentence([" ".join(other.text for other in words[:i])], words[i].text):
            return tuple(words[i:])
    return tuple(words)


def family_of_pair(name: str) -> CascadeFamily:
    """The family of the cascade of that name, ASR+TEXT."""
    first, _, second = name.partition("+")

    def loaded(directory: Path, options: Options, /, *, name: str, device: str, dtype: str | None) -> "Cascade":
        return load(family, options, name=name, device=device, dtype=dtype)

    family = CascadeFamily(
        name="cascade",
        description="cascade",
        options=Options,
        provides=lambda _directory, _options: can_provide(second) & DECODING | TEXT,
        load=loaded,
        pair=(first, second),
    )
    return family
