"""Source text word by word instead of audio: any translator with a text side (SOURCE_LM) under the same policies.

The clock counts words: word i is heard from i to i + 1.
"""

from collections.abc import Sequence
from typing import Protocol, cast, runtime_checkable

from simulst.core.translator import Evidence, FloatArray, Gate, Hypothesis, SourceLanguageModel, SourceModel, Translator
from simulst.errors import ModelError

UNFINISHED = "…"
"""Stands in the transcript for the word that is still to come, which TAF leaves out as half heard."""


@runtime_checkable
class TextSearch(Protocol):
    """A translator that searches for the translation of a text, instead of giving the best one only."""

    def search_text(
        self,
        text: str,
        prefix: Sequence[int],
        *,
        max_new: int,
        n_best: int = 1,
        sample: bool = False,
        seed: int = 0,
        gate: Gate | None = None,
    ) -> list[Hypothesis]:
        """Hypotheses that begin with the target ids `prefix`, new ids and their log-probabilities; best first."""
        ...


class TextTranslator:
    """Translates the text that came so far; several hypotheses only where the model can search."""

    frame_s = 1.0
    max_source_s = 10_000.0

    def __init__(self, model: Translator) -> None:
        if Evidence.SOURCE_LM not in model.provides:
            raise ModelError(f"Model {model.name} cannot translate text; use one that provides source_lm (tiny-en-de).")
        self.model = model
        self.name = f"{model.name} (text)"
        self.vocabulary = model.vocabulary
        self.search = model.search_text if isinstance(model, TextSearch) else None
        searches = {Evidence.NBEST, Evidence.LOGPROBS} if self.search else set()
        self.provides = frozenset({Evidence.PREFIX, Evidence.CTC_COUNTS, Evidence.SOURCE_LM, *searches})

    def open(self) -> "TextTranslatorSession":
        return TextTranslatorSession(self)


class TextTranslatorSession:
    """One source text; its audio side is empty."""

    def __init__(self, translator: TextTranslator) -> None:
        self.translator = translator
        self._model = cast(SourceModel, translator.model.open())
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

    def extend_text(self, words: Sequence[str], *, is_final: bool = False) -> None:
        self.words = (*self.words, *words)
        self.is_final = is_final

    def extend_source(self, samples: FloatArray, *, is_final: bool = False) -> None:
        raise ModelError("A text translator takes words, not audio.")

    def hypothesise(
        self,
        prefix: Sequence[int],
        *,
        max_new: int | None = None,
        n_best: int = 1,
        sample: bool = False,
        seed: int = 0,
        gate: Gate | None = None,
        want: frozenset[Evidence] = frozenset(),
    ) -> list[Hypothesis]:
        cap = 5 * len(self.words) + 20 - len(prefix) if max_new is None else max_new
        if not self.words or cap <= 0:
            return [Hypothesis(ids=(), stop="length" if self.words else "eos")]
        text, search = " ".join(self.words), self.translator.search
        if search is not None:
            return search(text, prefix, max_new=cap, n_best=n_best, sample=sample, seed=seed, gate=gate)
        return [_gated(self._model.translate_text([text], prefix, max_new=cap)[0], gate)]

    def source_words(self, since_s: float = 0.0) -> int:
        return max(0, len(self.words) - int(since_s))

    def transcript(self) -> str:
        return " ".join(self.words if self.is_final else (*self.words, UNFINISHED))

    def continuer(self, name: str) -> SourceLanguageModel:
        return self._model.continuer(name)

    def continue_source(
        self, text: str, *, n: int, max_tokens: int, top_p: float = 0.9, temperature: float = 1.0, seed: int = 0
    ) -> list[str]:
        return self._model.continue_source(
            text, n=n, max_tokens=max_tokens, top_p=top_p, temperature=temperature, seed=seed
        )

    def translate_text(self, texts: Sequence[str], prefix: Sequence[int], *, max_new: int) -> list[Hypothesis]:
        return self._model.translate_text(texts, prefix, max_new=max_new)

    def drop_source(self, to_s: float) -> None:
        """Does nothing: sentences are short."""

    def drop_target(self, count: int) -> None:
        """Does nothing, as `drop_source`."""

    def snapshot(self) -> object:
        return (self.words, self.is_final)

    def rollback(self, snapshot: object) -> None:
        assert isinstance(snapshot, tuple)
        self.words, self.is_final = snapshot


def _gated(found: Hypothesis, gate: Gate | None) -> Hypothesis:
    """What a gate lets through of a hypothesis without log-probabilities."""
    from simulst.core.translator import TokenStep

    for i, token in enumerate(found.ids if gate is not None else ()):
        verdict = gate(TokenStep(index=i, token=token, logprob=0.0, weights=None, n_valid=0)) if gate else "continue"
        if verdict != "continue":
            keep = verdict == "stop_keep"
            return Hypothesis(ids=found.ids[: i + keep], stop="gate", next_id=None if keep else token)
    return found
