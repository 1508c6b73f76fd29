"""Models: `load_model("whisper-base", source="de")` loads one by name, directory, hub name or `file.py:FAMILY`.

`registry` has the names, `family` says what a model family is, `speech_llm`, `audio_llm`,
`seq2seq` and `text` hold the families.
"""

from simulst.defaults import DEFAULT_MODEL
from simulst.models.family import ModelFamily
from simulst.models.registry import (
    FAMILIES,
    MODELS,
    FamilyInfo,
    describe_families,
    describe_model,
    describe_models,
    load_model,
    option_names,
    options_for,
    options_for_text,
)

__all__ = [
    "DEFAULT_MODEL",
    "FAMILIES",
    "MODELS",
    "FamilyInfo",
    "ModelFamily",
    "describe_families",
    "describe_model",
    "describe_models",
    "load_model",
    "option_names",
    "options_for",
    "options_for_text",
]
