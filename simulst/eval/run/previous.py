"""The run that `--fresh` replaces: kept aside until the new one has its first item."""

import os
import shutil
from collections.abc import Iterable
from pathlib import Path


class Previous:
    """Files of an earlier run in OUT/.previous.

    A kill leaves all of them in one place, or some in each and `cut_off` true, which `put_back` repairs.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._kept = folder / ".previous"
        self._moving = folder / ".previous.tmp"

    @property
    def exists(self) -> bool:
        return self._kept.is_dir() or self.cut_off

    @property
    def cut_off(self) -> bool:
        """Whether they were being moved when the process was killed, so that nothing new can have begun."""
        return self._moving.is_dir()

    def set_aside(self, files: Iterable[Path]) -> None:
        self._moving.mkdir()
        for path in files:
            os.replace(path, self._moving / path.name)
        os.replace(self._moving, self._kept)

    def put_back(self) -> None:
        """Over whatever has the same name by now."""
        if not self.cut_off:
            os.replace(self._kept, self._moving)
        for path in list(self._moving.iterdir()):
            if path.is_dir():  # which would not be replaced as a file is
                remove(self._folder / path.name)
            os.replace(path, self._folder / path.name)
        self._moving.rmdir()

    def forget(self) -> None:
        shutil.rmtree(self._kept, ignore_errors=True)


def remove(path: Path) -> None:
    """A file, or a folder with all that is in it; nothing where there is none."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
