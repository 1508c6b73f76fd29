"""Weights of a decoder that translates text and does nothing else, beside those that do everything.

A small decoder that also hears, transcribes and waits translates text less well than one that was trained on, from the
same weights, on text alone. What that training changed is stored, half a byte a number, and added where text alone
is translated.
"""

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from simulst.errors import ModelError
from simulst.models.fingerprint import fingerprint_of_weights
from simulst.models.sidecar import WEIGHTS
from simulst.models.stored import load_tensors, rounded, save_tensors

TEXT_FILE = "text.safetensors"
DECODER = "decoder."
REMEDY = "examples/make_text_weights.py"


def save_text_weights(folder: Path, trained: Mapping[str, Tensor], share: float = 1.0) -> None:
    """Write what the tensors of a decoder, named as in `model.safetensors`, differ by from the model in a folder, or
    this share of it.

    ModelError where they are not of that model; OutputError where the file cannot be written.
    """
    own = {name: one for name, one in load_tensors(folder / "model.safetensors").items() if name.startswith(DECODER)}
    shapes = {name: one.shape for name, one in trained.items()}
    for name, one in own.items():
        if shapes.get(name) != one.shape:
            raise ModelError(f"The weights for text have no {name} of the size that it has in {folder}.")
    changes = {name: share * (trained[name].float() - one.float()) for name, one in own.items()}
    made_for = {WEIGHTS: fingerprint_of_weights(folder)}
    save_tensors(rounded(changes, half_bytes=True), folder / TEXT_FILE, about=made_for)


def with_text_weights(folder: Path, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of `model.safetensors` with what `text.safetensors` adds; as they are where there is no such file.

    ModelError where it was made for other weights, to which nothing can be added.
    """
    path = folder / TEXT_FILE
    if not path.is_file():
        return dict(tensors)
    if _made_for(path) != fingerprint_of_weights(folder):
        raise ModelError(f"{path} was made for other weights than those in its folder; make it anew with {REMEDY}.")
    changes = load_tensors(path)
    if wrong := [name for name, one in changes.items() if name not in tensors or tensors[name].shape != one.shape]:
        raise ModelError(f"{path} does not fit the weights in its folder: {wrong[0]}; make it anew with {REMEDY}.")
    return {name: one + changes[name] if name in changes else one for name, one in tensors.items()}


def _made_for(path: Path) -> str:
    try:
        with safe_open(path, framework="pt") as file:
            return str((file.metadata() or {}).get(WEIGHTS, ""))
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path} cannot be read: {error}.") from error
