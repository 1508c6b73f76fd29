"""A decoder that lies in a folder without an encoder: `simulst.json` there names the speech LLM whose encoder it hears
with, and its weights are stored as `simulst.models.stored` does."""

from dataclasses import dataclass
from pathlib import Path

from simulst.core.settings import read
from simulst.errors import ModelError
from simulst.models.checkpoint import read_json
from simulst.models.registry import OWN_FORMAT


@dataclass(frozen=True, kw_only=True)
class Bare:
    """What `simulst.json` says of such a decoder."""

    type: str
    """Key of FAMILIES."""
    encoder: str
    """A model's name or folder."""


def described(directory: Path) -> Bare | None:
    """The description in a folder; None for a checkpoint with an encoder of its own. Raises ModelError."""
    if not (directory / OWN_FORMAT).is_file():
        return None
    return read(Bare, read_json(directory / OWN_FORMAT), str(directory / OWN_FORMAT), ModelError)
