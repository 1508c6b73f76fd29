"""Files that commands write: whole or not at all, and never over what was read."""

import errno
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from simulst.errors import DataError


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A file beside `path`, with the same ending, that takes its place once the block has ended well.

    What no file can take the place of, a device or a pipe, is yielded itself. A link goes on pointing where it points.
    DataError where the system refuses.
    """
    try:
        with _scratch(path.resolve()) as file:
            yield file
    except OSError as error:
        raise DataError(f"Cannot write {path}: {error.strerror or error}.") from None


@contextmanager
def _scratch(path: Path) -> Iterator[Path]:
    if path.exists() and not path.is_file():
        yield path
        return
    if path.exists() and not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    scratch = path.with_name(f".{path.stem[:40]}-{os.getpid()}{path.suffix}")
    try:
        yield scratch
        if path.exists():
            shutil.copymode(path, scratch)
        os.replace(scratch, path)
    finally:
        with suppress(OSError):
            scratch.unlink()


def write_texts(texts: Mapping[Path, str]) -> None:
    """Write files that belong together, in UTF-8; none of them changes unless all of them could be written."""
    with ExitStack() as stack:
        for path, text in texts.items():
            stack.enter_context(whole_file(path)).write_bytes(text.encode())


def write_text(path: str | os.PathLike[str], text: str) -> None:
    write_texts({Path(path): text})


def refuse_inputs(outputs: Iterable[Path], inputs: Iterable[Path | None]) -> None:
    """DataError where an output is a file that the command reads, by whatever name."""
    known = {_identity(path) for path in inputs if path is not None} - {None}
    for output in outputs:
        if _identity(output) in known:
            raise DataError(f"{output} is read by this command and would be overwritten; choose another --output.")


def _identity(path: Path) -> tuple[int, int] | None:
    """What two names of one file have in common; None where there is no file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
