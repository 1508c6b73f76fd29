"""Known models by name, and the loader for a directory or hub name: `load_model("whisper-base", source="de")`.

A plug-in is a line in MODELS or ARCHITECTURES: a function `load(directory, *, name, device, dtype, **options)` that
returns a Translator, with a dataclass `Options` and a frozenset `PROVIDES` beside it.
"""

import importlib
import os
from dataclasses import replace
from pathlib import Path
from types import ModuleType

from simulst.core.translator import DECODING, Evidence, ModelInfo, Translator
from simulst.defaults import DEFAULT_MODEL as DEFAULT_MODEL
from simulst.errors import ModelError
from simulst.models.checkpoint import read_json
from simulst.models.hub import fetch, is_hub_name
from simulst.models.options import describe_options

OWN_FORMAT = "simulst.json"
"""Marks a directory that this project wrote; its "type" is a key of ARCHITECTURES, "speech_llm" by default."""

MODELS: dict[str, str] = {
    "tiny-en-de": "simulst.models.speech_llm.translator:load",
    "whisper-base": "simulst.models.seq2seq.whisper:load",
    "moonshine-tiny": "simulst.models.seq2seq.moonshine:load",
}
"""Names to loaders, imported when they are used."""

ARCHITECTURES: dict[str, str] = {
    "speech_llm": "simulst.models.speech_llm.translator:load",
    "whisper": "simulst.models.seq2seq.whisper:load",
    "moonshine": "simulst.models.seq2seq.moonshine:load",
    "seamless_m4t": "simulst.models.seq2seq.seamless:load",
    "seamless_m4t_v2": "simulst.models.seq2seq.seamless:load",
    "speech_to_text": "simulst.models.seq2seq.speech2text:load",
}
"""`model_type` of a config.json (or type of a simulst.json) to loaders."""

CASCADE = "simulst.models.cascade:load"
"""`ASR+TEXT`: two names as above, a recogniser and a model that translates text."""

_HUB_NAMES = {"whisper-base": "openai/whisper-base", "moonshine-tiny": "UsefulSensors/moonshine-tiny"}

_KNOWN = (
    ModelInfo(
        name="tiny-en-de",
        description="embedded: block-causal streaming encoder, projector and small causal language model",
        provides=DECODING | {Evidence.CTC_COUNTS, Evidence.SOURCE_LM, Evidence.GROUPED},
        source="en",
        target="de",
        licence="Apache-2.0",
        parameters_m=19.0,
    ),
    ModelInfo(
        name="whisper-base",
        description="speech of 99 languages to English text, or transcribed; re-encodes a window of audio",
        provides=DECODING,
        source="99 languages",
        target="en, or the source language",
        licence="MIT",
        parameters_m=72.6,
    ),
    ModelInfo(
        name="moonshine-tiny",
        description="English speech recognition; re-encodes a window of audio",
        provides=DECODING,
        source="en",
        target="en",
        licence="MIT",
        parameters_m=27.1,
    ),
)


def load_model(
    name_or_dir: str | Path, *, device: str = "cpu", dtype: str | None = None, **options: object
) -> Translator:
    """A translator: a name of MODELS, a local directory, a hub name `owner/name` of a supported architecture, or a
    cascade `ASR+TEXT` of two of these.

    `dtype` is float32 (default), bfloat16 or float16; options are those of the model (`describe_model`), as text or as
    Python values. Raises ModelError, one sentence, for whatever cannot be loaded.
    """
    name, loader, directory = _locate(str(name_or_dir))
    module, function = loader.split(":")
    load = getattr(importlib.import_module(module), function)
    translator: Translator = load(directory, name=name, device=device, dtype=dtype, **options)
    return translator


def describe_models() -> list[ModelInfo]:
    """The models known by name, with their options; loads no weights."""
    return [_known(info) for info in _KNOWN]


def _known(info: ModelInfo) -> ModelInfo:
    folder = Path(__file__).parent / info.name
    return replace(_with_options(info, MODELS[info.name]), provides=info.provides | _trained(MODELS[info.name], folder))


