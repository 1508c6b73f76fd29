"""The standard streams as commands need them: there, and able to take any text."""

import os
import sys
from io import TextIOWrapper

CLOSED: set[str] = set()
"""Streams that were closed when the program began, as a daemon's may be."""


def repair_streams() -> None:
    """Put the null device where a stream is closed, and UTF-8 where a stream takes ASCII only or is not a terminal."""
    standard = {"stdin": sys.stdin, "stdout": sys.stdout, "stderr": sys.stderr}
    for number, (name, now) in enumerate(standard.items()):
        if now is None:
            CLOSED.add(name)
            _reopen(number, name)
    for stream in (sys.stdout, sys.stderr):
        if not isinstance(stream, TextIOWrapper):  # replaced by whoever called us
            continue
        if stream.encoding.lower() in ("ascii", "us-ascii", "ansi_x3.4-1968", "646") or not stream.isatty():
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
        else:
            stream.reconfigure(errors="backslashreplace")


def _reopen(number: int, name: str) -> None:
    """The null device under the stream's own number, so that no file opened later gets it."""
    null = os.open(os.devnull, os.O_RDWR)
    if null != number:
        os.dup2(null, number)
        os.close(null)
    setattr(sys, name, open(number, "r" if name == "stdin" else "w", encoding="utf-8", closefd=False))


def flush_output() -> None:
    """Write what standard output still holds; OSError where that fails, after which nothing is held."""
    try:
        sys.stdout.flush()
    except OSError:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)  # or the interpreter would try again at its end, and complain
        os.close(null)
        raise
