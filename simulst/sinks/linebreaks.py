"""Breaking a subtitle into lines by display width; wide (Chinese, Japanese, Korean) characters count as two."""

import functools
import itertools
import unicodedata

CLOSING = "，。、！？；：）」』】》〉,.!?;:)]}»”’…%"
"""Never at the start of a line."""
OPENING = "（「『【《〈([{«“‘"
"""Never at the end of a line."""


def width(text: str) -> int:
    """Columns that `text` takes."""
    if text.isascii() and text.isprintable():
        return len(text)
    return sum(_sign_width(sign) for sign in text)


@functools.cache
def _sign_width(sign: str) -> int:
    if unicodedata.combining(sign) or unicodedata.category(sign) in ("Cf", "Cc"):
        return 0
    return 2 if unicodedata.east_asian_width(sign) in "WF" else 1


def break_lines(text: str, max_width: int, max_lines: int) -> tuple[str, ...] | None:
    """The text in as few lines as possible, evenly filled; None where `max_lines` lines do not hold it.

    Lines end at spaces, between wide characters, or inside a word that is wider than a line.
    """
    if width(text) <= max_width:
        return (text,)
    if width("".join(text.split())) > max_lines * max_width:
        return None  # places are not looked for in what no lines can hold: that costs the square of its length
    if max_lines == 2:
        return _two_lines(text, max_width)
    return _greedy(text, max_width, max_lines)


def _two_lines(text: str, max_width: int) -> tuple[str, ...] | None:
    best: tuple[float, int] | None = None
    for place in _places(text, max_width):
        upper, lower = text[:place].rstrip(), text[place:].lstrip()
        if width(upper) > max_width or width(lower) > max_width:
            continue
        cost = abs(width(upper) - width(lower)) + (2 if width(upper) > width(lower) else 0)
        if upper[-1] in ",;:.!?，。！？；：":
            cost -= 8  # a line that ends with its clause reads better than two equal ones
        if best is None or cost < best[0]:
            best = cost, place
    return None if best is None else (text[: best[1]].rstrip(), text[best[1] :].lstrip())


def _greedy(text: str, max_width: int, max_lines: int) -> tuple[str, ...] | None:
    lines: list[str] = []
    rest = text
    while width(rest) > max_width:
        fitting = [place for place in _places(rest, max_width) if width(rest[:place].rstrip()) <= max_width]
        place = max(fitting)
        lines.append(rest[:place].rstrip())
        rest = rest[place:].lstrip()
        if len(lines) == max_lines:
            return None
    return (*lines, rest)


def _places(text: str, max_width: int) -> list[int]:
    """Offsets at which a line may end: good ones if there are any that fit, otherwise any."""
    good = [place for place in range(1, len(text)) if _allowed(text[place - 1], text[place])]
    if any(width(text[:place].rstrip()) <= max_width for place in good) and not _has_giant(text, good, max_width):
        return good
    return [place for place in range(1, len(text)) if not unicodedata.combining(text[place])]


def _has_giant(text: str, places: list[int], max_width: int) -> bool:
    edges = [0, *places, len(text)]
    return any(width(text[a:b].strip()) > max_width for a, b in itertools.pairwise(edges))


def _allowed(before: str, after: str) -> bool:
    if before.isspace() or after.isspace():
        return after.isspace()
    if after in CLOSING or before in OPENING:
        return False
    return _sign_width(before) == 2 or _sign_width(after) == 2
