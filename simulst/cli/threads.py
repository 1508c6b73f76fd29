"""Processors, and how many threads a command's model may use."""

import os
import sys


def processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def one_thread_per_stream() -> None:
    """Small models on one stream gain nothing from more threads, and lose much where cores are shared.

    OMP_NUM_THREADS overrides it.
    """
    if "OMP_NUM_THREADS" not in os.environ:
        import torch

        torch.set_num_threads(1)
