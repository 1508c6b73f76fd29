"""What a kind of test set is: a class that recognises one on the disk and reads it."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from simulst.eval.data.item import Dataset


class DatasetKind(ABC):
    """One kind of test set. It needs no arguments to be made."""

    what: ClassVar[str] = ""
    """What to give, for messages, such as "a MuST-C split"."""
    signs: ClassVar[str] = ""
    """What a folder of this kind has in it, for messages; "" where it is a file."""

    @abstractmethod
    def matches(self, place: Path) -> bool:
        """Whether the file or folder, which exists, is of this kind; looks at names alone."""

    @abstractmethod
    def read(self, place: Path, *, long: bool, lang: str) -> Dataset:
        """The test set; only headers of recordings are read.

        `long`: whole recordings instead of segments, where there is a choice. `lang`: the target language, "" for the
        only one. Raises DataError for what contradicts itself; what is wrong with single items is in `problems`.
        """

    def hint(self, place: Path) -> str:
        """A sentence about a place that is almost, but not quite, of this kind; "" if there is nothing to say."""
        return ""
