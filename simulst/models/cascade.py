"""Cascade: a recogniser commits source words as they are spoken, a text model translates them: `--model ASR+TEXT`.

The recogniser runs in a session of its own under StreamAtt, so that its words are final and its audio is trimmed; the
text model sees whole words only. What a policy can ask for is the evidence of a text translator.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from simulst.core.events import WriteEvent
from simulst.core.translator import Evidence, FloatArray, PlainTranslator, SourceModel, Translator
from simulst.errors import ModelError
from simulst.models.family import ModelFamily
from simulst.models.options import check_options, option
from simulst.models.text.translator import TextTranslator, TextTranslatorSession

if TYPE_CHECKING:
    from simulst.core.session import Session

PROVIDES = frozenset({Evidence.PREFIX, Evidence.CTC_COUNTS, Evidence.SOURCE_LM, Evidence.NBEST, Evidence.LOGPROBS})
MAX_SOURCE_S = 30.0


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of `load_model`."""

    recogniser_policy: str = option("stream_att", "policy under which the recogniser commits words; it may not retract")
    recogniser_chunk_ms: int = option(640, "audio between two decisions of the recogniser, in ms", at_least=20)

    def __post_init__(self) -> None:
        check_options(self)


def load(directory: Path, options: Options, *, name: str, device: str, dtype: str | None) -> "Cascade":
    """The cascade of the two models whose names stand on both sides of a "+"; `directory` is not used."""
    from simulst.models import load_model, option_names

    first, _, second = name.partition("+")
    own = {"task": "transcribe"} if "task" in option_names(first) else {}
    recogniser = load_model(first, device=device, dtype=dtype, **own)
    return Cascade(recogniser, load_model(second, device=device, dtype=dtype), name=name, options=options)


class Cascade(PlainTranslator):
    """A recogniser and a text model; sessions hold everything else."""

    frame_s = 0.02
    max_source_s = MAX_SOURCE_S

    def __init__(self, recogniser: Translator, text: Translator, *, name: str, options: Options) -> None:
        from simulst.policies import load_policy

        self.name, self.options = name, options
        self.recogniser, self.text = recogniser, TextTranslator(text)
        self.vocabulary = self.text.vocabulary
        self.provides = self.text.provides
        self.policy = load_policy(options.recogniser_policy)
        if self.policy.policy.revises:
            raise ModelError(f"Policy '{options.recogniser_policy}' takes words back; a recogniser must commit them.")
        self.listen()

    def listen(self) -> "Session":
        """A session of the recogniser."""
        from simulst.core.session import Session

        return Session(self.recogniser, self.policy, chunk_ms=self.options.recogniser_chunk_ms)

    def open(self) -> "CascadeSession":
        return CascadeSession(self.listen(), self.text.text_side())


@dataclass(frozen=True, kw_only=True)
class HeardWord:
    """A recognised word and the absolute end of its audio."""

    text: str
    end_s: float


class CascadeSession(TextTranslatorSession):
    """One stream: the recogniser's session, and the words it committed that are still kept, on a clock of audio."""

    def __init__(self, listening: "Session", text: SourceModel) -> None:
        super().__init__(text)
        self._listening = listening
        self._words: tuple[HeardWord, ...] = ()
        self._forgotten = 0
        self._changes = 0
        self._start_s = self._heard_s = 0.0

    @property
    def start_s(self) -> float:
        return self._start_s

    @property
    def heard_s(self) -> float:
        return self._heard_s

    @property
    def source_end(self) -> int:
        return self._changes

    def extend_source(self, samples: FloatArray, *, is_final: bool = False) -> None:
        """Let the recogniser hear the samples; words that it commits become visible at once."""
        events = self._listening.feed(samples)
        if is_final:
            events += self._listening.finish()
        self._heard_s += len(samples) / 16_000
        for event in events:
            if isinstance(event, WriteEvent):
                end_s = self._heard_s if event.end_s is None else min(event.end_s, self._heard_s)
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
        """Forget the words that end before `to_s`; the recogniser trims its own audio."""
        kept = tuple(word for word in self._words if word.end_s > to_s)
        self._forgotten += len(self._words) - len(kept)
        self._words = kept
        self.words = tuple(word.text for word in kept)
        self._start_s = max(self._start_s, min(to_s, self._heard_s))


def _provides(directory: Path, options: Options) -> frozenset[Evidence]:
    return PROVIDES


FAMILY = ModelFamily(name="cascade", description="cascade", options=Options, provides=_provides, load=load)
