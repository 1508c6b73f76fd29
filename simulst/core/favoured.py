"""Terms of a glossary that decoding is to favour: which token goes on with one of them after the text so far.

Shallow fusion with a list of phrases (Zhao et al. 2019, "Shallow-Fusion End-to-End Contextual Biasing"), limited to
terms whose source was heard and whose translation is not written yet.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

from simulst.core.glossary import Glossary, Term

STEM = 0.75
"""A word that begins with this part of a translation is an inflected form of it."""

PACE, AHEAD_WORDS = 0.7, 3.0
"""A term at word n of the source is favoured once PACE * n - AHEAD_WORDS words are written: not before its turn."""

CHARACTERS_PER_WORD = 2
"""Where no spaces stand between words."""


@runtime_checkable
class Spelling(Protocol):
    """A vocabulary that can write text, not only read ids."""

    spaced: bool

    def decode(self, ids: Sequence[int]) -> str: ...

    def spell(self, text: str) -> tuple[int, ...]:
        """The ids of words as they come behind other words; empty where the vocabulary cannot write them."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Favoured:
    """Terms that were heard and how often, as one call of decoding sees them."""

    heard: Mapping[Term, Sequence[int]]
    """At which words of the kept source each begins."""
    spellings: Mapping[Term, tuple[tuple[int, ...], ...]]
    """The ids of each translation, also with a capital letter."""
    vocabulary: Spelling
    boost: float
    prefix: tuple[int, ...] = ()
    """The committed ids that decoding continues."""

    def after(self, prefix: Sequence[int]) -> "Favoured":
        """The same for another prefix."""
        return replace(self, prefix=tuple(prefix))

    def boosts(self, ids: Sequence[int]) -> dict[int, float]:
        """What is added to the logits of tokens after the prefix and `ids`."""
        text = [*self.prefix, *ids]
        said = self.vocabulary.decode(text).casefold()
        found: dict[int, float] = {}
        written = len(said.split()) if self.vocabulary.spaced else len(said) / CHARACTERS_PER_WORD
        for term, places in self.heard.items():
            times = times_said(term.target, said, spaced=self.vocabulary.spaced)
            if times < len(places) and written >= PACE * places[times] - AHEAD_WORDS:
                for spelling in self.spellings[term]:
                    found |= dict.fromkeys(_next(spelling, text), self.boost)
        return found


def _next(spelling: tuple[int, ...], text: list[int]) -> list[int]:
    """The tokens of a spelling that go on after as much of it as the text ends with."""
    longest = min(len(spelling) - 1, len(text))
    return [spelling[k] for k in range(longest + 1) if text[len(text) - k :] == list(spelling[:k])]


def times_said(target: str, text: str, *, spaced: bool = True) -> int:
    """How often a translation is in a text without capitals, where there are spaces between words in any form."""
    whole = target.casefold()
    if not spaced:
        return text.count(whole)
    stem = whole[: max(3, round(STEM * len(whole)))]
    return f" {text}".count(f" {stem}")


class Favouring:
    """A glossary on one vocabulary; what it keeps are spellings of terms that were heard."""

    def __init__(self, glossary: Glossary, vocabulary: Spelling) -> None:
        self.glossary, self.vocabulary = glossary, vocabulary
        self._spellings: dict[Term, tuple[tuple[int, ...], ...]] = {}

    def favoured(self, transcript: str, prefix: Sequence[int]) -> Favoured | None:
        """What decoding after a prefix is to favour, given what was heard; None for nothing."""
        heard = self.glossary.heard(transcript)
        if not heard:
            return None
        spellings = {term: self._spelled(term) for term in heard}
        return Favoured(
            heard=heard,
            spellings=spellings,
            vocabulary=self.vocabulary,
            boost=self.glossary.boost,
            prefix=tuple(prefix),
        )

    def _spelled(self, term: Term) -> tuple[tuple[int, ...], ...]:
        if term not in self._spellings:
            forms = dict.fromkeys((term.target, term.target[:1].upper() + term.target[1:]))
            self._spellings[term] = tuple(ids for form in forms if (ids := self.vocabulary.spell(form)))
        return self._spellings[term]
