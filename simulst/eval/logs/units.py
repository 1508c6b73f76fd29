"""Latency units: how text is cut into words or characters, and how each reference tool counts them."""

from typing import Literal

from simulst.errors import DataError

Unit = Literal["word", "char"]
UNITS: tuple[Unit, ...] = ("word", "char")


def read_unit(text: str) -> Unit:
    """The unit of that name; DataError for any other."""
    for unit in UNITS:
        if unit == text:
            return unit
    raise DataError(f"Unknown unit {text!r}; known: word, char.")


Counting = Literal["simuleval", "stripped", "no-empty", "no-spaces"]


def split_units(text: str, unit: Unit, count: int | None = None) -> list[str] | None:
    """Cut a prediction into units; with `count` given, into exactly that many, or None when no convention gives that.

    Words: any white space separates (SimulEval, OmniSTEval), else U+0020 alone (simulstream keeps U+00A0 inside words).
    Characters: without spaces (SimulEval), else with them (simulstream, OmniSTEval).
    """
    if unit == "word":
        conventions = (text.split(), [word for word in text.split(" ") if word])
    else:
        conventions = (list(text.replace(" ", "")), list(text))
    if count is None:
        return conventions[0]
    return next((units for units in conventions if len(units) == count), None)


def join_units(units: list[str], unit: Unit) -> str:
    return " ".join(units) if unit == "word" else "".join(units)


def reference_length(text: str, unit: Unit, counting: Counting) -> int:
    """Units of a reference as the tool of that `counting` sees them; never below 1 for "simuleval" words.

    simuleval: split at every single space, so a double or trailing space counts one more; characters include inner
    spaces. stripped: the same after outer spaces are gone (FBK, OmniSTEval short form). no-empty: empty words do not
    count, characters are not stripped (simulstream). no-spaces: stripped, characters without spaces (OmniSTEval long
    form).
    """
    if counting != "simuleval":
        text = text.strip()
    if unit == "char":
        return len(text.replace(" ", "") if counting == "no-spaces" else text.strip())
    if counting == "no-empty":
        return sum(1 for word in text.split(" ") if word)
    return len(text.split(" "))
