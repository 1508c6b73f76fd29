"""A pretend accelerator: tensors that claim another device, compute on the CPU, and count what a real one waits for.

    with Pretend() as counted:
        model = model.to(DEVICE)
        ...
    assert counted.syncs <= 2 * tokens

An operation on tensors of the CPU and of the device together is an error here as it is there. Under `Pretend` only.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

DEVICE = torch.device("meta")
"""The one besides the CPU that every torch knows; nothing is computed on it."""
CPU = torch.device("cpu")

VALUES = ("aten::_local_scalar_dense", "aten::item", "aten::is_nonzero", "aten::equal", "aten::nonzero")
"""Operations whose result the CPU must have before it goes on."""
COPIES = ("aten::_to_copy", "aten::to", "aten::copy_")
INDEXED = ("aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_")
"""These take indices of the CPU and bring them over."""


class MixedDevicesError(RuntimeError):
    """Tensors of two devices met in one operation."""


class CaptureError(RuntimeError):
    """What is recorded once could not be played back on a real device."""


class Pretend:
    """Counts while it is entered: `launches` (views are none), `syncs` (device to host included) and `copies` from host
    to device."""

    def __init__(self) -> None:
        self.launches = self.syncs = self.copies = 0
        self._stack = ExitStack()

    def __enter__(self) -> "Pretend":
        self._stack.enter_context(_Dispatch(self))
        self._stack.enter_context(_Functions(self))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def run(self, operation: Any, args: Sequence[Any], settings: Mapping[str, Any]) -> Any:
        """One operation on what lies behind the tensors."""
        name, flat = operation._schema.name, tree_flatten((args, settings))[0]
        theirs = [one for one in flat if isinstance(one, OnDevice)]
        place = next((one for one in flat if isinstance(one, torch.device)), None)
        goes = place is not None and place.type == DEVICE.type
        if not theirs and not goes:
            return operation(*args, **settings)
        ours = [one for one in flat if isinstance(one, Tensor) and not isinstance(one, OnDevice)]
        plain = tree_map(_behind, tuple(args)), {key: tree_map(_behind, value) for key, value in settings.items()}
        result = operation(*plain[0], **plain[1])
        if name in VALUES:
            self.syncs += 1
        elif name in COPIES and (ours or (place is not None and not goes)):
            comes = not goes if place is not None else isinstance(args[0], Tensor) and not isinstance(args[0], OnDevice)
            self.syncs, self.copies = self.syncs + comes, self.copies + (not comes)
            return result if comes else _wrapped(result, theirs)
        else:
            self._check(name, ours)
            self.launches += not operation.is_view
        return tree_map(lambda one: _wrapped(one, theirs) if isinstance(one, Tensor) else one, result)

    def _check(self, name: str, ours: Sequence[Tensor]) -> None:
        if name in INDEXED:
            self.copies += len(ours)
        elif any(one.dim() for one in ours):
            raise MixedDevicesError(f"{name} on tensors of the CPU and of the device.")

    @contextmanager
    def as_one_launch(self) -> Iterator[None]:
        """What is done inside counts as one launch; CaptureError where it waits for the device or copies to it."""
        before = self.launches, self.syncs, self.copies
        yield
        if (self.syncs, self.copies) != before[1:]:
            raise CaptureError("What is recorded waits for the device, or takes numbers of the CPU there.")
        self.launches = before[0] + 1


class OnDevice(Tensor):
    """A tensor of the CPU that says it lies on the device."""

    behind: Tensor

    @staticmethod
    def __new__(cls, behind: Tensor) -> "OnDevice":
        with torch.inference_mode(False):  # views of tensors that are not of inference mode need a counter
            made = torch.Tensor._make_wrapper_subclass(
                cls,
                behind.size(),
                strides=behind.stride(),
                storage_offset=behind.storage_offset(),
                dtype=behind.dtype,
                device=DEVICE,
                requires_grad=behind.requires_grad,
            )
        made.behind = behind
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]
        return Pretend().run(func, args, kwargs or {})  # nobody counts


class _Dispatch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self, counted: Pretend) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.counted = counted

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self.counted.run(func, args, kwargs or {})


class _Functions(TorchFunctionMode):
    """What torch does before it dispatches, and what it refuses to do for tensors such as these."""

    def __init__(self, counted: Pretend) -> None:
        super().__init__()
        self.counted = counted

    def __torch_function__(
        self, function: Callable[..., Any], _types: Any, args: Any = (), settings: Any = None
    ) -> Any:
        settings = settings or {}
        if function is torch.tensor and settings.get("device") is not None:
            return function(*args, **settings | {"device": CPU}).to(settings["device"])
        if function is Tensor.tolist and isinstance(args[0], OnDevice):
            self.counted.syncs += 1
            return args[0].behind.tolist()
        if function in (Tensor.__getitem__, Tensor.__setitem__) and isinstance(args[0], OnDevice):
            return function(args[0], tree_map(self._index, args[1], is_leaf=_is_list), *args[2:])
        return function(*args, **settings)

    def _index(self, one: Any) -> Any:
        return torch.tensor(one).to(DEVICE) if _is_list(one) else one


def _is_list(one: object) -> bool:
    return isinstance(one, list)


def _behind(one: Any) -> Any:
    if isinstance(one, torch.device):
        return CPU
    return one.behind if isinstance(one, OnDevice) else one


def _wrapped(result: Tensor, known: Sequence[OnDevice]) -> Tensor:
    """The tensor of the device for a result; one that was changed in place stays the same."""
    same = [one for one in known if one.behind is result]
    return same[0] if same else OnDevice(result)
