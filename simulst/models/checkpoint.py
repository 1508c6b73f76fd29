"""Reading a local checkpoint in the Hugging Face layout: safetensors only, every weight present, clear errors."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simulst.errors import ModelError, first_line
from simulst.models.adapter import base_alone, has_adapter, put_on
from simulst.models.hushed import hushed
from simulst.models.precision import Precision, choose_precision

if TYPE_CHECKING:
    import torch

WEIGHT_FILES = ("model.safetensors", "model.safetensors.index.json")


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; ModelError where it is missing or not an object."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ModelError(f"{path} cannot be read: {error or type(error).__name__}.") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path} must hold a JSON object.")
    return content


def torch_device(device: str) -> "torch.device":
    """The device of that name ("cpu", "cuda", "cuda:1", "mps", or "auto": a GPU where there is one)."""
    import torch

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        found = torch.device(device)
    except RuntimeError:
        raise ModelError(f"Unknown device '{device}'; known: cpu, cuda, cuda:N, mps, auto.") from None
    if found.type == "cuda" and (not torch.cuda.is_available() or (found.index or 0) >= torch.cuda.device_count()):
        raise ModelError(f"Device '{device}' is not available on this machine; use cpu or auto.")
    if found.type == "mps" and not torch.backends.mps.is_available():
        raise ModelError(f"Device '{device}' is not available on this machine; use cpu or auto.")
    if found.type not in ("cpu", "cuda", "mps"):
        raise ModelError(f"Device '{device}' is not supported; use cpu, cuda, cuda:N, mps or auto.")
    return found


def load_pretrained(
    kind: Any,
    directory: Path,
    *,
    device: str,
    dtype: str | None,
    attention: str = "sdpa",
    int8: bool = False,
    quantised: bool = False,
    adapter: Path | None = None,
    config: Any = None,
    without: str = "",
) -> Any:
    """A transformers model of class `kind` in evaluation mode; never fetches, never runs code from the directory.

    With `int8` the dtype int8 is known too: linear layers of the decoder and of its output are rounded after loading.
    With `quantised` int8 and int4 are, by a library: the weights of linear layers alone (`simulst.models.quantised`).
    An adapter in the directory `adapter` is put on; where none is named, a directory that holds one is refused. A
    `config` is in the place of that of the directory. `without` names a part ("model.encoder.") that a directory of
    simulst's own lacks, whose weights are stored as `simulst.models.stored` does; that part of the model is no use.

    Raises ModelError where weights are missing, damaged, of another shape, or not safetensors.
    """
    bound_kernel_cache()
    where = torch_device(device)
    check_weights(directory)
    adapted = has_adapter(adapter or directory)
    precision = choose_precision(dtype, where, int8=int8 and not adapted, quantised=quantised and not adapted)
    if (precision.int8 or precision.weights) and "quantization_config" in read_json(directory / "config.json"):
        raise ModelError(f"The weights in {directory} are quantised already; leave out dtype={dtype}.")
    if adapted and adapter is None:
        raise ModelError(f"The adapter (LoRA) in {directory} is not used for such a model; merge it into the weights.")
    model = _read(kind, directory, precision, attention=attention, config=config, without=without)
    if adapted and adapter is not None:
        put_on(model, adapter)
    if precision.weights:
        from simulst.models.quantised import quantise

        quantise(model, precision.weights, where, precision.dtype)
    model = model.to(where).eval().requires_grad_(False)
    if precision.int8:
        _round(model)
    return model


def _read(kind: Any, directory: Path, precision: Precision, *, attention: str, config: Any, without: str) -> Any:
    """The model with all its weights, none of them from elsewhere."""
    from safetensors import SafetensorError

    from simulst.models.stored import load_tensors

    given = {"state_dict": load_tensors(directory / WEIGHT_FILES[0])} if without else {}

    try:
        with quiet(), base_alone(directory) as base:
            model, report = kind.from_pretrained(
                None if without else base,
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                dtype=precision.dtype,
                attn_implementation=attention,
                config=config or (kind.config_class.from_pretrained(base) if without else None),
                output_loading_info=True,
                **given,
            )
    except ImportError as error:  # of what unpacks quantised weights
        raise ModelError(
            f"The weights in {directory} need a package that is not installed: {first_line(error)}"
        ) from error
    except (SafetensorError, OSError, RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"The weights in {directory} cannot be loaded: {first_line(error)}") from error
    missing = sorted(name for name in report["missing_keys"] if not without or not name.startswith(without))
    if missing:
        count = "1 tensor is" if len(missing) == 1 else f"{len(missing)} tensors are"
        raise ModelError(f"The weights in {directory} are incomplete: {count} missing, for example {missing[0]}.")
    return model


def _round(model: Any) -> None:
    from simulst.models.int8 import Int8Linear
    from simulst.models.kernels import replace_layers

    replace_layers(model.get_decoder().layers, Int8Linear)
    output = model.get_output_embeddings()
    model.set_output_embeddings(Int8Linear(output.weight, output.bias))


def bound_kernel_cache() -> None:
    """Keep oneDNN from storing up to 1024 compiled kernels, hundreds of MB on streams whose windows vary in length.

    Works until the first convolution of the process; a value that the user has set is kept.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")


def check_weights(directory: Path) -> None:
    """ModelError unless the directory holds safetensors."""
    if any((directory / name).is_file() for name in WEIGHT_FILES):
        return
    if any(directory.glob("*.bin")) or any(directory.glob("*.pt")) or any(directory.glob("*.ckpt")):
        raise ModelError(
            f"{directory} holds weights that are not safetensors; only model.safetensors is loaded: convert them first."
        )
    raise ModelError(f"{directory} holds no weights (model.safetensors).")


@contextmanager
def quiet() -> Iterator[None]:
    """What transformers would warn about while loading becomes an error here; it draws no progress bars either."""
    from transformers.utils import logging as bars

    shown = bars.is_progress_bar_enabled()
    if shown:
        bars.disable_progress_bar()
    try:
        with hushed("transformers"):
            yield
    finally:
        if shown:
            bars.enable_progress_bar()
