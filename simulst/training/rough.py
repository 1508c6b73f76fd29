"""Source text as a recogniser writes it: sentences that run into each other, words that stand twice."""

import random
from collections.abc import Sequence

from simulst.training.pieces import Pieces
from simulst.training.sample import SampleConfig

COMMA, SMALL = 0.3, 0.6
"""Of borders without a full stop: those with a comma in its place; those after which the next word begins small."""
LONGEST_TWICE = 5
"""Words that stand twice at most."""


class RoughText:
    """Changes the source side of samples of text and leaves the translation as it is."""

    def __init__(self, pieces: Pieces, config: SampleConfig) -> None:
        self.pieces = pieces
        self.merged_share, self.repeated_share = config.text_merged_share, config.text_repeated_share

    def __call__(self, run: Sequence[list[int]], rng: random.Random) -> list[list[int]]:
        """A run of sentences, as many of them; borders without their mark and words that stand twice by chance."""
        texts = [self.pieces.decode(ids) for ids in run]
        changed = list(texts)
        for border in range(1, len(run)):
            if rng.random() < self.merged_share:
                changed[border - 1], changed[border] = merged(changed[border - 1], changed[border], rng)
        if rng.random() < self.repeated_share:
            place = rng.randrange(len(run))
            changed[place] = repeated(changed[place], rng)
        pairs = zip(run, texts, changed, strict=True)
        return [ids if before == after else self.pieces.encode(after) for ids, before, after in pairs]


def merged(first: str, second: str, rng: random.Random) -> tuple[str, str]:
    """Two sentences without the mark between them."""
    first = first.rstrip(".!?\"' ") + ("," if rng.random() < COMMA else "")
    if rng.random() < SMALL and second[:2] not in ("I ", "I'"):
        second = second[:1].lower() + second[1:]
    return first, second


def repeated(text: str, rng: random.Random) -> str:
    """A text in which some words are said once more."""
    words = text.split()
    count = rng.randint(1, LONGEST_TWICE)
    if len(words) <= count:
        return text
    end = rng.randrange(count, len(words))  # the last word, with its mark, is not among them
    return " ".join([*words[:end], *words[end - count : end], *words[end:]])
