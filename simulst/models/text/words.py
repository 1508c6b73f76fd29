"""From attention over tokens of a source text to attention over its words, the unit a text's clock counts in."""

from collections.abc import Sequence

import torch
from torch import Tensor


def columns_of_words(words: Sequence[int | None], count: int, device: torch.device) -> Tensor:
    """[tokens, count] of ones and zeros: which token is of which word; None is of none."""
    columns = torch.zeros((len(words), count), device=device)
    for token, word in enumerate(words):
        if word is not None:
            columns[token, word] = 1.0
    return columns


def words_of_pieces(pieces: Sequence[str | None], count: int) -> list[int | None]:
    """The word of each source piece of SentencePiece, of which the last `count` words are the text.

    What stands before them (a language mark, an instruction) and marks (None) are of no word. They are counted from
    the end, because what stands before is written differently by every tokeniser.
    """
    starts, begun = list[int | None](), 0
    for piece in pieces:
        begun += piece is not None and (piece.startswith("\u2581") or not begun)
        starts.append(None if piece is None else begun)
    ahead = begun - count
    return [None if start is None or start <= ahead else min(count, start - ahead) - 1 for start in starts]


def words_of_spans(spans: Sequence[tuple[int, int]], text: str, start: int) -> list[int | None]:
    """The word of each token of a prompt, by its characters [begin, end), where the source `text` begins at `start`."""
    owners: list[int | None] = []
    word = -1
    for at, character in enumerate(text):
        word += not character.isspace() and (at == 0 or text[at - 1].isspace())
        owners.append(word + character.isspace())  # a space is of the word that follows it
    places = [end - 1 - start for _, end in spans]
    return [
        owners[at] if begin < end and 0 <= at < len(owners) else None
        for at, (begin, end) in zip(places, spans, strict=True)
    ]
