"""The part of SentencePiece that training uses, with its types."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol


class Pieces(Protocol):
    """A SentencePiece vocabulary."""

    def encode(self, text: str, /) -> list[int]: ...
    def decode(self, ids: Sequence[int], /) -> str: ...
    def id_to_piece(self, token: int, /) -> str: ...
    def piece_to_id(self, piece: str, /) -> int: ...
    def eos_id(self) -> int: ...


def read_pieces(path: Path) -> Pieces:
    """The vocabulary in a `.model` file."""
    import sentencepiece

    pieces: Pieces = sentencepiece.SentencePieceProcessor(model_file=str(path))
    return pieces
