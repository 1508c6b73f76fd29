"""The joint vocabulary of a speech LLM, a SentencePiece model next to its weights."""

from pathlib import Path

from simulst.errors import ModelError
from simulst.models.vocabulary import PieceVocabulary

VOCABULARY_FILE = "vocabulary.model"


class SentencePieceVocabulary(PieceVocabulary):
    """The joint SentencePiece vocabulary: bytes per piece for the target side, encoding for source text."""

    def __init__(self, path: Path) -> None:
        import sentencepiece

        try:
            self.processor = sentencepiece.SentencePieceProcessor(model_file=str(path))
            count = self.processor.get_piece_size()
            pieces = [self._bytes(i) for i in range(count)]
        except (OSError, RuntimeError, ValueError) as error:  # ValueError: pieces that are not text
            raise ModelError(f"{path} is not a readable SentencePiece model.") from error
        special = [i for i in range(count) if self.processor.is_control(i) or self.processor.is_unknown(i)]
        super().__init__(pieces, eos=self.processor.eos_id(), special=special)

    def _bytes(self, token: int) -> bytes:
        piece = self.processor.id_to_piece(token)
        if self.processor.is_byte(token):
            return bytes([int(piece[3:5], 16)])
        return str(piece).replace("\u2581", " ").encode()

    def encode(self, text: str) -> list[int]:
        return list(self.processor.encode(text))

    def spell(self, text: str) -> tuple[int, ...]:
        """The ids that SentencePiece gives the words; empty where one of them is unknown."""
        ids = tuple(self.encode(text))
        return () if self.special & set(ids) else ids

    def mark(self, name: str) -> int:
        """The id of a control mark such as `<sp>`."""
        token = int(self.processor.piece_to_id(name))
        if token == self.processor.unk_id():
            raise ModelError(f"The vocabulary has no mark {name}.")
        return token
