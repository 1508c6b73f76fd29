"""Compile a numeric kernel once per machine: numba with its cache in the user's cache folder."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def compiled(function: Callable[P, T]) -> Callable[P, T]:
    """The function as machine code, kept in NUMBA_CACHE_DIR or ~/.cache/simulst/numba; the code must be plain loops.

    numba is imported here, on first use, because it takes half a second and 70 MB.
    """
    import numba

    if not os.environ.get("NUMBA_CACHE_DIR"):
        numba.config.CACHE_DIR = str(cache_folder())
    try:
        kernel: Callable[P, T] = numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # no folder can be written: compile anew in every process
        kernel = numba.njit(nogil=True)(function)
    return kernel


def cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "simulst" / "numba"
