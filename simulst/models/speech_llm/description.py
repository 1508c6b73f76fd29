"""Whether the values of a `simulst.json` are of the kind and size that building a model from them takes."""

import math
from collections.abc import Mapping

from simulst.errors import ModelError

LARGEST = 10_000_000
"""No size of a model is beyond this."""
DEEPEST = 1_000
SIZES = ("_size", "_layers", "_heads", "_dim", "_position_embeddings", "layers", "heads")
ENCODER_MAY_BE_ZERO = ("lookahead_frames",)


def check_description(values: Mapping[str, object], where: str = "simulst.json") -> None:
    """Raises ModelError, naming the key, for a value that no model can have; keys that are not there are fine."""
    for key in ("encoder", "decoder", "languages", "base"):
        if not isinstance(values.get(key, {}), dict):
            raise ModelError(f"{where}: {key} must be an object.")
    if "vocab_size" not in _table(values, "decoder"):
        raise ModelError(f"{where}: decoder needs vocab_size.")
    _check_encoder(_table(values, "encoder"), where)
    _check_network(_table(values, "decoder"), f"{where}: decoder")
    for key in ("stack", "projector_dim"):
        _size(values.get(key, 1), f"{where}: {key}")
    _seconds(values.get("max_source_s", 1.0), f"{where}: max_source_s")
    _check_words(values, where)


def _check_encoder(encoder: Mapping[str, object], where: str) -> None:
    network = encoder.get("network", {})
    if not isinstance(network, dict):
        raise ModelError(f"{where}: encoder.network must be an object.")
    may_be_zero = (*ENCODER_MAY_BE_ZERO, *(["left_frames"] if network else []))
    for key, value in network.items():  # layers of convolutions have a width each
        for one in value if isinstance(value, list) else [value]:
            _check_network({key: one}, f"{where}: encoder.network")
    if not isinstance(encoder.get("normalise", True), bool):
        raise ModelError(f"{where}: encoder.normalise must be true or false.")
    for key, value in encoder.items():
        if key in ("network", "normalise"):
            continue
        if key == "norm_half_life_s":
            _seconds(value, f"{where}: encoder.{key}")
        else:
            _size(value, f"{where}: encoder.{key}", least=0 if key in may_be_zero else 1)


def _check_network(network: Mapping[str, object], where: str) -> None:
    """A configuration of transformers."""
    for key, value in network.items():
        if key.endswith(SIZES):
            _size(value, f"{where}.{key}")
        elif key.endswith("_token_id"):
            _size(value, f"{where}.{key}", least=0)


def _check_words(values: Mapping[str, object], where: str) -> None:
    languages = _table(values, "languages")
    if not all(isinstance(text, str) and text for pair in languages.items() for text in pair):
        raise ModelError(f"{where}: languages must map names to tokens.")
    for key in ("source", "target"):
        if key in values and not isinstance(values[key], str):
            raise ModelError(f"{where}: {key} must be the name of a language.")
    tasks = values.get("tasks", [])
    if not isinstance(tasks, list) or not all(isinstance(task, str) for task in tasks):
        raise ModelError(f"{where}: tasks must be a list of names.")


def _table(values: Mapping[str, object], key: str) -> dict[str, object]:
    """A table of the description, empty where there is none."""
    found = values.get(key)
    return found if isinstance(found, dict) else {}


def _size(value: object, where: str, *, least: int = 1) -> None:
    largest = DEEPEST if where.endswith("layers") else LARGEST
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= largest:
        raise ModelError(f"{where} must be a whole number from {least} to {largest}, not {value!r}.")


def _seconds(value: object, where: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= LARGEST or math.isnan(value):
        raise ModelError(f"{where} must be a number of seconds above 0, not {value!r}.")
