"""The door for what people add in a file of their own: `FILE.py:NAME` on the command line."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from simulst.bundled import bundled_path
from simulst.errors import SimulstError


def names_file(spec: str) -> bool:
    """Whether this is FILE.py:NAME."""
    return ".py:" in spec


def load_plugin(spec: str, what: str, error: type[SimulstError]) -> object:
    """What NAME is in FILE.py, for a `spec` of that form; `error`, which says `what` was looked for, where it fails."""
    path_text, _, name = spec.rpartition(":")
    path = bundled_path(path_text)
    module = _module(path, what, error)
    if name not in vars(module):
        raise error(f"{path} defines no {name!r}; name the {what} that it defines, as {path_text}:NAME.")
    found: object = vars(module)[name]
    return found


def _module(path: Path, what: str, error: type[SimulstError]) -> ModuleType:
    if not path.is_file():
        raise error(f"There is no {path} to read a {what} from.")
    name = f"simulst_plugin_{abs(hash(path.resolve()))}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise error(f"{path} is not a Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except Exception as problem:
        del sys.modules[name]
        raise error(f"{path} fails when it is read: {type(problem).__name__}: {problem}") from problem
    return module
