"""Model families by architecture, known models by name, and the way from what a person names to a loaded translator.

A new architecture is one file with a `ModelFamily` and one line in FAMILIES.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name

from simulst.bundled import bundled_path
from simulst.core.translator import DECODING, Evidence, ModelInfo, Translator
from simulst.errors import ModelError
from simulst.models.checkpoint import read_json
from simulst.models.family import AnyFamily
from simulst.models.hub import fetch, is_hub_name
from simulst.models.warm import elsewhere, warm
from simulst.models.weighing import licence, parameters_m

OWN_FORMAT = "simulst.json"
"""Marks a directory that this project wrote; its "type" is a key of FAMILIES, "speech_llm" by default."""

FAMILIES: dict[str, str] = {
    "speech_llm": "simulst.models.speech_llm.translator:FAMILY",
    "whisper": "simulst.models.seq2seq.whisper:FAMILY",
    "moonshine": "simulst.models.seq2seq.moonshine:FAMILY",
    "moonshine_streaming": "simulst.models.seq2seq.moonshine_streaming:FAMILY",
    "seamless_m4t": "simulst.models.seq2seq.seamless:FAMILY",
    "seamless_m4t_v2": "simulst.models.seq2seq.seamless:FAMILY",
    "canary": "simulst.models.seq2seq.canary:FAMILY",
    "speech_to_text": "simulst.models.seq2seq.speech2text:FAMILY",
    "qwen2_audio": "simulst.models.audio_llm.qwen2_audio:FAMILY",
    "voxtral": "simulst.models.audio_llm.voxtral:FAMILY",
    "granite_speech": "simulst.models.audio_llm.granite_speech:FAMILY",
    "phi4_multimodal": "simulst.models.audio_llm.phi4_multimodal:FAMILY",
    "voxtral_realtime": "simulst.models.synchronous.voxtral_realtime:FAMILY",
    **dict.fromkeys(("nemotron_asr_streaming", "nemotron3_5_asr"), "simulst.models.synchronous.nemotron:FAMILY"),
    **dict.fromkeys(("marian", "m2m_100", "t5"), "simulst.models.text.encoder_decoder:FAMILY"),
    **dict.fromkeys(
        ("gemma", "gemma3_text", "granite", "llama", "mistral", "olmo2", "phi3", "qwen2", "qwen3", "smollm3"),
        "simulst.models.text.causal_lm:FAMILY",
    ),
}
"""`model_type` of a config.json (or type of a simulst.json) to the family that reads it, imported when it is used."""

CASCADE = "simulst.models.cascade:family_of_pair"
"""`ASR+TEXT`: two models, a recogniser and one that translates text; their family is made of theirs."""
ENDPOINT = "simulst.models.text.endpoint:FAMILY"
"""`http://HOST/v1#MODEL`: a server of completions that translates text."""


@dataclass(frozen=True, kw_only=True)
class KnownModel:
    """A model that has a name of its own; what it provides its family says."""

    family: str
    description: str
    source: str
    target: str
    licence: str
    parameters_m: float
    hub: str = ""
    """Where it is fetched from; empty: it lies in the package."""


MODELS: dict[str, KnownModel] = {
    "tiny-en-de": KnownModel(
        family="speech_llm",
        description="embedded: block-causal streaming encoder, projector and small causal language model",
        source="en",
        target="de",
        licence="Apache-2.0",
        parameters_m=19.0,
    ),
    "tiny-en": KnownModel(
        family="moonshine",
        description="embedded: English speech recognition, Moonshine tiny's decoder on the encoder of tiny-en-de",
        source="en",
        target="en",
        licence="MIT",
        parameters_m=19.3,
    ),
    "whisper-base": KnownModel(
        family="whisper",
        description="speech of 99 languages to English text, or transcribed; re-encodes a window of audio",
        source="99 languages",
        target="en, or the source language",
        licence="MIT",
        parameters_m=72.6,
        hub="openai/whisper-base",
    ),
    "moonshine-tiny": KnownModel(
        family="moonshine",
        description="English speech recognition; re-encodes a window of audio",
        source="en",
        target="en",
        licence="MIT",
        parameters_m=27.1,
        hub="UsefulSensors/moonshine-tiny",
    ),
}


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a model is: the family that reads it (`module:NAME`, or NAME in `file`) and its directory."""

    name: str
    entry: str
    directory: Path
    file: Path | None = None

    @property
    def holds_weights(self) -> bool:
        """Whether its directory is that of one checkpoint."""
        return self.file is None and self.entry not in (CASCADE, ENDPOINT)

    def family(self) -> AnyFamily:
        """The family, its module imported."""
        if self.file is None:
            found = resolve_name(self.entry)
            family: AnyFamily = found(self.name) if self.entry == CASCADE else found
            return family
        from simulst.models.own import family_from_file

        return family_from_file(self.file, self.entry)


