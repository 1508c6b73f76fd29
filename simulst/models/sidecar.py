"""Files beside weights that were made for them: whether the weights are still the same, and networks in such files."""

import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from simulst.errors import ModelError
from simulst.models.fingerprint import fingerprint_of_weights

if TYPE_CHECKING:
    from torch import nn

WEIGHTS = "weights"
"""Under this key such a file keeps `fingerprint_of_weights`; one without it is taken as it is."""

logger = logging.getLogger(__name__)

Network = TypeVar("Network", bound="nn.Module")


def warn_of_others(path: Path, made_for: object, remedy: str) -> None:
    """One warning where a file was made for weights that are no longer in its folder; it is used all the same.

    `made_for` is what the file says, `remedy` the command that makes it anew.
    """
    if made_for and made_for != fingerprint_of_weights(path.parent):
        logger.warning(
            "%s was made for other weights than those in its folder, and may fit them badly; make it anew with %s.",
            path,
            remedy,
        )


def save_networks(network: "nn.Module", path: Path, *, key: str, sizes: Mapping[str, object]) -> None:
    """Write a network in half precision, under `key` the sizes it is made of, and the fingerprint of the folder's
    weights."""
    from safetensors.torch import save_file

    tensors = {name: tensor.detach().half().contiguous() for name, tensor in network.state_dict().items()}
    save_file(tensors, path, metadata={key: json.dumps(sizes), WEIGHTS: fingerprint_of_weights(path.parent)})
    path.chmod(0o644)


def load_networks(
    path: Path, made: Callable[[Mapping[str, object]], Network], *, key: str, what: str, remedy: str
) -> Network:
    """The network of a file, which `made` builds of its sizes (KeyError, TypeError or ValueError where it cannot).

    ModelError, which calls it `what`, where it does not fit; one warning where it was made for other weights.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            about: Mapping[str, str] = file.metadata() or {}
            sizes = json.loads(about.get(key, "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}
        network = made(sizes)
        network.load_state_dict(tensors)
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, RuntimeError, RecursionError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise ModelError(f"{path} does not hold {what} for this decoder: {reason}.") from error
    warn_of_others(path, about.get(WEIGHTS), remedy)
    return network.float().eval().requires_grad_(False)
