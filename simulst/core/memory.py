"""Memory that the process holds but nobody uses."""

import contextlib
import ctypes
import gc
import sys

M_ARENA_MAX = -8
"""Number of a parameter of glibc's mallopt."""


def share_one_heap() -> None:
    """Let all threads that are started from here on allocate in one arena, where the C library is glibc.

    Streams that come and go are computed by one thread now and another then, and what they leave in the arena of each
    grows for hours; in one arena it is used again.
    """
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError):
            ctypes.CDLL(None).mallopt(M_ARENA_MAX, 1)


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
