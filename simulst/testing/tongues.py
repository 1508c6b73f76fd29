"""A toy that writes in two languages: its words, and its transcript, which is the same words in capitals."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from simulst.core.languages import Pair
from simulst.core.translator import Translator
from simulst.testing.scripted import ToyVocabulary
from simulst.testing.toy import VOCABULARY, ToyTranslator

TRANSLATE, TRANSCRIBE = Pair(source="en", target="de"), Pair(source="en", target="en")


class Loud(ToyVocabulary):
    """The same words in capitals."""

    def __init__(self) -> None:
        super().__init__()
        self.names, self.pieces = VOCABULARY.names, VOCABULARY.pieces

    def decode(self, ids: Sequence[int]) -> str:
        return super().decode(ids).upper()


@dataclass(kw_only=True)
class TwoTongues(ToyTranslator):
    """Notes what it is asked for: single pairs, and those of one stream."""

    pairs: tuple[Pair, ...] = (TRANSLATE, TRANSCRIBE)
    made: list[Pair] = field(default_factory=list)
    together: list[list[Pair]] = field(default_factory=list)

    def for_pair(self, pair: Pair) -> Translator:
        self.made.append(pair)
        if pair.source != pair.target:
            return self
        return ToyTranslator(name=self.name, vocabulary=Loud(), before=self.before)

    def side_by_side(self, pairs: Sequence[Pair]) -> list[Translator]:
        self.together.append(list(pairs))
        return [self.for_pair(pair) for pair in pairs]
