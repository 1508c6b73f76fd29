"""Options of a cascade and of both its halves: `--set text.target=fr`, `--set recogniser.beams=4`."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

from simulst.core.translator import Translator
from simulst.models.family import AnyFamily, ModelFamily
from simulst.models.options import check_options, option
from simulst.models.registry import family_of, locate

HALVES = ("recogniser", "text")


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of the cascade itself."""

    recogniser_policy: str = option(
        "stream_att-transcript", "policy under which the recogniser commits words; it may not retract"
    )
    recogniser_chunk_ms: int = option(640, "audio between two decisions of the recogniser, in ms", at_least=20)
    recogniser_lag_s: float = option(
        2.0,
        "audio behind the last word in which the recogniser may still find one; attention counts back from there",
        at_least=0,
        at_most=30,
    )

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True, kw_only=True)
class Chosen(Options):
    """The same with those of the halves, in the types of their families."""

    halves: tuple[object, object]


@dataclass(frozen=True, kw_only=True)
class CascadeFamily(ModelFamily[Options]):
    """The family of one cascade, whose options are those of its two models too."""

    pair: tuple[str, str]

    def families(self) -> tuple[AnyFamily, AnyFamily]:
        """Those of the halves; a known model is not fetched for it."""
        return family_of(self.pair[0]), family_of(self.pair[1])

    def read(self, given: Mapping[str, object], *, owner: str) -> Chosen:
        """Options of all three; ModelError for a name or a value that cannot be."""
        own = {key: value for key, value in given.items() if key.partition(".")[0] not in HALVES}
        options = super().read(own, owner=owner)
        families = self.families()
        first, second = (
            family.read({**usual, **_part(given, half)}, owner=f"{half} {name}")
            for family, usual, half, name in zip(families, ({}, families[1].for_text), HALVES, self.pair, strict=True)
        )
        return Chosen(**vars(options), halves=(transcribing(first), second))

    def described_options(self) -> dict[str, str]:
        described = super().described_options()
        for half, family in zip(HALVES, self.families(), strict=True):
            described |= {f"{half}.{name}": text for name, text in family.described_options().items()}
        return described

    def load_halves(self, options: Options, *, device: str, dtype: str | None) -> tuple[Translator, Translator]:
        """Both models, loaded with their options."""
        chosen = options if isinstance(options, Chosen) else self.read(vars(options), owner="+".join(self.pair))
        first, second = (
            place.family().load(place.directory, half, name=place.name, device=device, dtype=dtype)
            for place, half in zip(map(locate, self.pair), chosen.halves, strict=True)
        )
        return first, second


def _part(given: Mapping[str, object], half: str) -> dict[str, object]:
    """Options that are written `half.KEY`."""
    mark = f"{half}."
    return {key.removeprefix(mark): value for key, value in given.items() if key.startswith(mark)}


def transcribing(options: object) -> object:
    """Options of a recogniser, which writes down what is said where it could translate too."""
    names = {one.name for one in fields(options)}  # type: ignore[arg-type]
    return replace(options, task="transcribe") if "task" in names else options  # type: ignore[type-var]
