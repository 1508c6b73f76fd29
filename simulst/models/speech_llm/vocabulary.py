"""The joint vocabulary of a speech LLM, next to its weights: a SentencePiece model, or a pretrained decoder's tokenizer
with marks added."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

from simulst.errors import ModelError
from simulst.models.vocabulary import TOKENIZER_FILE, PieceVocabulary, tokenizer_pieces

VOCABULARY_FILE = "vocabulary.model"


class SpeechVocabulary(PieceVocabulary, ABC):
    """Bytes per piece for the target side, encoding for source text, and marks."""

    @abstractmethod
    def encode(self, text: str) -> list[int]:
        """Ids of the text, whose first piece opens a word as one in the middle does."""

    @abstractmethod
    def mark(self, name: str) -> int:
        """The id of a mark such as `<sp>`; ModelError where there is none."""

    def spell(self, text: str) -> tuple[int, ...]:
        """The ids that the text is written with; empty where a word of it is unknown."""
        ids = tuple(self.encode(text))
        return () if self.special & set(ids) else ids


class SentencePieceVocabulary(SpeechVocabulary):
    """The vocabulary of a model that was trained from nothing."""

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

    def mark(self, name: str) -> int:
        token = int(self.processor.piece_to_id(name))
        if token == self.processor.unk_id():
            raise ModelError(f"The vocabulary has no mark {name}.")
        return token


class TokenizerVocabulary(SpeechVocabulary):
    """The vocabulary of a pretrained decoder, to whose `tokenizer.json` marks were added.

    `size` is the number of the decoder's token embeddings; those without a token are never written. Raises ModelError
    for a tokenizer that cannot be read or has more tokens.
    """

    def __init__(self, path: Path, *, eos: int, size: int) -> None:
        from tokenizers import Tokenizer

        try:
            content = path.read_text(encoding="utf-8")
            self.tokenizer = Tokenizer.from_str(content)
        except Exception as error:  # the tokenizers package raises nothing more specific
            raise ModelError(f"The tokenizer {path} cannot be read: {' '.join(str(error).split())[:200]}.") from error
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        pieces, special = tokenizer_pieces(content, f"The tokenizer {path}")
        if len(pieces) > size or eos >= size:
            raise ModelError(f"{path} has {len(pieces)} pieces but the decoder has {size}.")
        unused = range(len(pieces), size)
        super().__init__([*pieces, *(b"" for _ in unused)], eos=eos, special=[*special, *unused])
        self._opening = ""
        if not self.starts_word(self.encode("a")[0]):
            self._opening = " "

    def encode(self, text: str) -> list[int]:
        if not text:
            return []
        found = self.tokenizer.encode(self._opening + text.lstrip(" "), add_special_tokens=False).ids
        return [int(token) for token in found if token not in self.special]

    def mark(self, name: str) -> int:
        token = self.tokenizer.token_to_id(name)
        if token is None or token not in self.special:
            raise ModelError(f"The vocabulary has no mark {name}.")
        return int(token)


def read_vocabulary(folder: Path, *, eos: int, size: int) -> SpeechVocabulary:
    """The vocabulary in a folder, for a decoder with `size` tokens; a SentencePiece model knows its own end mark.

    Raises ModelError for one that cannot be read or is not the decoder's.
    """
    if (folder / TOKENIZER_FILE).is_file() and not (folder / VOCABULARY_FILE).exists():
        return TokenizerVocabulary(folder / TOKENIZER_FILE, eos=eos, size=size)
    vocabulary = SentencePieceVocabulary(folder / VOCABULARY_FILE)
    if len(vocabulary) != size:
        raise ModelError(f"{folder}/{VOCABULARY_FILE} has {len(vocabulary)} pieces but the decoder has {size}.")
    return vocabulary


def copy_vocabulary(folder: Path, target: Path) -> None:
    """The file of a folder's vocabulary, whichever it is, also in another folder."""
    for name in (VOCABULARY_FILE, TOKENIZER_FILE):
        if (folder / name).is_file():
            (target / name).write_bytes((folder / name).read_bytes())


def add_marks(content: str, marks: Sequence[str], owner: str) -> tuple[str, int]:
    """A `tokenizer.json` with marks as new tokens, and the id of the first; theirs follow each other.

    Raises ModelError, which speaks of `owner`, where marks cannot be added.
    """
    from tokenizers import Tokenizer

    pieces, _ = tokenizer_pieces(content, owner)
    try:
        tokenizer = Tokenizer.from_str(content)
        if taken := next((mark for mark in marks if tokenizer.token_to_id(mark) is not None), None):
            raise ModelError(f"{owner} has a token {taken} of its own, which is a mark here; take another decoder.")
        tokenizer.add_special_tokens(list(marks))
    except ModelError:
        raise
    except Exception as error:  # the tokenizers package raises nothing more specific
        raise ModelError(f"{owner} cannot be given marks: {error}.") from error
    ids = [tokenizer.token_to_id(mark) for mark in marks]
    first = ids[0] or 0
    if ids != list(range(first, first + len(marks))) or first < len(pieces):
        raise ModelError(f"{owner} cannot be given marks: new tokens do not get new ids there; take another decoder.")
    return tokenizer.to_str(), first
