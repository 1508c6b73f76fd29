"""`simulst train RECIPE.toml`: vocabulary, speech, encoder, features, decoder, annotate, incremental, export; each
stage resumes."""

import csv
import gzip
import json
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

from simulst.errors import DataError
from simulst.training.decoder import DecoderTrainingConfig
from simulst.training.features import FeatureConfig
from simulst.training.imitation import ImitationConfig
from simulst.training.samples import SampleConfig

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Where text comes from and who speaks it; paths are relative to the recipe."""

    train: str
    dev: str
    voices: dict[str, float]
    dev_voices: dict[str, float]
    dev_sentences: int = 300
    max_sentences: int = 0
    """0: all."""
    workers: int = 2
    seed: int = 1


@dataclass(frozen=True, kw_only=True)
class ModelSection:
    """The model that is made."""

    encoder: str
    """Folder of the Moonshine checkpoint whose encoder is taken."""
    vocabulary_size: int = 8000
    licence: str = "Apache-2.0"
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
    decoder: DecoderTrainingConfig = field(default_factory=DecoderTrainingConfig)
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
            built[name] = tuple(value)
    try:
        return kind(**built)
    except TypeError as error:
        raise DataError(f"{where} is incomplete: {error}.") from error


_NESTED: dict[tuple[str, str], type] = {
    ("Recipe", "data"): DataConfig,
    ("Recipe", "model"): ModelSection,
    ("Recipe", "imitation"): ImitationConfig,
    ("Recipe", "features"): FeatureConfig,
    ("Recipe", "decoder"): DecoderTrainingConfig,
    ("Recipe", "incremental"): DecoderTrainingConfig,
    ("DecoderTrainingConfig", "samples"): SampleConfig,
}
assert all(is_dataclass(kind) for kind in _NESTED.values())


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


def pairs(path: Path) -> Iterator[tuple[str, str]]:
    """(English, German) lines of a tsv or tsv.gz."""
    if not path.is_file():
        raise DataError(f"There is no {path}; name a tab-separated file of English and German sentences.")
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as lines:
        for number, row in enumerate(csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE), 1):
            if len(row) != 2:
                raise DataError(f"{path}:{number} has {len(row)} columns; two are expected, English and German.")
            yield row[0], row[1]


def sentences(path: Path) -> list[str]:
    """Different English sentences in the order of the file; their numbers name them everywhere."""
    return list(dict.fromkeys(english for english, _ in pairs(path)))


Stage = Callable[[Recipe], None]


def stages() -> dict[str, Stage]:
    """Names of the stages in order and what runs them."""
    from simulst.training import incremental_stages
    from simulst.training import stages as steps

    return {
        "vocabulary": steps.vocabulary,
        "speech": steps.speech,
        "encoder": steps.encoder,
        "features": steps.features,
        "decoder": steps.decoder,
        "annotate": incremental_stages.annotate,
        "incremental": incremental_stages.incremental,
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
