"""A pretend CUDA graph: operations are recorded once and played back on the same tensors, whatever the code says then.

Numbers that Python took from a tensor or a list while it was recorded stay as they were, as on a GPU.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from simulst.testing.accelerator import OnDevice, Pretend

Operation = tuple[Any, Any, Any, list[Any]]
"""What was called, with what, and what it gave."""


class Recorder:
    """A `simulst.models.speech_llm.graphs.Capture`; `counted` sees the playing back of a step as one launch."""

    def __init__(self, counted: Pretend | None = None) -> None:
        self.counted = counted
        self.played = 0

    def __call__(self, step: Callable[[], None]) -> Callable[[], None]:
        recording = _Recording()
        with (self.counted or Pretend()).as_one_launch(), recording:
            step()

        def play() -> None:
            self.played += 1
            with (self.counted or Pretend()).as_one_launch():
                for operation in recording.operations:
                    _again(operation)

        return play


class _Recording(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations: list[Operation] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        self.operations.append((func, args, kwargs or {}, tree_flatten(found)[0]))
        return found


def _again(operation: Operation) -> None:
    """Do it once more; what it gives goes where it went before."""
    function, args, settings, given = operation
    for old, new in zip(given, tree_flatten(function(*args, **settings))[0], strict=True):
        if isinstance(old, Tensor) and _place(old) != _place(new):
            old.copy_(new)


def _place(one: Tensor) -> int:
    return (one.behind if isinstance(one, OnDevice) else one).untyped_storage().data_ptr()
