"""How the checkpoints of text encoder-decoders are told their languages."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from simulst.errors import ModelError
from simulst.models.text.languages import language_name, long_code, short_code

T5_TARGETS = ("de", "fr", "ro")
"""Into which T5 was trained to translate from English."""


@dataclass(frozen=True, kw_only=True)
class Told:
    """What tells a target language: text before the source, a token before the translation."""

    before: str = ""
    forced: int | None = None


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The languages that are asked for; of a target without a code of its own only the beginning of one."""

    source: str
    target: str


def told_targets(tokenizer: Any, wanted: Asked, name: str, *, kind: str) -> dict[str, Told]:
    """What tells each target language, the one that is wanted first; one alone where the checkpoint knows no other.

    The tokenizer is told the source language. Many languages share a code with a script (`deu_Latn`, `de_DE`): their
    beginning is enough where one fits alone. ModelError for a language that the checkpoint does not know.
    """
    marks = {str(text): int(token) for text, token in tokenizer.get_vocab().items()}
    for shape in (">>{}<<", "<2{}>"):
        known = [text for text in marks if _inside(text, shape)]
        if known:
            own = _chosen(wanted.target, known, shape, name)
            return {code: Told(before=f"{mark} ") for code, mark in _named(known, shape, wanted, own).items()}
    codes = [text for text in marks if text in tokenizer.all_special_tokens or _inside(text, "__{}__")]
    codes = [code for code in codes if _is_code(code)]
    if codes:
        shape = "__{}__" if codes[0].startswith("__") else "{}"
        source = _chosen(wanted.source, codes, shape, name, "source")
        tokenizer.src_lang = source.strip("_")
        own = _chosen(wanted.target, codes, shape, name)
        others = [code for code in codes if code == own or code != source]
        return {code: Told(forced=marks[mark]) for code, mark in _named(others, shape, wanted, own).items()}
    if kind == "t5":
        known = [wanted.target, *(T5_TARGETS if wanted.source == "en" else ())]
        source = language_name(wanted.source)
        return {code: Told(before=f"translate {source} to {language_name(code)}: ") for code in known}
    return {wanted.target: Told()}


def _named(known: Sequence[str], shape: str, wanted: Asked, own: str) -> dict[str, str]:
    """The marks by the shortest code that names each, the one that is wanted first and as it is named."""
    found = {wanted.target: own}
    for mark in known:
        code = _inside(mark, shape) or mark.strip("_")
        head = code.split("_")[0]
        names = (one for one in (short_code(head), head, code) if _find(one, known, shape) == [mark])
        if mark != own:
            found.setdefault(next(names, code), mark)
    return found


def _inside(text: str, shape: str) -> str:
    """The language that a mark names; "" where it is no such mark."""
    before, after = shape.split("{}")
    inner = text[len(before) : len(text) - len(after)]
    return inner if text == shape.format(inner) and inner.replace("_", "").isalnum() else ""


def _is_code(mark: str) -> bool:
    """`deu_Latn`, `de_DE` or `__de__`."""
    head, _, tail = mark.strip("_").partition("_")
    named = mark.startswith("__") or bool(tail and tail.isalpha() and tail[:1].isupper())
    return named and 2 <= len(head) <= 4 and head.isalpha() and head.islower()


def _find(language: str, known: Sequence[str], shape: str) -> list[str]:
    """The mark of a language, or those that begin with its code."""
    exact = shape.format(language)
    if exact in known or language in known:
        return [exact if exact in known else language]
    long = long_code(language)
    if long != language:
        return _find(long, known, shape)
    return [mark for mark in known if mark.startswith(shape.split("{}")[0] + language + "_")]


def _chosen(language: str, known: Sequence[str], shape: str, name: str, option: str = "target") -> str:
    """The mark of a language: its own, or the only one that begins with its code."""
    begun = _find(language, known, shape)
    if len(begun) == 1:
        return begun[0]
    listed = ", ".join(sorted(_inside(mark, shape) or mark for mark in (begun or known))[:60])
    raise ModelError(f"{name} does not know the {option} language '{language}'; it knows: {listed}.")
