"""The target side of a tokeniser as bytes per token: exact decoding of any slice of ids, word starts, closing marks."""

import json
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

from simulst.errors import ModelError

TOKENIZER_FILE = "tokenizer.json"

_CLOSING = frozenset(".,;:!?…%)]}»”。、，！？；：）」』")


class PieceVocabulary:
    """Tokens as byte strings, which is what byte-level and byte-fallback tokenisers produce.

    Joining bytes before decoding keeps characters that are split over tokens; an unfinished one becomes U+FFFD.
    """

    def __init__(self, pieces: Sequence[bytes], *, eos: int, special: Iterable[int] = (), spaced: bool = True) -> None:
        self.pieces = list(pieces)
        self.special = frozenset(special) | {eos}
        for token in self.special:
            if 0 <= token < len(self.pieces):
                self.pieces[token] = b""
        self.eos = eos
        self.spaced = spaced

    def __len__(self) -> int:
        return len(self.pieces)

    def piece(self, token: int) -> bytes:
        return self.pieces[token] if 0 <= token < len(self.pieces) else b""

    def decode(self, ids: Sequence[int]) -> str:
        """Text of the ids, special tokens left out, a leading space kept when the first piece carries one."""
        return b"".join(map(self.piece, ids)).decode("utf-8", errors="replace")

    def spell(self, text: str) -> tuple[int, ...]:
        """The fewest tokens that are these words behind others; empty where there are none."""
        written = (" " if self.spaced else "").encode() + text.encode()
        best: dict[int, tuple[int, ...]] = {0: ()}
        for end in range(1, len(written) + 1):
            begins = [at for at in range(max(0, end - self._longest), end) if at in best]
            ways = [(*best[at], self._tokens[written[at:end]]) for at in begins if written[at:end] in self._tokens]
            if ways:
                best[end] = min(ways, key=len)
        return best.get(len(written), ())

    @cached_property
    def _tokens(self) -> dict[bytes, int]:
        return {piece: token for token, piece in reversed([*enumerate(self.pieces)]) if piece}

    @cached_property
    def _longest(self) -> int:
        return max(map(len, self._tokens), default=0)

    def starts_word(self, token: int) -> bool:
        """Whether the token opens a word: a leading space, or any new character in scripts without spaces."""
        piece = self.piece(token)
        if self.spaced:
            return piece.startswith(b" ")
        return bool(piece) and piece[0] & 0xC0 != 0x80

    def closes_unit(self, token: int) -> bool:
        """Whether the token is punctuation glued to the word on its left."""
        text = self.piece(token).decode("utf-8", errors="replace")
        return bool(text) and _CLOSING.issuperset(text)


class TokenizerVocabulary(PieceVocabulary):
    """The vocabulary of a `tokenizer.json`, which can encode text too."""

    def __init__(
        self, path: Path, pieces: Sequence[bytes], *, eos: int, special: Iterable[int] = (), spaced: bool = True
    ) -> None:
        super().__init__(pieces, eos=eos, special=special, spaced=spaced)
        self.path = path

    def encode(self, text: str) -> list[int]:
        """Ids of the text, no special tokens among them; ModelError where the tokenizer is damaged."""
        from tokenizers import Tokenizer

        try:
            found = Tokenizer.from_file(str(self.path)).encode(text, add_special_tokens=False).ids
        except Exception as error:  # the tokenizers package raises nothing more specific
            raise ModelError(f"The tokenizer {self.path} cannot encode text: {error}") from error
        return [token for token in found if token not in self.special]


def read_tokenizer(path: Path) -> tuple[list[bytes], frozenset[int]]:
    """The byte string of every token of a `tokenizer.json`, and the ids that are special.

    Knows the two families in use: byte-level BPE (GPT-2, Whisper) and pieces with U+2581 for space and `<0xNN>` byte
    fallback (SentencePiece). Raises ModelError for anything else.
    """
    try:
        return tokenizer_pieces(path.read_text(encoding="utf-8"), f"The tokenizer {path}")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"The tokenizer {path} cannot be read: {error}.") from error


def tokenizer_pieces(content: str, owner: str) -> tuple[list[bytes], frozenset[int]]:
    """The same of what stands in such a file."""
    try:
        spec = json.loads(content)
        vocabulary = spec["model"]["vocab"]
        table = dict(vocabulary) if isinstance(vocabulary, dict) else {row[0]: i for i, row in enumerate(vocabulary)}
        added = {str(token["content"]): (int(token["id"]), bool(token["special"])) for token in spec["added_tokens"]}
        byte_level = '"ByteLevel"' in json.dumps([spec.get("decoder"), spec.get("pre_tokenizer")])
    except (json.JSONDecodeError, KeyError, TypeError, ValueError, IndexError, RecursionError) as error:
        raise ModelError(f"{owner} cannot be read: {error or type(error).__name__}.") from error
    size = 1 + max([*table.values(), *(token for token, _ in added.values())], default=-1)
    if not 0 < size < 10_000_000:
        raise ModelError(f"{owner} has no usable vocabulary.")
    pieces = [b""] * size
    for text, token in table.items():
        pieces[token] = _byte_level(text) if byte_level else sentence_piece(text)
    for text, (token, _) in added.items():
        pieces[token] = text.encode() if byte_level else sentence_piece(text)
    return pieces, frozenset(token for token, special in added.values() if special)


def sentence_piece(text: str) -> bytes:
    if len(text) == 6 and text.startswith("<0x") and text.endswith(">"):
        return bytes([int(text[3:5], 16)])
    return text.replace("\u2581", " ").encode()


def _printable_bytes() -> dict[str, int]:
    """The character that byte-level BPE writes for each byte: itself where it is printable, else one from U+0100 on."""
    kept = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    table = {chr(byte): byte for byte in kept}
    moved = [byte for byte in range(256) if byte not in set(kept)]
    return table | {chr(0x100 + i): byte for i, byte in enumerate(moved)}


_BYTES = _printable_bytes()


def _byte_level(text: str) -> bytes:
    if all(character in _BYTES for character in text):
        return bytes(_BYTES[character] for character in text)
    return text.encode()
