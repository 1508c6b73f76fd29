"""Which entries of a full cache stay: index arithmetic without tensors."""

from collections.abc import Sequence


def oldest_turns(checkpoints: Sequence[int], length: int, maximum: int) -> int | None:
    """The smallest checkpoint whose entries before it may go so that at most `maximum` are left after it.

    None when nothing has to go; the last checkpoint when even that does not suffice (the newest turn is never cut).
    """
    if length <= maximum or not checkpoints:
        return None
    return next((one for one in checkpoints if length - one <= maximum), checkpoints[-1])


def evict_turns(
    checkpoints: Sequence[int], length: int, *, maximum: int, system: int
) -> tuple[list[tuple[int, int]], list[int]]:
    """Drop whole oldest turns of a cache that holds more than `maximum` entries (InfiniSST, 2503.02969).

    `checkpoints` are the lengths of the cache after each turn, the first `system` entries stay. Returns the ranges that
    stay and the checkpoints as they are afterwards.
    """
    cut = oldest_turns(checkpoints, length, maximum)
    if cut is None:
        return [(0, length)], list(checkpoints)
    return [(0, system), (cut, length)], [one - cut + system for one in checkpoints if one > cut]


def sink_window(length: int, *, sinks: int, recent: int, incoming: int) -> list[tuple[int, int]]:
    """The ranges that stay of a cache of first `sinks` and last `recent` entries, before `incoming` more come
    (attention sinks, 2309.17453)."""
    if length + incoming <= sinks + recent:
        return [(0, length)]
    return [(0, sinks), (max(sinks, length - recent + incoming), length)]