def load_model(
    name_or_dir: str | Path, *, device: str = "cpu", dtype: str | None = None, **options: object
) -> Translator:
    """A translator: a name of MODELS, a local directory, a hub name `owner/name` of a supported architecture, a model
    family of one's own (`file.py:FAMILY`), or a cascade `ASR+TEXT` of two of these.

    `dtype` is float32 (default), bfloat16, float16, int8, int4 or auto; options are those of the model
    (`describe_model`), as text or as Python values. One on a GPU has translated a moment of noise when it is given out.
    Raises ModelError, one sentence, for whatever cannot be loaded.
    """
    place = locate(str(name_or_dir))
    family = place.family()
    chosen = family.read(options, owner=place.name)
    model = family.load(place.directory, chosen, name=place.name, device=device, dtype=dtype)
    if elsewhere(model):
        warm(model)
    return model


def describe_models() -> list[ModelInfo]:
    """The models known by name, with their options; loads no weights."""
    return [_known(name) for name in MODELS]


@dataclass(frozen=True, kw_only=True)
class FamilyInfo:
    """A built-in family."""

    name: str
    kinds: tuple[str, ...]
    """Keys of FAMILIES: the `model_type` of its checkpoints; none where it reads none."""
    provides: frozenset[Evidence]
    hub: str


def describe_families() -> list[FamilyInfo]:
    """The built-in families, what their models provide and one to try; fetches nothing."""
    kinds: dict[str, tuple[str, ...]] = {}
    for kind, entry in FAMILIES.items():
        kinds[entry] = (*kinds.get(entry, ()), kind)
    return [_family_info(entry, names) for entry, names in {**kinds, ENDPOINT: ()}.items()]


def _family_info(entry: str, kinds: tuple[str, ...]) -> FamilyInfo:
    family: AnyFamily = resolve_name(entry)
    directory = _kept(family.hub) if family.hub in MODELS else Path(family.hub)
    return FamilyInfo(name=family.name, kinds=kinds, provides=family.can_provide(directory), hub=family.hub)


def describe_model(name_or_dir: str | Path) -> ModelInfo:
    """What is known about a model before its weights are loaded (a hub name is fetched)."""
    if _is_known(str(name_or_dir)):
        return _known(str(name_or_dir))
    place = locate(str(name_or_dir))
    family = place.family()
    if place.file is not None:
        description = family.description or f"{family.name} of {place.file}"
    elif place.entry in (CASCADE, ENDPOINT):
        description = family.description
    else:
        description = f"{_architecture(place.directory)} checkpoint in {place.directory}"
    return ModelInfo(
        name=place.name,
        description=description,
        provides=family.can_provide(place.directory),
        source="",
        target="",
        licence=licence(place.directory) if place.holds_weights else "",
        parameters_m=parameters_m(place.directory) if place.holds_weights else 0.0,
        options=family.described_options(),
    )


def _known(name: str) -> ModelInfo:
    """Of a model of the hub too without fetching it."""
    known, family = MODELS[name], family_of(name)
    return ModelInfo(
        name=name,
        description=known.description,
        provides=family.can_provide(_kept(name)),
        source=known.source,
        target=known.target,
        licence=known.licence,
        parameters_m=known.parameters_m,
        options=family.described_options(),
    )


def option_names(name_or_dir: str | Path) -> frozenset[str]:
    """Names that `load_model` takes as options of this model; the command line tells them from policy parameters."""
    return frozenset(family_of(str(name_or_dir)).described_options())


def options_for(name_or_dir: str | Path, needs: frozenset[Evidence]) -> dict[str, str]:
    """Options of a model that bring evidence which it lacks without them; nothing where there are none."""
    if needs <= DECODING:
        return {}
    try:
        family = family_of(str(name_or_dir))
    except ModelError:  # loading it will say so
        return {}
    pairs = (option.partition("=") for evidence, option in family.unlocks.items() if evidence in needs)
    return {key: value for key, _, value in pairs}


