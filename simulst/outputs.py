"""Files that commands write: whole or not at all, and never over an input."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from simulst.errors import SimulstError


class OutputError(SimulstError):
    """A file that cannot be written."""


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Within it an OSError becomes an OutputError that names `path`."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {reason(error)}.") from None


def reason(error: OSError) -> str:
    """What the system says, without numbers and paths."""
    return (error.strerror or str(error)).rstrip(".").lower()


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A scratch file beside `path` to write; it takes the place of `path` at the end, or vanishes after an error.

    Devices and pipes are written directly. Raises OutputError.
    """
    with naming(path):
        target = path.resolve()
        if target.exists() and not target.is_file():
            yield path
            return
        # It keeps the suffix, which may say the format.
        scratch = target.with_name(f".simulst-{os.getpid()}{target.suffix[:16]}")
        try:
            yield scratch
            if target.exists():
                scratch.chmod(target.stat().st_mode & 0o7777)
            scratch.replace(target)
        except BaseException:
            with suppress(OSError):
                scratch.unlink()
            raise


def write_whole(path: Path, text: str) -> None:
    """Write a text file in UTF-8, whole or not at all. Raises OutputError."""
    with whole_file(path) as scratch:
        scratch.write_text(text, encoding="utf-8", newline="\n")


@contextmanager
def growing_file(path: Path) -> Iterator[TextIO]:
    """A text file in UTF-8 that is written as its content comes. Raises OutputError."""
    with naming(path), path.open("w", encoding="utf-8", newline="\n") as file:
        yield file


def refuse_inputs(output: Path, *inputs: Path | int | None) -> None:
    """Raise OutputError where `output` is one of the inputs (paths or file descriptors) by whatever name."""
    for one in inputs:
        with suppress(OSError, ValueError):
            if one is not None and os.path.samestat(os.stat(output), os.stat(one)) and output.is_file():
                raise OutputError(f"{output} is an input of this command: choose another --output.")
