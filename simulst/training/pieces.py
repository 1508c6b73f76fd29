"""The part of a vocabulary that training uses, with its types."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from simulst.models.speech_llm.vocabulary import TokenizerVocabulary


class Pieces(Protocol):
    """A SentencePiece vocabulary, or one that looks like it."""

    def encode(self, text: str, /) -> list[int]: ...
    def decode(self, ids: Sequence[int], /) -> str: ...
    def id_to_piece(self, token: int, /) -> str: ...
    def piece_to_id(self, piece: str, /) -> int: ...
    def eos_id(self) -> int: ...


class TokenizerPieces:
    """A pretrained decoder's tokenizer under the names of SentencePiece."""

    def __init__(self, vocabulary: TokenizerVocabulary) -> None:
        self.vocabulary = vocabulary

    def encode(self, text: str, /) -> list[int]:
        return self.vocabulary.encode(text)

    def decode(self, ids: Sequence[int], /) -> str:
        return self.vocabulary.decode(ids).strip()

    def id_to_piece(self, token: int, /) -> str:
        """The piece with U+2581 for spaces."""
        return self.vocabulary.piece(token).decode("utf-8", errors="replace").replace(" ", "\u2581")

    def piece_to_id(self, piece: str, /) -> int:
        """The id of a mark."""
        return self.vocabulary.mark(piece)

    def eos_id(self) -> int:
        return self.vocabulary.eos


def read_pieces(path: Path) -> Pieces:
    """The SentencePiece vocabulary in a `.model` file."""
    import sentencepiece

    pieces: Pieces = sentencepiece.SentencePieceProcessor(model_file=str(path))
    return pieces