def options_for_text(name_or_dir: str | Path) -> dict[str, str]:
    """Options of a model that is given text alone; nothing where there are none."""
    try:
        return dict(family_of(str(name_or_dir)).for_text)
    except ModelError:  # loading it will say so
        return {}


def can_provide(wanted: str) -> frozenset[Evidence]:
    """What a model provides by itself or with one of its options; a known one is not fetched for it."""
    if _is_known(wanted):
        return family_of(wanted).can_provide(_kept(wanted))
    place = locate(wanted)
    return place.family().can_provide(place.directory)


def _is_known(wanted: str) -> bool:
    return wanted in MODELS and not Path(wanted).is_dir()


def family_of(wanted: str) -> AnyFamily:
    """The family of a model; a known one is not fetched for it."""
    if not _is_known(wanted):
        return locate(wanted).family()
    family: AnyFamily = resolve_name(FAMILIES[MODELS[wanted].family])
    return family


def locate(wanted: str) -> Place:
    """Where the model is that a person names; one of the hub is fetched. Raises ModelError."""
    path = Path(wanted).expanduser()
    if path.is_dir():
        return Place(name=path.resolve().name, entry=FAMILIES[_architecture(path)], directory=path)
    if wanted in MODELS:
        return Place(name=wanted, entry=FAMILIES[MODELS[wanted].family], directory=_fetched(wanted))
    if path.exists():
        raise ModelError(f"The model '{wanted}' is a file; give {_instead_of(path)}.")
    own = _own(wanted)
    if own is not None and own.file is not None and own.file.is_file():
        return own
    if "+" in wanted and all(wanted.partition("+")) and "://" not in wanted.partition("+")[0]:
        return Place(name=wanted, entry=CASCADE, directory=path)
    if own is not None:
        return own
    if wanted.startswith(("http://", "https://")):
        return Place(name=wanted, entry=ENDPOINT, directory=path)
    if path.is_absolute() or wanted.startswith((".", "~")):
        raise ModelError(f"The model directory {wanted} does not exist.")
    if is_hub_name(wanted):
        directory = fetch(wanted)
        return Place(name=wanted, entry=FAMILIES[_architecture(directory)], directory=directory)
    raise ModelError(
        f"Unknown model '{wanted}'; known: {', '.join(MODELS)}, a local directory, "
        f"or a hub name (owner/name) of a supported architecture: {_supported()}; or a cascade of two, ASR+TEXT; "
        "or file.py:FAMILY; or, for text, a server http://HOST:PORT/v1#NAME."
    )


def _instead_of(path: Path) -> str:
    if path.suffix == ".py":
        return f"the name of the model family in it too: {path.name}:FAMILY"
    return "the directory that holds it"


def _own(wanted: str) -> Place | None:
    """`file.py:NAME`; its directory is the one of the file."""
    if ".py:" not in wanted:
        return None
    written, _, attribute = wanted.rpartition(":")
    file = bundled_path(written).expanduser()
    return Place(name=f"{file.name}:{attribute}", entry=attribute, directory=file.parent, file=file)


def _kept(name: str) -> Path:
    """The directory of a known model in the package or under SIMULST_WEIGHTS, where it need not be."""
    if not MODELS[name].hub:
        return Path(__file__).parent / name
    return Path(os.environ.get("SIMULST_WEIGHTS", "~/.cache/simulst/weights")).expanduser() / name


def _fetched(name: str) -> Path:
    """Where a known model is: in the package, under SIMULST_WEIGHTS (~/.cache/simulst/weights), on the hub."""
    kept, hub = _kept(name), MODELS[name].hub
    return kept if not hub or (kept / "config.json").is_file() else fetch(hub)


def _architecture(directory: Path) -> str:
    """The key of FAMILIES that a directory's own description names."""
    if (directory / OWN_FORMAT).is_file():
        kind = read_json(directory / OWN_FORMAT).get("type", "speech_llm")
    elif (directory / "config.json").is_file():
        kind = read_json(directory / "config.json").get("model_type")
    else:
        raise ModelError(f"{directory} is not a model: it has neither {OWN_FORMAT} nor config.json.")
    if not isinstance(kind, str) or kind not in FAMILIES:
        raise ModelError(f"The architecture '{kind}' of {directory} is not supported; supported are: {_supported()}.")
    return kind


def _supported() -> str:
    return ", ".join(FAMILIES)
