"""Where a sentence ends: at strong marks, but not at those of abbreviations, initials, ordinals and numbers.

The lists are German and English, the languages of the embedded model; in other languages the marks decide.
"""

from collections.abc import Sequence

STRONG_MARKS = frozenset(".!?:;…。！？：；．")
CLOSERS = "\"'»«”’“)]}」』）"
_OPENERS = CLOSERS + "„‚([{「『（¿¡"

TITLES = frozenset("dr prof hr fr frl dipl ing mr mrs ms jr gen col capt lt st".split())
"""A name or another title follows."""
ABBREVIATIONS = frozenset(
    "bzw ca vgl evtl ggf inkl exkl insb sog bspw usw usf etc nr abs kap bd jh jhd mio mrd tsd std min sek resp geb "
    "gest hrsg max vs eg ie cf approx vol jan feb apr aug sep sept okt oct nov dez dec".split()
)
"""The sentence goes on unless the next word can only begin one."""
BEGINNERS = frozenset(
    "der die das ein eine er sie es wir ich ihr man dann aber und doch auch so wenn als in im am auf bei mit nach für "
    "heute jetzt hier da danach später dies diese dieser dieses the a an it he she we i you they then but and if when "
    "at with after this that these those there".split()
)


def ends_sentence(pieces: Sequence[str], following: str = "") -> bool:
    """Whether text that ends in these pieces ends a sentence; `following` is the word after it, "" where unknown.

    Closing quotes and brackets at the end are left aside.
    """
    text = "".join(pieces).rstrip().rstrip(CLOSERS)
    following = following.strip().lstrip(_OPENERS)
    if text[-1:] not in STRONG_MARKS or (text[-2:-1].isdigit() and following[:1].isdigit()):
        return False
    words = text[:-1].split()
    return text[-1] != "." or not words or not _goes_on(words[-1].lstrip(_OPENERS).lower(), following)


def _goes_on(word: str, following: str) -> bool:
    """Whether a full stop after `word` belongs to the word."""
    last = word.rsplit(".", 1)[-1].rsplit("-", 1)[-1]
    if last in TITLES or (len(last) == 1 and last.isalpha() and last.isascii()):
        return True
    if last in ABBREVIATIONS or (last.isdigit() and len(last) <= 2):
        return following[:1].islower() or following.rstrip(".,;:!?").lower() not in BEGINNERS
    return False
