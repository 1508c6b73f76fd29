"""Who may import whom: rooms only import rooms below them, and files form no circles (docs/architecture.md).

Read from the syntax trees, so that imports inside functions and under TYPE_CHECKING count as well.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENT = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")

ROOMS = (
    *("errors", "defaults", "bundled", "outputs", "plugins"),
    *("audio", "core", "policies", "models", "chosen", "sinks", "eval", "live", "agents"),
    *("training", "testing", "cli", "bench", "__main__", "__init__"),
)
"""From the lowest to the highest; a room may import those before it. `__init__` is the door for users."""

CIRCLES: set[frozenset[str]] = set()
"""What is still to be opened. This list only gets shorter."""

Imports = dict[str, set[str]]
"""A module, without the package's name, to those that it imports."""


def imports_of(package: Path) -> Imports:
    modules = {_module(path, package): path for path in package.rglob("*.py")}
    return {name: set(_imported(path, package.name, set(modules))) - {name} for name, path in modules.items()}


def _module(path: Path, package: Path) -> str:
    parts = path.relative_to(package).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def _imported(path: Path, package: str, modules: set[str]) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):  # `import simulst` is for its version
            yield from (name.name.removeprefix(f"{package}.") for name in node.names if f"{package}." in name.name)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            origin = node.module or ""
            if origin == package:
                yield from (one.name if one.name in modules else "__init__" for one in node.names if one.name[0] != "_")
            elif origin.startswith(f"{package}."):
                inner = origin.removeprefix(f"{package}.")
                yield from (f"{inner}.{one.name}" if f"{inner}.{one.name}" in modules else inner for one in node.names)


def room(module: str) -> str:
    return module.split(".")[0]


def upwards(imports: Imports) -> list[str]:
    return sorted(
        f"{module} imports {other}"
        for module, found in imports.items()
        for other in found
        if ROOMS.index(room(other)) > ROOMS.index(room(module))
    )


def circles(imports: Imports) -> set[frozenset[str]]:
    """Groups of modules that all reach each other."""
    reach = {module: _reachable(module, imports) for module in imports}
    groups = (frozenset(other for other in reach[one] if one in reach[other]) for one in imports)
    return {group for group in groups if len(group) > 1}


def _reachable(start: str, imports: Imports) -> set[str]:
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        waiting += (new := imports.get(waiting.pop(), set()) - seen)
        seen |= new
    return seen


@pytest.fixture(scope="module")
def imports() -> Imports:
    return imports_of(ROOT / "simulst")


@pytest.mark.slow
def test_every_file_lies_in_a_room_that_is_listed(imports: Imports) -> None:
    assert {room(module) for module in imports} == set(ROOMS)


def test_no_room_imports_upwards(imports: Imports) -> None:
    assert upwards(imports) == []


def test_files_form_no_new_circle_and_opened_ones_leave_the_list(imports: Imports) -> None:
    assert circles(imports) == CIRCLES


def test_the_document_lists_the_rooms_in_this_order() -> None:
    table = DOCUMENT.split("## Rooms")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (`[^|]*`) \|", table, flags=re.M)
    assert [name for row in reversed(rows) for name in re.findall(r"`(\w+)", row)] == list(ROOMS)


def test_what_is_forbidden_is_found(tmp_path: Path) -> None:
    house = tmp_path / "house"
    for folder in ("core", "models", "cli"):
        (house / folder).mkdir(parents=True)
        (house / folder / "__init__.py").write_text("")
    (house / "__init__.py").write_text("from house.core.view import View as View\n")
    (house / "core" / "view.py").write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from house.models import door\n"
    )
    (house / "models" / "door.py").write_text("import house\n\ndef load():\n    import house.models.hall\n")
    (house / "models" / "hall.py").write_text("from house.models.door import load\nfrom house import View\n")
    found = imports_of(house)
    assert upwards(found) == ["core.view imports models.door", "models.hall imports __init__"]
    assert circles(found) == {frozenset({"__init__", "core.view", "models.door", "models.hall"})}
    (house / "models" / "hall.py").write_text("from house.models.door import load\n")
    assert circles(imports_of(house)) == {frozenset({"models.door", "models.hall"})}
