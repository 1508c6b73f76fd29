"""Python files of one's own, named as `file.py:NAME`: run once, and what fails in them is one sentence."""

import importlib.util
import sys
import types
from pathlib import Path

from simulst.errors import SimulstError


def module_from_file(path: Path, *, what: str, error: type[SimulstError]) -> types.ModuleType:
    """The module in `path`, the same at every call; `error` with a sentence where there is none or it fails."""
    if not path.is_file():
        raise error(f"There is no {what} file {path}.")
    name = f"simulst_user_{what}_{abs(hash(path.resolve()))}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise error(f"{path} is not a Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except SimulstError as problem:
        del sys.modules[name]
        raise error(f"The {what} file {path} is wrong: {problem}") from problem
    except (Exception, SystemExit) as problem:
        del sys.modules[name]
        raise error(f"The {what} file {path} fails: {brief(problem)}") from problem
    return module


def brief(problem: BaseException) -> str:
    """Kind and first line of an error."""
    lines = str(problem).strip().splitlines()
    return f"{type(problem).__name__}: {lines[0][:200]}" if lines else type(problem).__name__
