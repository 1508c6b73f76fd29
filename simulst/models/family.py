"""What a model family is: one file that says what options its models have, what they provide and how they are loaded.

A built-in family is a line in `simulst.models.registry.FAMILIES`; one of one's own is `--model file.py:FAMILY`.
"""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from simulst.core.translator import Evidence, Translator
from simulst.errors import ModelError
from simulst.models.options import describe_options, parse_options

OptionsT = TypeVar("OptionsT")
OptionsT_contra = TypeVar("OptionsT_contra", contravariant=True)


class Load(Protocol[OptionsT_contra]):
    """Loads the model in `directory` under `name`; raises ModelError, one sentence, for whatever cannot be loaded."""

    def __call__(
        self, directory: Path, options: OptionsT_contra, /, *, name: str, device: str, dtype: str | None
    ) -> Translator: ...


@dataclass(frozen=True, kw_only=True)
class ModelFamily(Generic[OptionsT]):
    """Models that are loaded by the same code. Raises ModelError for a description that cannot be right."""

    name: str
    options: type[OptionsT]
    """A dataclass whose fields all have defaults: what `--set` and `load_model` take."""
    provides: Callable[[Path, OptionsT], frozenset[Evidence]]
    """Evidence that the model in a directory provides under these options, told without loading weights. Of a model
    that was not fetched yet the directory does not exist."""
    load: Load[OptionsT]
    unlocks: Mapping[Evidence, str] = field(default_factory=dict)
    """Evidence that an option brings, and the option, such as "positions=grouped"."""
    for_text: Mapping[str, str] = field(default_factory=dict)
    """Options taken where the model is given text alone and they are not set: behind a recogniser, in a text agent."""
    description: str = ""
    hub: str = ""
    """The name of one of its models, to try it with."""

    def __post_init__(self) -> None:
        kind = self.options
        if not (isinstance(kind, type) and dataclasses.is_dataclass(kind)):
            raise ModelError(f"The options of model family {self.name!r} must be a dataclass, not {kind!r:.80}.")
        names = [one.name for one in dataclasses.fields(kind)]
        for one in dataclasses.fields(kind):
            if one.default is dataclasses.MISSING and one.default_factory is dataclasses.MISSING:
                raise ModelError(f"Option '{one.name}' of model family {self.name!r} has no default; give it one.")
        if not (callable(self.provides) and callable(self.load)):
            raise ModelError(f"Model family {self.name!r} must say by functions what it provides and how it loads.")
        for evidence, option in self.unlocks.items():
            if evidence not in frozenset(Evidence) or option.partition("=")[0] not in names:
                raise ModelError(
                    f"Model family {self.name!r} unlocks {evidence} by {option!r}; it takes evidence and KEY=VALUE "
                    f"with one of its options: {', '.join(names) or 'none'}."
                )

    def read(self, given: Mapping[str, object], *, owner: str) -> OptionsT:
        """Options from text or Python values; ModelError for a name or a value that cannot be."""
        try:
            return parse_options(self.options, given, owner=owner)
        except (TypeError, ValueError) as problem:
            raise ModelError(f"The options of {owner} are refused: {problem}") from problem

    def can_provide(self, directory: Path) -> frozenset[Evidence]:
        """What the model in a directory provides by itself or with one of its options."""
        return self.provides(directory, self.options()) | frozenset(self.unlocks)

    def described_options(self) -> dict[str, str]:
        """Name and meaning of every option."""
        return describe_options(self.options)


AnyFamily = ModelFamily[Any]
"""A family whose options are not known to the type checker."""
