"""Keeping the transcript of audio that a session forgets."""

import re
from collections.abc import Sequence
from difflib import SequenceMatcher

UNSPACED = "\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff"
"""Characters of scripts without spaces between words; each counts as a word of its own."""
WORD = re.compile(rf"[{UNSPACED}]|[^\s{UNSPACED}]+")
EDGES = re.compile(r"^\W+|\W+$")


class LongTranscript:
    """The transcript of a whole stream, of which the model keeps and recognises the last part only.

    What is forgotten may end in the middle of a word, and what is kept may be recognised differently without the audio
    before it. So the words of both are laid side by side where they agree: those before come from the time when all
    their audio was there, those after from now.
    """

    def __init__(self) -> None:
        self._past: list[str] = []
        self._bridge: list[str] = []
        """Words recognised before the last cut whose audio may still be kept."""

    def text(self, kept: str) -> str:
        """The whole of it, given the transcript of the audio that is kept."""
        return _joined([*self._past, *self._words(kept)])

    def forget(self, before: str, after: str) -> None:
        """Note that audio was dropped, which changed the transcript of what is kept from `before` to `after`."""
        words, kept = self._words(before), WORD.findall(after)
        found = _agreement(words, kept)
        cut = max(0, len(words) - len(kept)) if found is None else found[0]
        self._past += words[:cut]
        self._bridge = words[cut:]

    def _words(self, kept: str) -> list[str]:
        words = WORD.findall(kept)
        if not words:
            return self._bridge
        found = _agreement(self._bridge, words)
        if found is None:
            return [*self._bridge[: max(0, len(self._bridge) - len(words))], *words]
        return [*self._bridge[: found[0]], *words[found[1] :]]


def _agreement(before: Sequence[str], after: Sequence[str]) -> tuple[int, int] | None:
    """Where the longest run of equal words begins in both, None where there is none; case and commas do not count."""
    one, other = ([EDGES.sub("", word).casefold() for word in words] for words in (before, after[: len(before) + 2]))
    found = SequenceMatcher(None, one, other, autojunk=False).find_longest_match()
    return (found.a, found.b) if found.size else None


def _joined(words: Sequence[str]) -> str:
    """Words with spaces between them but where either side's script has none."""
    text = " ".join(words)
    return re.sub(rf"(?<=[{UNSPACED}]) (?=\S)|(?<=\S) (?=[{UNSPACED}])", "", text)
