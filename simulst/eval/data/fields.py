"""Values of a record of a test set, a line of a manifest or a row of a table, judged one by one."""

import math
from collections.abc import Mapping

from simulst.errors import DataError


def text_of(record: Mapping[str, object], key: str, where: str) -> str | None:
    """Text, None where there is none; DataError, naming the place and the key, for anything else."""
    value = record.get(key)
    if value is not None and not isinstance(value, str):
        raise DataError(f"{where}: `{key}` must be text, but is {value!r}.")
    return value


def seconds_of(record: Mapping[str, object], key: str, where: str) -> float | None:
    """Seconds, None where there are none; DataError, naming the place and the key, for anything else."""
    value = record.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise DataError(f"{where}: `{key}` must be seconds, 0 or more, but is {value!r}.")
    return float(value)
