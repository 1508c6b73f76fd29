"""Names of the latency tags that a model may be trained with; `<NAME>` is the mark in its vocabulary."""

LATENCIES = ("low", "low-medium", "medium", "medium-high", "high")
TURN_BLOCKS = (1, 2, 3, 4)
"""Encoder blocks per turn that there are tags for: the marks `<spare0>` to `<spare3>`."""
