"""Memory that the process holds but nobody uses."""

import contextlib
import ctypes
import gc
import sys


def give_back(*, collect: bool = True) -> None:
    """Return freed memory to the system, where the C library is glibc; milliseconds, and what collecting garbage takes.

    Threads that translate together allocate in arenas of their own, and glibc keeps what they free: over the runs of a
    recipe or the streams of a server the process would grow although nothing in it does.
    """
    if collect:
        gc.collect()
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError):  # another C library
            ctypes.CDLL(None).malloc_trim(0)
