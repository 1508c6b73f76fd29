"""Glossaries: terms of the source with the translation that they are to have, and which of them were heard.

A glossary is matched against what a model says it has heard, anew at each decision; no state is kept between decisions
or shared between streams.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from simulst.defaults import DEFAULT_BOOST
from simulst.errors import GlossaryError

MAX_CHARACTERS = 1_000_000
MAX_TERMS = 10_000
MAX_TERM = 200
"""Characters of one side of a term."""
FUZZY_LETTERS = 7
"""A word of at least as many letters is recognised with one letter wrong, too many or too few."""

FORM_LETTERS = 4
"""A longer word that begins with a term of at least as many letters is a form of it, or its end was heard twice."""

_MARKS = "\"'.,;:!?…()[]{}«»„“”‘’-–—/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """What is said, and how it is to be translated."""

    source: str
    target: str


@dataclass(frozen=True, kw_only=True)
class Glossary:
    """Terms, and how strongly their translations are favoured once they are heard.

    `boost` is added to the logit of the next token of a translation: 0 does nothing, 9 makes it 8000 times as likely.
    Raises GlossaryError for a boost below 0 or above 100, and for two translations of one source.
    """

    terms: tuple[Term, ...]
    boost: float = DEFAULT_BOOST
    where: str = field(default="The glossary", compare=False)

    def __post_init__(self) -> None:
        if not 0 <= self.boost <= 100:
            raise GlossaryError(f"The boost of a glossary must be from 0 to 100, not {self.boost:g}.")
        if len(self.terms) > MAX_TERMS:
            raise GlossaryError(f"{self.where} has {len(self.terms)} terms; at most {MAX_TERMS} are allowed.")

    def heard(self, transcript: str) -> dict[Term, list[int]]:
        """The terms in a text and the words at which each begins; where one contains another, the longer one counts."""
        words = words_of(transcript)
        found: dict[Term, list[int]] = {}
        at = 0
        while at < len(words):
            term, length = self._at(words, at)
            if term is not None:
                found.setdefault(term, []).append(at)
            at += length
        return found

    def _at(self, words: list[str], at: int) -> tuple[Term | None, int]:
        """The longest term that begins there, and its number of words."""
        candidates = {one for shape in _sought(words[at]) for one in self._index.get(shape, ())}
        for source, term in sorted(candidates, key=lambda one: (-len(one[0]), one[0][0] != words[at], -len(one[0][0]))):
            window = words[at : at + len(source)]
            if len(window) == len(source) and all(map(_alike, window, source)):
                return term, len(source)
        return None, 1

    @cached_property
    def _index(self) -> dict[str, list[tuple[tuple[str, ...], Term]]]:
        """By the shapes of its first word every term, with its words."""
        index: dict[str, list[tuple[tuple[str, ...], Term]]] = {}
        for term in self.terms:
            words = tuple(words_of(term.source))
            for shape in shapes(words[0]):
                index.setdefault(shape, []).append((words, term))
        return index


def words_of(text: str) -> list[str]:
    """The words in the form in which they are compared: no marks around them, no capitals."""
    return [bare for word in text.split() if (bare := word.strip(_MARKS).casefold())]


def shapes(word: str) -> set[str]:
    """The word, and where it is long enough what is left of it without one of its letters.

    Words that share a shape differ in one letter at most, or in two that changed places.
    """
    if len(word) < FUZZY_LETTERS:
        return {word}
    return {word, *(word[:i] + word[i + 1 :] for i in range(1, len(word)))}


def _sought(heard: str) -> set[str]:
    """Under which shapes the terms stand that a heard word may be; it may be a longer form of one."""
    return shapes(heard) | {heard[:length] for length in range(FORM_LETTERS, len(heard))}


def _alike(heard: str, term: str) -> bool:
    longer = len(term) >= FORM_LETTERS and heard.startswith(term)
    return heard == term or longer or not shapes(heard).isdisjoint(shapes(term))


def read_glossary(path: Path, *, boost: float = DEFAULT_BOOST) -> Glossary:
    """The glossary in a file, `source<TAB>target` on each line; # begins a comment. Raises GlossaryError."""
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(MAX_CHARACTERS + 1)
    except UnicodeDecodeError:
        raise GlossaryError(f"The glossary {path} is not text in UTF-8.") from None
    except OSError as error:
        raise GlossaryError(f"The glossary {path} cannot be read: {(error.strerror or str(error)).lower()}.") from None
    if len(text) > MAX_CHARACTERS:
        raise GlossaryError(f"The glossary {path} is longer than {MAX_CHARACTERS} characters.")
    return parse_glossary(text, where=str(path), boost=boost)


def parse_glossary(text: str, *, where: str = "The glossary", boost: float = DEFAULT_BOOST) -> Glossary:
    """The glossary in a text of the form of a file. Raises GlossaryError, which names `where` and the line."""
    found: dict[tuple[str, ...], int] = {}
    terms = list[Term]()
    for number, term in _terms(text, where):
        words = tuple(words_of(term.source))
        if words in found:
            raise GlossaryError(
                f"{where}, line {number}: {term.source!r} has a translation already, in line {found[words]}."
            )
        found[words] = number
        terms.append(term)
    if not terms:
        raise GlossaryError(f"{where} has no terms; write the source, one tab and the target on each line.")
    return Glossary(terms=tuple(terms), boost=boost, where=where)


def _terms(text: str, where: str) -> Iterator[tuple[int, Term]]:
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        sides = [" ".join(side.split()) for side in line.split("\t")]
        if len(sides) != 2 or not words_of(sides[0]) or not sides[1]:
            raise GlossaryError(f"{where}, line {number}: write the source, one tab and the target.")
        if max(map(len, sides)) > MAX_TERM:
            raise GlossaryError(f"{where}, line {number}: a term has at most {MAX_TERM} characters.")
        if not "".join(sides).isprintable():
            raise GlossaryError(f"{where}, line {number}: a control character is in the term; remove it.")
        yield number, Term(source=sides[0], target=sides[1])
