"""Several items at once in one process: their encoder steps and decoder forwards are computed in batches."""

import threading
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

from simulst.core.translator import Translator
from simulst.eval.data import Item
from simulst.eval.run.pool import Outcome, Work, attempt
from simulst.eval.run.spec import RunSpec
from simulst.eval.run.stream import translate_item

if TYPE_CHECKING:
    from simulst.models.meeting import Meeting


def batched(model: Translator, spec: RunSpec, *, batch: int, traces: Path | None = None) -> Work:
    """What translates `batch` items at a time; ModelError for a model that cannot decode several together."""
    from simulst.models.batchers import batcher_of

    return partial(run_streams, batcher=batcher_of(model, streams=batch), spec=spec, traces=traces)


def run_streams(
    items: Iterable[Item], batcher: "Meeting", spec: RunSpec, *, traces: Path | None = None
) -> Iterator[Outcome]:
    """As many items at a time as the batcher has streams; outcomes come as they are ready.

    Every item has its own session and says what it would say alone.
    """
    source, taking = iter(items), threading.Lock()
    results: SimpleQueue[Outcome | None] = SimpleQueue()
    stop = threading.Event()
    translate = partial(translate_item, batcher.translator, spec, go_on=lambda: not stop.is_set(), traces=traces)

    def work() -> None:
        try:
            while not stop.is_set():
                with taking:
                    item = next(source, None)
                if item is None:
                    return
                with batcher.stream():
                    outcome = attempt(translate, item)
                if outcome.trace and not (
                    outcome.lost or stop.is_set()
                ):  # maybe the fault of an item in the same forward
                    outcome = attempt(translate, item)
                results.put(outcome)
        finally:
            results.put(None)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(batcher.streams)]
    for thread in threads:
        thread.start()
    try:
        for _ in threads:
            while (outcome := results.get()) is not None:
                yield outcome
    finally:
        stop.set()
        for thread in threads:
            thread.join()
