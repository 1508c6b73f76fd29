"""Fetching a model by its Hugging Face hub name (`owner/name`); HF_HUB_OFFLINE and the hub's cache are respected."""

import re
from pathlib import Path

from simulst.errors import ModelError, first_line

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_FILES = ["*.json", "*.txt", "*.model", "*.spm", "*.jinja", "model*.safetensors", "adapter_model.safetensors"]


def is_hub_name(name: str) -> bool:
    return _NAME.fullmatch(name) is not None and ".." not in name


def fetch(name: str) -> Path:
    """The local directory of a hub model, downloaded where the cache does not hold it (safetensors and JSON only)."""
    import huggingface_hub
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    # What the client raises when a connection breaks: of requests in its old releases, of httpx in its new ones.
    trouble = next(kind for kind in HfHubHTTPError.__bases__ if issubclass(kind, Exception))
    try:
        return Path(
            huggingface_hub.snapshot_download(name, allow_patterns=_FILES, ignore_patterns=["*fp32*"], etag_timeout=10)
        )
    except GatedRepoError as error:
        raise ModelError(f"'{name}' is gated on the Hugging Face hub; ask for access there and log in.") from error
    except RepositoryNotFoundError as error:
        raise ModelError(f"The Hugging Face hub has no model '{name}'.") from error
    except LocalEntryNotFoundError as error:
        offline = "HF_HUB_OFFLINE is set" if huggingface_hub.constants.HF_HUB_OFFLINE else "the hub cannot be reached"
        raise ModelError(
            f"'{name}' is not in the local Hugging Face cache and {offline}; give a local directory instead."
        ) from error
    except (trouble, OSError, ValueError) as error:
        raise ModelError(f"'{name}' cannot be fetched from the Hugging Face hub: {first_line(error)}") from error
