"""Languages of a loaded model: the pairs that its weights can do, and the choice of one for a stream."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

from simulst.core.translator import Translator
from simulst.errors import ModelError


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One language heard and one written, by the codes of the model; source and target alike: a transcript."""

    source: str
    """"" where the model guesses it from the speech."""
    target: str
    """"" where it is the guessed source."""

    @property
    def task(self) -> str:
        return "transcribe" if self.source == self.target else "translate"

    def __str__(self) -> str:
        source, target = self.source or "any language", self.target or "the same"
        return f"{source} transcribed" if self.task == "transcribe" else f"{source} to {target}"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a stream asks for; None where it does not matter."""

    source: str | None = None
    target: str | None = None
    task: str | None = None

    def meets(self, pair: Pair, *, guessed: bool = False) -> bool:
        """Whether a pair is one of those that are asked for; with `guessed` one of any source too."""
        heard = self.source in (None, pair.source) or (guessed and not pair.source and bool(pair.target))
        return heard and self.target in (None, pair.target) and self.task in (None, pair.task)

    def __str__(self) -> str:
        task = {"transcribe": "transcripts", "translate": "translation", None: "text"}[self.task]
        source = f" from {self.source}" if self.source else ""
        return f"{task}{source}{f' into {self.target}' if self.target else ''}"


@runtime_checkable
class Polyglot(Translator, Protocol):
    """A translator that can tell its languages; where its weights do several pairs it can be had for each."""

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """What the weights can do; the first is what the translator does as it is."""
        ...

    def for_pair(self, pair: Pair) -> Translator:
        """The same weights for another of `pairs`."""
        ...


@runtime_checkable
class SideBySide(Polyglot, Protocol):
    """A translator that hears once for several pairs."""

    def side_by_side(self, pairs: Sequence[Pair]) -> list[Translator]:
        """For each pair a translator of which sessions are made for one stream.

        They hear the same samples in the same pieces, one after the other (`simulst.core.beside`), and whatever of it
        does not depend on the target is computed once. What each says is what it says alone.
        """
        ...


def side_by_side(model: Translator, pairs: Sequence[Pair]) -> list[Translator]:
    """Translators for one stream into several targets, sharing what the model can share."""
    if isinstance(model, SideBySide) and len(pairs) > 1:
        return model.side_by_side(pairs)
    if not (isinstance(model, Polyglot) and model.pairs):
        return [model for _ in pairs]
    return [model if pair == model.pairs[0] else model.for_pair(pair) for pair in pairs]


def pairs_of(model: Translator) -> tuple[Pair, ...]:
    """What a model can do, empty where it does not say."""
    return model.pairs if isinstance(model, Polyglot) else ()


def choose(models: Mapping[str, Translator], wanted: Wanted) -> tuple[str, Pair | None]:
    """The first model, and its first pair, that does what is wanted; None for a model that is taken as it is.

    Raises ModelError, which lists what the models can do.
    """
    if wanted == Wanted():
        return next(iter(models)), None
    for guessed in (False, True):
        for name, model in models.items():
            for pair in pairs_of(model):
                if wanted.meets(pair, guessed=guessed):
                    return name, pair
    raise ModelError(f"There is no {wanted} here; {'; '.join(abilities(models))}.")


def choose_targets(models: Mapping[str, Translator], wanted: Wanted, targets: Sequence[str]) -> tuple[str, list[Pair]]:
    """The first model that does all of the targets from one source, with a pair for each, in their order.

    Raises ModelError, which lists what the models can do.
    """
    each = [replace(wanted, target=target) for target in targets]
    for guessed in (False, True):
        for name, model in models.items():
            for source in dict.fromkeys(pair.source for pair in pairs_of(model)):
                known = [pair for pair in pairs_of(model) if pair.source == source]
                found = [next((pair for pair in known if one.meets(pair, guessed=guessed)), None) for one in each]
                pairs = [pair for pair in found if pair is not None]
                if len(pairs) == len(targets):
                    return name, pairs
    listed = " and ".join(targets)
    raise ModelError(f"No model here writes {listed} of one stream; {'; '.join(abilities(models))}.")


def abilities(models: Mapping[str, Translator]) -> list[str]:
    """For each model what it can do, in words."""
    return [f"{name} does {_listed(pairs_of(model)) or 'not tell its languages'}" for name, model in models.items()]


def _listed(pairs: Iterable[Pair], most: int = 6) -> str:
    """Pairs in words; of many with one target only their number."""
    groups: dict[str, list[Pair]] = {}
    for pair in pairs:
        groups.setdefault(pair.target if pair.task == "translate" else "transcribed", []).append(pair)
    shown = []
    for target, group in groups.items():
        kind = "transcribed" if target == "transcribed" else f"to {target}"
        shown.append(", ".join(map(str, group)) if len(group) <= most else f"{len(group)} languages {kind}")
    return ", ".join(shown)