def _trained(loader: str, directory: Path) -> frozenset[Evidence]:
    """Evidence that a model provides because of what it was trained on, as its folder says."""
    read = getattr(_module(loader), "trained", None)
    found: frozenset[Evidence] = read(directory) if read and (directory / OWN_FORMAT).is_file() else frozenset()
    return found


def describe_model(name_or_dir: str | Path) -> ModelInfo:
    """What is known about a model before its weights are loaded (a hub name is fetched)."""
    wanted = str(name_or_dir)
    for info in _KNOWN:
        if info.name == wanted:
            return _known(info)
    name, loader, directory = _locate(wanted)
    description = "cascade" if loader == CASCADE else f"{_architecture(directory)} checkpoint in {directory}"
    info = ModelInfo(
        name=name,
        description=description,
        provides=_module(loader).PROVIDES | _trained(loader, directory),
        source="",
        target="",
        licence="",
        parameters_m=0.0,
    )
    return _with_options(info, loader)


def option_names(name_or_dir: str | Path) -> frozenset[str]:
    """Names that `load_model` takes as options of this model; the command line tells them from policy parameters."""
    return frozenset(describe_model(name_or_dir).options)


def options_for(name_or_dir: str | Path, needs: frozenset[Evidence]) -> dict[str, str]:
    """Options of a model that bring evidence which it lacks without them; nothing where there are none."""
    if needs <= DECODING:
        return {}
    try:
        loader = _locate(str(name_or_dir))[1]
    except ModelError:  # loading it will say so
        return {}
    unlocks: dict[Evidence, str] = getattr(_module(loader), "UNLOCKS", {})
    pairs = (option.partition("=") for evidence, option in unlocks.items() if evidence in needs)
    return {key: value for key, _, value in pairs}


def _with_options(info: ModelInfo, loader: str) -> ModelInfo:
    return replace(info, options=describe_options(_module(loader).Options))


def _module(loader: str) -> ModuleType:
    return importlib.import_module(loader.split(":")[0])


def _locate(wanted: str) -> tuple[str, str, Path]:
    """Name, loader and directory of a model."""
    path = Path(wanted).expanduser()
    if path.is_dir():
        return path.resolve().name, ARCHITECTURES[_architecture(path)], path
    if wanted in MODELS:
        return wanted, MODELS[wanted], _directory_of(wanted)
    if path.exists():
        raise ModelError(f"The model '{wanted}' is a file; give the directory that holds it.")
    if "+" in wanted and all(wanted.partition("+")):
        return wanted, CASCADE, path
    if path.is_absolute() or wanted.startswith((".", "~")):
        raise ModelError(f"The model directory {wanted} does not exist.")
    if is_hub_name(wanted):
        directory = fetch(wanted)
        return wanted, ARCHITECTURES[_architecture(directory)], directory
    raise ModelError(
        f"There is no model '{wanted}'; give one of {', '.join(MODELS)}, a local directory, "
        f"or a hub name (owner/name) of a supported architecture: {_supported()}; or a cascade of two, ASR+TEXT."
    )


def _directory_of(name: str) -> Path:
    """Where a known model lies: in the package, under SIMULST_WEIGHTS (~/.cache/simulst/weights), on the hub."""
    if name not in _HUB_NAMES:
        return Path(__file__).parent / name
    weights = Path(os.environ.get("SIMULST_WEIGHTS", "~/.cache/simulst/weights")).expanduser()
    return weights / name if (weights / name / "config.json").is_file() else fetch(_HUB_NAMES[name])


def _architecture(directory: Path) -> str:
    """The key of ARCHITECTURES that a directory's own description names."""
    if (directory / OWN_FORMAT).is_file():
        kind = read_json(directory / OWN_FORMAT).get("type", "speech_llm")
    elif (directory / "config.json").is_file():
        kind = read_json(directory / "config.json").get("model_type")
    else:
        raise ModelError(f"{directory} is no model: it has neither {OWN_FORMAT} nor config.json.")
    if not isinstance(kind, str) or kind not in ARCHITECTURES:
        raise ModelError(f"The architecture '{kind}' of {directory} is not supported; supported are: {_supported()}.")
    return kind


def _supported() -> str:
    return ", ".join(ARCHITECTURES)
