"""Source text word by word instead of audio: any translator with a text side (SOURCE_LM) under the same policies.

The clock counts words: word i is heard from i to i + 1.
"""

from collections.abc import Sequence

from simulst.core.translator import (
    PLAIN,
    Evidence,
    FloatArray,
    Hypothesis,
    PlainSession,
    PlainTranslator,
    Query,
    SourceModel,
    Translator,
)
from simulst.errors import ModelError

UNFINISHED = "…"
"""Stands in the transcript for the word that is still to come, which TAF leaves out as half heard."""


class TextTranslator(PlainTranslator):
    """Translates the text that came so far; several hypotheses only where the model can search."""

    frame_s = 1.0
    max_source_s = 10_000.0

    def __init__(self, model: Translator) -> None:
        self.model, self.name = model, f"{model.name} (text)"
        self.vocabulary = model.vocabulary
        searches = {Evidence.NBEST, Evidence.LOGPROBS} if self.text_side().searches else set()
        self.provides = frozenset({Evidence.PREFIX, Evidence.CTC_COUNTS, Evidence.SOURCE_LM, *searches})

    def open(self) -> "TextTranslatorSession":
        return TextTranslatorSession(self.text_side())

    def text_side(self) -> SourceModel:
        """What translates the text of one stream; ModelError where the model has nothing that does."""
        text = self.model.open().text if Evidence.SOURCE_LM in self.model.provides else None
        if text is None:
            raise ModelError(
                f"Model {self.model.name} cannot translate text; use one that provides source_lm (tiny-en-de)."
            )
        return text


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
        raise ModelError("A text translator takes words, not audio.")

    def hypothesise(self, prefix: Sequence[int], query: Query = PLAIN) -> list[Hypothesis]:
        """Continue `prefix` given the words that came so far."""
        cap = 5 * len(self.words) + 20 - len(prefix) if query.max_new is None else query.max_new
        if not self.words or cap <= 0:
            return [Hypothesis(ids=(), stop="length" if self.words else "eos")]
        return self._model.search_text(" ".join(self.words), prefix, query, max_new=cap)

    def source_words(self, since_s: float = 0.0) -> int:
        return max(0, len(self.words) - int(since_s))

    def transcript(self) -> str:
        return " ".join(self.words if self.is_final else (*self.words, UNFINISHED))

    def drop_source(self, to_s: float) -> None:
        """Nothing is forgotten."""
