"""Files that commands write: whole or not at all, and never over what was read."""

import errno
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
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
    """A file next to `path`, with the same ending, that takes its place once the block has ended without an error.

    What no file can take the place of, a device or a pipe, is yielded itself. A link goes on pointing where it points.
    OutputError where the system refuses.
    """
    with naming(path), _scratch(path.resolve()) as file:
        yield file


@contextmanager
def _scratch(path: Path) -> Iterator[Path]:
    if path.exists() and not path.is_file():
        yield path
        return
    if path.exists() and not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    scratch = path.with_name(f".{path.stem[:40]}-{os.getpid()}{path.suffix[:16]}")
    try:
        yield scratch
        if path.exists():
            shutil.copymode(path, scratch)
        os.replace(scratch, path)
    finally:
        with suppress(OSError):
            scratch.unlink()


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A folder next to `path` that becomes it once the block has ended without an error; what a run that was killed
    left of it is replaced. OutputError where something lies at `path` already, or the system refuses."""
    path = path.resolve()
    if path.exists():
        raise OutputError(f"{path} exists already; remove it, or choose another --output.")
    scratch = path.with_name(f".{path.name[:40]}.unfinished")
    with naming(path):
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        try:
            yield scratch
            os.replace(scratch, path)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def write_texts(texts: Mapping[Path, str]) -> None:
    """Write files that belong together, in UTF-8; none of them changes unless all of them could be written."""
    with ExitStack() as stack:
        for path, text in texts.items():
            stack.enter_context(whole_file(path)).write_bytes(text.encode())


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write one file in UTF-8. Raises OutputError."""
    write_texts({Path(path): text})


@contextmanager
def growing_file(path: Path) -> Iterator[TextIO]:
    """A text file in UTF-8 that is written as its content comes. Raises OutputError."""
    with naming(path), path.open("w", encoding="utf-8", newline="\n") as file:
        yield file


def refuse_inputs(outputs: Iterable[Path], inputs: Iterable[Path | int | None]) -> None:
    """OutputError where an output is a file that the command reads (path or descriptor), by whatever name."""
    known = {_identity(one) for one in inputs if one is not None} - {None}
    for output in outputs:
        if _identity(output) in known:
            raise OutputError(f"{output} is read by this command and would be overwritten; choose another --output.")


def _identity(file: Path | int) -> tuple[int, int] | None:
    """What two names of one file have in common; None where there is no file that could be overwritten."""
    try:
        found = os.stat(file)
    except (OSError, ValueError):
        return None
    return (found.st_dev, found.st_ino) if os.path.isfile(file) else None
