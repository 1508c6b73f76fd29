"""Adapters (LoRA) beside the weights of a model: put on by peft, after the weights were checked without them."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from simulst.errors import ModelError, first_line

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def has_adapter(directory: Path) -> bool:
    """Whether the directory holds an adapter; ModelError for one that cannot be put on."""
    if not (directory / CONFIG).is_file():
        return False
    if find_spec("peft") is None:
        raise ModelError(f"{directory} holds an adapter (LoRA), which needs peft: pip install peft.")
    if not (directory / WEIGHTS).is_file():
        raise ModelError(f"{directory} holds an adapter without its weights ({WEIGHTS}).")
    return True


@contextmanager
def base_alone(directory: Path) -> Iterator[Path]:
    """The same files without the adapter, which would hide from transformers' report what is missing in the weights."""
    if not (directory / CONFIG).is_file():
        yield directory
        return
    with TemporaryDirectory() as folder:
        for file in directory.resolve().iterdir():
            if file.name not in (CONFIG, WEIGHTS):
                (Path(folder) / file.name).symlink_to(file)
        yield Path(folder)


def put_on(model: Any, directory: Path) -> None:
    """Let peft change the layers that the adapter names; ModelError where it is made for another model."""
    from safetensors import SafetensorError

    try:
        found = model.load_adapter(str(directory), adapter_kwargs={"local_files_only": True})
    except (SafetensorError, OSError, RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"The adapter in {directory} cannot be used: {first_line(error)}") from error
    if found is not None and found.missing_keys:
        raise ModelError(f"The adapter in {directory} is incomplete: {min(found.missing_keys)} is missing.")
