"""Names of the latency tags that a model may be trained with; `<NAME>` is the mark in its vocabulary."""

LATENCIES = ("low", "low-medium", "medium", "medium-high", "high")
TURN_BLOCKS = (1, 2, 3, 4)
"""Encoder blocks per turn that there are tags for: the marks `<spare0>` to `<spare3>`."""


def turn_mark(blocks: int, *, joint: bool = False) -> str:
    """The mark of turns of so many blocks; with `joint`, of those in two languages: `<spare4>` to `<spare7>`."""
    return f"<spare{blocks - 1 + (len(TURN_BLOCKS) if joint else 0)}>"
