"""`simulst train RECIPE.toml`: every stage writes into the recipe's work folder and resumes what it finds there."""

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from simulst.core.settings import read
from simulst.errors import DataError
from simulst.models.speech_llm.adapted import LoraConfig
from simulst.models.speech_llm.windowed import Window
from simulst.training.computing import Computing
from simulst.training.decoder import DecoderTrainingConfig
from simulst.training.features import FeatureConfig
from simulst.training.imitation import ImitationConfig
from simulst.training.monotonic import MonotonicConfig
from simulst.training.pieces import Pieces
from simulst.training.recordings import RecordingsConfig
from simulst.training.sample import Marks
from simulst.training.texts import Pair, Part, TextSource, grouped, read_pairs
from simulst.training.transducer import TransducerConfig

PEOPLE_TEXT = "people.tsv"
"""Transcripts of recordings with translations made by the text model, in the work folder."""


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Where text comes from and who speaks it; paths are relative to the recipe."""

    source: str = "en"
    """Code of the language that is spoken."""
    target: str = "de"
    swapped: bool = False
    """Whether the target language stands first in the files."""
    train: str
    """Sentence pairs; a sentence of this file has weight 1."""
    spoken: float = 1.0
    """Share of its sentences that the synthesisers speak."""
    dev: str
    voices: dict[str, float] = field(default_factory=dict)
    """Synthesisers by name and how often each speaks; none are needed where nothing is spoken."""
    dev_voices: dict[str, float] = field(default_factory=dict)
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
    """A checkpoint (folder or hub name) of Moonshine, Moonshine Streaming, Whisper, wav2vec2, HuBERT or w2v-BERT whose
    encoder is taken, or a simulst model with its trained one."""
    window: Window | None = None
    """What an encoder without a causal form sees for each block."""
    vocabulary_size: int = 8000
    licence: str = "Apache-2.0"
    start: str = ""
    """Folder of a simulst model whose vocabulary, encoder and decoder training goes on from; empty: from scratch."""
    decoder: str | dict[str, object] = field(default_factory=dict)
    """A pretrained causal language model (folder or hub name), frozen but for what is added to it; or changes to the
    Hugging Face configuration of a small one that begins from nothing."""
    decoder_dtype: Literal["float32", "bfloat16"] = "float32"
    """What the frozen weights of a pretrained decoder are held in."""
    lora: LoraConfig | None = None
    """Additions to the layers of a pretrained decoder; without them only the projector and the marks are trained."""

    def __post_init__(self) -> None:
        pretrained = isinstance(self.decoder, str)
        if pretrained and self.start:
            raise DataError("[model] start goes on from a whole model; leave it out, or the decoder.")
        if not pretrained and (self.lora is not None or self.decoder_dtype != "float32"):
            raise DataError("[model] lora and decoder_dtype are for a pretrained decoder; name one in decoder.")


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """The model folder that a recipe ends with."""

    average: int | dict[str, float] = 1
    """The mean of that many checkpoints, the newest of the last stage (which keeps them with `keep`), or of checkpoints
    by path, each with its weight relative to the others'; 1: the last checkpoint alone."""
    adapter_only: bool = False
    """Of a pretrained decoder only what was trained is written, with the decoder's name and fingerprint."""


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
    export: ExportConfig = field(default_factory=ExportConfig)
    monotonic: MonotonicConfig | None = None
    """Write probabilities for the exported model, its decoder frozen."""
    transducer: TransducerConfig | None = None
    """A joint network for the exported model, its decoder frozen."""
    base: Path = Path(".")
    threads: int = 2
    device: str = "auto"
    """cpu, cuda, cuda:1; auto: a GPU where there is one. Under torchrun `cuda` is one GPU for each process."""
    dtype: Literal["bfloat16", "float32"] = "bfloat16"
    """What products of matrices are computed in; weights and sums are float32."""
    sharded: bool = False
    """Whether every process of torchrun holds only its part of the frozen weights of a pretrained decoder."""
    compiled: bool = False
    """Whether the layers of the decoder are compiled, which takes a C++ compiler and some minutes at the beginning."""

    def __post_init__(self) -> None:
        if self.sharded and self.compiled:
            raise DataError("sharded and compiled do not go together; leave one out.")
        if self.sharded and not isinstance(self.model.decoder, str):
            raise DataError("sharded = true is for the frozen weights of a pretrained decoder; leave it out.")

    def path(self, value: str) -> Path:
        """A path of the recipe, relative to its file."""
        expanded = Path(value).expanduser()
        return expanded if expanded.is_absolute() else self.base / expanded

    def place(self, value: str) -> str:
        """A folder or file of the recipe, or else the name of a model as it stands there."""
        place = self.path(value)
        return str(place.resolve()) if place.exists() else value

    @property
    def computing(self) -> Computing:
        """Its device and dtype; ModelError where the machine has no such device."""
        return Computing.of(self.device, self.dtype, sharded=self.sharded, compiled=self.compiled)

    @property
    def folder(self) -> Path:
        return self.path(self.work)

    @property
    def texts(self) -> list[tuple[TextSource, Path]]:
        """All files of sentence pairs, the main one first."""
        sources = [TextSource(path=self.data.train, spoken=self.data.spoken), *self.data.more]
        found = [(replace(one, swapped=self.data.swapped), self.path(one.path)) for one in sources]
        people = self.folder / PEOPLE_TEXT
        if self.data.recordings is not None and people.exists():
            found.append((TextSource(path=str(people), weight=self.data.recordings.weight, spoken=0.0), people))
        return found

    def pairs(self, path: str) -> Iterator[Pair]:
        """Every line of a file of pairs that the recipe names."""
        return read_pairs(self.path(path), swapped=self.data.swapped)

    def marks(self, vocabulary: Pieces) -> Marks:
        """The marks of the recipe's languages."""
        return Marks.of(vocabulary, self.data.source, self.data.target)

    def sentences(self) -> list[tuple[Part, dict[str, list[str]]]]:
        """Source sentences with their translations, file by file; the numbers of `Corpus`."""
        return grouped(self.texts)


def read_recipe(path: Path) -> Recipe:
    """Parse a recipe; DataError with one sentence when it cannot be used."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DataError(f"The recipe {path} cannot be read: {error}.") from error
    return replace(read(Recipe, values, path.name, DataError), base=path.parent)
