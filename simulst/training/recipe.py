"""`simulst train RECIPE.toml`: every stage writes into the recipe's work folder and resumes what it finds there."""

import json
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

from simulst.errors import DataError
from simulst.training.decoder import DecoderTrainingConfig
from simulst.training.features import FeatureConfig
from simulst.training.imitation import ImitationConfig
from simulst.training.recordings import RecordingsConfig
from simulst.training.samples import SampleConfig
from simulst.training.texts import Part, TextSource, grouped

T = TypeVar("T")
PEOPLE_TEXT = "people.tsv"
"""Transcripts of recordings with German made by the text model, in the work folder."""


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Where text comes from and who speaks it; paths are relative to the recipe."""

    train: str
    """Sentence pairs; a sentence of this file has weight 1."""
    spoken: float = 1.0
    """Share of its sentences that the synthesisers speak."""
    dev: str
    voices: dict[str, float]
    dev_voices: dict[str, float]
    dev_sentences: int = 300
    max_sentences: int = 0
    """0: all."""
    workers: int = 2
    seed: int = 1
    more: tuple[TextSource, ...] = ()
    """Further files of pairs."""
    held: dict[str, int] = field(default_factory=dict)
    """How many pairs held back in a file of `more` (by its stem) are a development set of text."""
    recordings: RecordingsConfig | None = None
    """People speaking."""
    scored: int = 150
    """Sentences of each development set of text that are translated at every checkpoint."""


@dataclass(frozen=True, kw_only=True)
class ModelSection:
    """The model that is made."""

    encoder: str
    """Folder of the Moonshine checkpoint whose encoder is taken."""
    vocabulary_size: int = 8000
    licence: str = "Apache-2.0"
    start: str = ""
    """Folder of a simulst model whose vocabulary, encoder and decoder training goes on from; empty: from scratch."""
    decoder: dict[str, Any] = field(default_factory=dict)
    """Changes to the decoder's Hugging Face configuration."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A parsed recipe; `work` receives everything that is made."""

    name: str
    work: str
    data: DataConfig
    model: ModelSection
    imitation: ImitationConfig = field(default_factory=ImitationConfig)
    features: FeatureConfig = field(default_factory=FeatureConfig)
    text: DecoderTrainingConfig | None = None
    """Training of the decoder on text alone, before speech is mixed in."""
    decoder: DecoderTrainingConfig | None = field(default_factory=DecoderTrainingConfig)
    incremental: DecoderTrainingConfig | None = None
    """Training that goes on from the decoder with the tasks of `simulst.training.incremental`."""
    base: Path = Path(".")
    threads: int = 2

    def path(self, value: str) -> Path:
        """A path of the recipe, relative to its file."""
        expanded = Path(value).expanduser()
        return expanded if expanded.is_absolute() else self.base / expanded

    @property
    def folder(self) -> Path:
        return self.path(self.work)

    @property
    def texts(self) -> list[tuple[TextSource, Path]]:
        """All files of sentence pairs, the main one first."""
        sources = [TextSource(path=self.data.train, spoken=self.data.spoken), *self.data.more]
        found = [(source, self.path(source.path)) for source in sources]
        people = self.folder / PEOPLE_TEXT
        if self.data.recordings is not None and people.exists():
            found.append((TextSource(path=str(people), weight=self.data.recordings.weight, spoken=0.0), people))
        return found

    def sentences(self) -> list[tuple[Part, dict[str, list[str]]]]:
        """English sentences with their translations, file by file; the numbers of `Corpus`."""
        return grouped(self.texts)


def build(kind: type[T], values: dict[str, Any], where: str) -> T:
    """A dataclass from a TOML table; unknown and missing keys are errors that list the known ones."""
    known = {f.name: f for f in fields(kind)}  # type: ignore[arg-type]
    if unknown := sorted(set(values) - set(known)):
        raise DataError(f"{where} holds unknown keys {', '.join(unknown)}; known: {', '.join(sorted(known))}.")
    built = dict(values)
    for name, value in values.items():
        nested = _NESTED.get((kind.__name__, name))
        if nested is not None:
            if not isinstance(value, dict):
                raise DataError(f"{where}.{name} must be a table.")
            built[name] = build(nested, value, f"{where}.{name}")
        elif isinstance(value, list):
            element = _ELEMENTS.get((kind.__name__, name))
            built[name] = tuple(build(element, one, f"{where}.{name}") if element else one for one in value)
    try:
        return kind(**built)
    except TypeError as error:
        raise DataError(f"{where} is incomplete: {error}.") from error


_NESTED: dict[tuple[str, str], type] = {
    ("Recipe", "data"): DataConfig,
    ("Recipe", "model"): ModelSection,
    ("Recipe", "imitation"): ImitationConfig,
    ("Recipe", "features"): FeatureConfig,
    ("Recipe", "text"): DecoderTrainingConfig,
    ("Recipe", "decoder"): DecoderTrainingConfig,
    ("Recipe", "incremental"): DecoderTrainingConfig,
    ("DecoderTrainingConfig", "samples"): SampleConfig,
    ("DataConfig", "recordings"): RecordingsConfig,
}
_ELEMENTS: dict[tuple[str, str], type] = {("DataConfig", "more"): TextSource}
assert all(is_dataclass(kind) for kind in (*_NESTED.values(), *_ELEMENTS.values()))


def read_recipe(path: Path) -> Recipe:
    """Parse a recipe; DataError with one sentence when it cannot be used."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DataError(f"The recipe {path} cannot be read: {error}.") from error
    values.setdefault("base", str(path.parent))
    recipe = build(Recipe, values, path.name)
    object.__setattr__(recipe, "base", path.parent)
    return recipe


Stage = Callable[[Recipe], None]


def stages() -> dict[str, Stage]:
    """Names of the stages in order and what runs them."""
    from simulst.training import incremental_stages, people_stage
    from simulst.training import stages as steps

    return {
        "vocabulary": steps.vocabulary,
        "text": steps.text,
        "speech": steps.speech,
        "recordings": people_stage.recordings,
        "encoder": steps.encoder,
        "features": steps.features,
        "decoder": steps.decoder,
        "annotate": incremental_stages.annotate,
        "incremental": steps.incremental,
        "export": steps.export,
    }


def run_recipe(recipe: Recipe, only: str | None = None) -> Path:
    """Run all stages, or one; what a stage finished before is not done again. Returns the folder of the model."""
    known = stages()
    if only is not None and only not in known:
        raise DataError(f"There is no stage {only!r}; stages are {', '.join(known)}.")
    recipe.folder.mkdir(parents=True, exist_ok=True)
    done_file = recipe.folder / "stages.json"
    done: list[str] = json.loads(done_file.read_text()) if done_file.exists() else []
    for name, stage in known.items():
        if (only is None and name in done) or only not in (None, name):
            continue
        print(f"== {name}", flush=True)
        stage(recipe)
        done = [*dict.fromkeys([*done, name])]
        done_file.write_text(json.dumps(done))
    return recipe.folder / "model"
