"""Streams of several clients decoded together: one forward for those that are at work in the same moment."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import TYPE_CHECKING

from simulst.core.translator import Translator
from simulst.errors import ModelError, SimulstError

if TYPE_CHECKING:
    from simulst.models.meeting import Meeting

WAIT_S = 0.02
"""What a stream waits for the others before it is computed without them."""

Beside = Callable[[Translator], AbstractContextManager[object]]
"""Within it, work on a stream of this model is computed together with that of the other streams."""


def alone(model: Translator) -> AbstractContextManager[object]:
    """Every stream by itself."""
    return nullcontext()


class Together:
    """Wraps the models that can decode several streams in one forward; the others are offered as they are.

    Raises SimulstError where none of the models can.
    """

    def __init__(self, models: dict[str, Translator], *, streams: int) -> None:
        from simulst.models.batchers import batcher_of

        self._batchers, self.models = list["Meeting"](), dict[str, Translator]()
        for name, model in models.items():
            with suppress(ModelError):
                batcher = batcher_of(model, streams=streams, wait_s=WAIT_S)
                model = batcher.translator
                self._batchers.append(batcher)
            self.models[name] = model
        if not self._batchers:
            raise SimulstError(
                "--batch needs a speech LLM, an encoder-decoder or a cascade of them; "
                f"{', '.join(models)} cannot decode several streams together."
            )

    def __call__(self, model: Translator) -> AbstractContextManager[object]:
        batcher = next((one for one in self._batchers if one.computes(model)), None)
        return nullcontext() if batcher is None else batcher.stream()
