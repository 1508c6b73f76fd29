"""What comes with simulst besides its code: the example talk, the small test set and the recipes of evaluations.

A checkout has them in `examples/` and `eval/` at its root, an installed package in folders of the same names that
setup.py copies into the wheel, so that a path such as `examples/talk.flac` means the same file with both.
"""

from pathlib import Path

FOLDERS = ("examples", "eval")

_PACKAGE = Path(__file__).resolve().parent
_INSTALLED = _PACKAGE / "share"


def home() -> Path:
    """The folder that holds `examples` and `eval`."""
    return _INSTALLED if _INSTALLED.is_dir() else _PACKAGE.parent


def bundled(name: str) -> str:
    """`name`; where there is no such file, and it begins with `examples/` or `eval/`, that file of simulst's own."""
    if name.split("/")[0] not in FOLDERS or Path(name).exists():
        return name
    own = home() / name
    return str(own) if own.exists() else name


def bundled_path(name: str | Path) -> Path:
    """`bundled` as a path: a `parser` for options and arguments of the command line, which gets defaults too."""
    return Path(bundled(str(name)))


def talk() -> Path:
    """Two minutes of English speech; its segments (.yaml) and German references (.de.txt) are in the same folder."""
    return home() / "examples" / "talk.flac"
