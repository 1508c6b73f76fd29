"""A transcript that is revised, told in pieces that only append."""

from itertools import takewhile


class StableWords:
    """Gives out words of a text once two versions of it in a row agree on them.

    A word that is revised after it was given out stays as it was; what follows goes on after as many words.
    """

    def __init__(self) -> None:
        self._text = ""
        self._given = 0
        """Words given out."""

    def hear(self, start: int, text: str) -> str:
        """Take a new version, which replaces everything from `start` on; the words that are new and stable."""
        before, self._text = self._text.split(), self._text[:start] + text
        now = self._text.split()
        pairs = zip(before, now, strict=False)
        return self._give(now, sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs)))

    def finish(self) -> str:
        """The words that are left."""
        words = self._text.split()
        return self._give(words, len(words))

    def _give(self, words: list[str], count: int) -> str:
        new = words[self._given : count]
        blank = " " if self._given and new else ""
        self._given = max(self._given, count)
        return blank + " ".join(new)
