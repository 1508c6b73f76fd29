"""The rooms of evaluation import downwards only, and no file imports one that imports it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

EVAL = Path(__file__).parents[2] / "simulst" / "eval"
ROOMS = ("logs", "data", "segment", "metrics", "score", "run", "report", "tune")
"""From the bottom to the top: each may import those before it."""
FILES = sorted(path for path in EVAL.rglob("*.py") if path.parent != EVAL)


def module(path: Path) -> str:
    parts = path.relative_to(EVAL.parents[1]).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module(path): path for path in FILES}


def imported(path: Path) -> Iterator[str]:
    """Modules of evaluation that a file imports anywhere in it, for types too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in MODULES else node.module for name in inner]
        else:
            continue
        yield from (name for name in dict.fromkeys(names) if name in MODULES)


def test_every_room_has_its_place() -> None:
    assert {path.name for path in EVAL.iterdir() if (path / "__init__.py").is_file()} == set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_those_below(room: str) -> None:
    allowed = ROOMS[: ROOMS.index(room) + 1]
    upwards = [
        f"{module(path)} imports {name}"
        for path in FILES
        if path.is_relative_to(EVAL / room)
        for name in imported(path)
        if name.split(".")[2] not in allowed
    ]
    assert not upwards


def test_no_circle_of_files() -> None:
    rest = {name: set(imported(path)) - {name} for name, path in MODULES.items()}
    while leaves := [name for name, needed in rest.items() if not needed & rest.keys()]:
        for name in leaves:
            del rest[name]
    assert not rest, f"these import each other: {sorted(rest)}"
