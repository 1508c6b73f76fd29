"""The attention rows that a caller wants of a forward, and those that were found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor, nn


@dataclass(kw_only=True, eq=False)
class Recording:
    """What one caller wants of the forwards inside `simulst.models.recorded.RowsOfHeads.recording`."""

    wanted: Mapping[nn.Module, tuple[int, Sequence[int]]]
    """An attention module to its layer and heads."""
    columns: Tensor | slice
    """[keys, units]: which keys are added up to which unit of the source, later keys count for nothing; or the keys
    that are a unit each."""
    last: int
    """How many of the newest queries give a row."""
    causal: bool
    """Whether a query sees no key after its own where no mask says anything."""
    rows: dict[int, Tensor] = field(default_factory=dict)
    """Per layer [batch, heads, last, units], float32."""
