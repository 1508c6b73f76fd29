"""A model family of one's own, `file.py:FAMILY`: every way in which it can be wrong is one sentence."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from simulst.core.translator import Evidence, PlainSession, PlainTranslator, Translator, TranslatorSession, Vocabulary
from simulst.errors import ModelError, SimulstError
from simulst.models.family import AnyFamily, ModelFamily
from simulst.plugins import brief, module_from_file

Provides = Callable[[Path, object], frozenset[Evidence]]


def family_from_file(path: Path, attribute: str) -> AnyFamily:
    """The family that a Python file calls `attribute`; what it does wrong later is told by name too."""
    content = vars(module_from_file(path, what="model", error=ModelError))
    spec = f"{path.name}:{attribute}"
    if attribute not in content:
        there = [name for name, value in content.items() if isinstance(value, ModelFamily)]
        advice = f"its model families are: {', '.join(there)}" if there else "it must hold a simulst.models.ModelFamily"
        raise ModelError(f"{path} has no '{attribute}'; {advice}.")
    family = content[attribute]
    if not isinstance(family, ModelFamily):
        raise ModelError(f"{spec} is not a model family: it must be a simulst.models.ModelFamily, not {family!r:.80}.")
    provides = _checked_provides(family, spec)
    return replace(family, provides=provides, load=_checked_load(family, spec, provides))


def _checked_provides(family: AnyFamily, spec: str) -> Provides:
    def provides(directory: Path, options: object) -> frozenset[Evidence]:
        with _told(f"{spec}: what it provides"):
            found = family.provides(directory, options)
        return _evidence(found, spec)

    return provides


def _evidence(found: object, owner: str) -> frozenset[Evidence]:
    known = [*Evidence]
    if not isinstance(found, set | frozenset) or not found <= set(known):
        raise ModelError(f"{owner} must provide a frozenset of evidence ({', '.join(known)}), not {found!r:.80}.")
    return frozenset(found)


def _checked_load(family: AnyFamily, spec: str, checked_provides: Provides) -> Callable[..., Translator]:
    def load(directory: Path, options: object, **place: Any) -> Translator:
        with _told(f"{spec}: loading"):
            found = family.load(directory, options, **place)
        with _told(f"{spec}: what it loads"):
            check_translator(found, spec)
        promised = checked_provides(directory, options)
        if _evidence(found.provides, f"What {spec} loads") != promised:
            raise ModelError(
                f"{spec} says that its model provides {_listed(promised)}, but what it loads provides "
                f"{_listed(found.provides)}; the two must be the same."
            )
        return found

    return load


def check_translator(found: Translator, owner: str) -> None:
    """ModelError unless `found`, its vocabulary and a session of it have all that a stream needs."""
    _complete(found, Translator, f"What {owner} loads", PlainTranslator)
    _complete(found.vocabulary, Vocabulary, f"The vocabulary of {owner}")
    for name, value in (("frame_s", found.frame_s), ("max_source_s", found.max_source_s)):
        if not isinstance(value, int | float) or isinstance(value, bool) or not value > 0:
            raise ModelError(f"{name} of what {owner} loads is {value!r:.80}; it must be a number of seconds above 0.")
    with _told(f"{owner}: opening a session"):
        session = found.open()
    _complete(session, TranslatorSession, f"A session of {owner}", PlainSession)
    able = {
        "reads_and_writes": (Evidence.SESSION_TOKENS, session.reads_and_writes),
        "chain": (Evidence.CHAIN, session.chain),
        "text": (Evidence.SOURCE_LM, session.text),
    }
    for name, (evidence, what) in able.items():
        if evidence in found.provides and what is None:
            raise ModelError(f"{owner} provides {evidence}, but {name} of its sessions is None.")


def _complete(found: object, protocol: type, what: str, plain: type | None = None) -> None:
    """ModelError for members that are not there; `plain` is a class that has some of them ready."""
    wanted = {name for name in (*vars(protocol), *protocol.__annotations__) if not name.startswith("_")}
    if missing := sorted(wanted - {*dir(found)}):
        ready = plain is not None and set(missing) & {*dir(plain), *plain.__annotations__}
        advice = f"; extend {plain.__name__}, beside it, for what is the same in most models" if plain and ready else ""
        raise ModelError(f"{what} lacks {', '.join(missing)} of {protocol.__module__}.{protocol.__name__}{advice}.")


def _listed(evidence: frozenset[Evidence]) -> str:
    return ", ".join(sorted(evidence)) or "nothing"


@contextmanager
def _told(what: str) -> Iterator[None]:
    """An error inside becomes a sentence, unless it is one already."""
    try:
        yield
    except SimulstError:
        raise
    except Exception as problem:
        raise ModelError(f"{what} fails: {brief(problem)}") from problem
