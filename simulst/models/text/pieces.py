"""Words as tokens: the vocabulary of a model whose own tokens are not seen, only its text."""

import re
import threading
from collections.abc import Sequence

from simulst.models.vocabulary import PieceVocabulary

_SPACED = re.compile(r"\s*(?:[.,;:!?…%)\]}»”。，！？；：）」』]+|[^\s.,;:!?…%)\]}»”。，！？；：）」』]+)|\s+")
_UNSPACED = re.compile(r"\s*[A-Za-z0-9]+|\s*\S|\s+")


class WordVocabulary(PieceVocabulary):
    """Every word with the space before it, and every run of closing marks, is a token of its own.

    The same text is cut the same way whatever was forced before it, and by any server, so policies may compare ids. Ids
    are given in the order in which words first come and hold for as long as the model is loaded; there are as many as
    the streams have had different words. In scripts without spaces a token is a character.
    """

    EOS = 0

    def __init__(self, *, spaced: bool = True) -> None:
        super().__init__([b""], eos=self.EOS, spaced=spaced)
        self._ids: dict[str, int] = {}
        self._cut = _SPACED if spaced else _UNSPACED
        self._adding = threading.Lock()

    def cut(self, text: str) -> list[str]:
        """The text as words and marks; together they are the text, but for spaces at its end."""
        return self._cut.findall(text.rstrip())

    def ids(self, pieces: Sequence[str]) -> tuple[int, ...]:
        """The ids of words, new ones for words that never came."""
        with self._adding:
            return tuple(self._id(piece) for piece in pieces)

    def _id(self, piece: str) -> int:
        known = self._ids.get(piece)
        if known is None:
            known = self._ids[piece] = len(self.pieces)
            self.pieces.append(piece.encode())
        return known

    def spell(self, text: str) -> tuple[int, ...]:
        """Its words, new ones among them."""
        return self.ids(self.cut(f" {text}" if self.spaced else text))
