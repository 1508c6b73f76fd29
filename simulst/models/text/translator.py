"""Source text word by word instead of audio: any translator with a text side (SOURCE_LM) under the same policies.

The clock counts words: word i is heard from i to i + 1.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from simulst.core.languages import Pair, pairs_of
from simulst.core.translator import (
    PLAIN,
    Alignment,
    Evidence,
    FloatArray,
    Hypothesis,
    PlainSession,
    PlainTranslator,
    Query,
    SourceModel,
    Translator,
    Vocabulary,
)
from simulst.errors import ModelError

TEXT = frozenset({Evidence.PREFIX, Evidence.CTC_COUNTS, Evidence.SOURCE_LM})
"""What every translator of text provides."""
UNFINISHED = "…"
"""Stands in the transcript for the word that is still to come, which TAF leaves out as half heard."""


class TextModel(PlainTranslator, ABC):
    """Translates the text that came so far; `evidence` is what its text side can tell of several hypotheses."""

    frame_s = 1.0
    max_source_s = 10_000.0

    def __init__(self, *, name: str, vocabulary: Vocabulary, evidence: frozenset[Evidence]) -> None:
        self.name, self.vocabulary, self.evidence = name, vocabulary, evidence
        self.provides = TEXT | evidence

    def open(self) -> "TextTranslatorSession":
        return TextTranslatorSession(self.text_side())

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """Languages it can do, its own first; none where it does not tell."""
        return ()

    def for_pair(self, pair: Pair) -> "TextModel":
        """The same weights for another of `pairs`."""
        return self

    @abstractmethod
    def text_side(self) -> SourceModel:
        """What translates the text of one stream."""


class TextTranslator(TextModel):
    """The text side of a model that hears speech too; ModelError where it has none."""

    def __init__(self, model: Translator) -> None:
        self.model = model
        self.tokens_per_second = model.tokens_per_second
        super().__init__(name=f"{model.name} (text)", vocabulary=model.vocabulary, evidence=self.text_side().evidence)

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """The translation that the model is for; what it can do with speech besides it cannot do with text."""
        return tuple(pair for pair in pairs_of(self.model) if pair.task == "translate")[:1]

    def text_side(self) -> SourceModel:
        text = self.model.open().text if Evidence.SOURCE_LM in self.model.provides else None
        if text is None:
            raise ModelError(
                f"Model {self.model.name} cannot translate text; use one that provides source_lm (tiny-en-de)."
            )
        return text


def text_translator(model: Translator) -> TextModel:
    """A translator of words: the model itself where it is one."""
    return model if isinstance(model, TextModel) else TextTranslator(model)


class TextTranslatorSession(PlainSession):
    """One source text; its audio side is empty, and nothing of it is ever forgotten: sentences are short."""

    def __init__(self, text: SourceModel) -> None:
        self._model = text
        self.words: tuple[str, ...] = ()
        self.is_final = False

    @property
    def start_s(self) -> float:
        return 0.0

    @property
    def heard_s(self) -> float:
        return float(len(self.words))

    @property
    def source_end(self) -> int:
        return len(self.words)

    @property
    def text(self) -> SourceModel:
        return self._model

    def extend_text(self, words: Sequence[str], *, is_final: bool = False) -> None:
        self.words = (*self.words, *words)
        self.is_final = is_final

    def extend_source(self, samples: FloatArray, *, is_final: bool = False) -> None:
        raise ModelError(
            "A text model takes words, not audio; put a recogniser before it, such as --model whisper-base+MODEL."
        )

    def hypothesise(self, prefix: Sequence[int], query: Query = PLAIN) -> list[Hypothesis]:
        """Continue `prefix` given the words that came so far."""
        cap = 5 * len(self.words) + 20 - len(prefix) if query.max_new is None else query.max_new
        if not self.words or cap <= 0:
            return [self._empty(len(prefix), query.want)]
        return self._model.search_text(" ".join(self.words), prefix, query, max_new=cap)

    def _empty(self, history: int, want: frozenset[Evidence]) -> Hypothesis:
        """Nothing new, where there is no source or no room; its rows look nowhere."""
        nowhere = np.zeros((history, len(self.words)), dtype=np.float32)
        alignment = Alignment(weights=nowhere, history=history, n_valid=len(self.words), frame_s=1.0, start_s=0.0)
        return Hypothesis(
            ids=(),
            stop="length" if self.words else "eos",
            logprobs=() if Evidence.LOGPROBS in want else None,
            alignment=alignment if Evidence.ALIGNMENT in want else None,
        )

    def source_words(self, since_s: float = 0.0) -> int:
        return max(0, len(self.words) - int(since_s))

    def transcript(self) -> str:
        return " ".join(self.words if self.is_final else (*self.words, UNFINISHED))

    def drop_source(self, to_s: float) -> None:
        """Nothing is forgotten."""
