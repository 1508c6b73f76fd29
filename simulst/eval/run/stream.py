"""One item through one session, as an instance of the log."""

import random
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from simulst.audio.samples import SAMPLE_RATE, FloatArray
from simulst.core.session import Session
from simulst.core.translator import Translator
from simulst.eval.data import Item
from simulst.eval.logs.instances import Instance
from simulst.eval.run.record import AppendedUnits, EvaluationLog, RevisedUnits
from simulst.eval.run.spec import RunSpec
from simulst.outputs import whole_file
from simulst.sinks.drive import drive
from simulst.sinks.trace import Trace


class Cancelled(Exception):
    """The run was stopped while an item was under way."""


def translate_item(
    model: Translator,
    spec: RunSpec,
    item: Item,
    *,
    go_on: Callable[[], bool] = lambda: True,
    traces: Path | None = None,
) -> Instance:
    """Feed the item chunk by chunk at the speed of computing and note when every unit was written.

    Breaks off with `Cancelled` once `go_on` says no. `traces` is the folder for a trace of the decisions.
    """
    began = time.thread_time()
    seed_everything(spec.seed + item.index)
    session = Session(model, spec.policy, glossary=spec.glossary)
    revises = session.revises and not spec.final_only
    log = EvaluationLog(RevisedUnits(spec.unit) if revises else AppendedUnits(spec.unit))
    size = round(session.chunk_ms * SAMPLE_RATE / 1000)
    with _traced(session, item, traces):
        drive(session, _while(go_on, pieces(item.open(), size)), [log])
    return log.instance(
        item.index,
        item.name,
        reference=item.reference,
        erased_units=session.stats.words_retracted,
        extra=_extra(item, session) | {"cpu_s": round(time.thread_time() - began, 4)},
    )


@contextmanager
def _traced(session: Session, item: Item, folder: Path | None) -> Iterator[None]:
    """The decisions of an item in a file of its own, whole once the item is done."""
    if folder is None:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    with whole_file(folder / f"{item.index}.jsonl") as path, path.open("w", encoding="utf-8") as out:
        audio = {"audio": str(item.audio.resolve()), "offset_s": item.offset_s, "duration_s": item.duration_s}
        session.observer = Trace(out, session, name=item.name, audio=audio)
        yield


def _while(go_on: Callable[[], bool], source: Iterable[FloatArray]) -> Iterator[FloatArray]:
    for piece in source:
        if not go_on():
            raise Cancelled
        yield piece


def pieces(blocks: Iterable[FloatArray], size: int) -> Iterator[FloatArray]:
    """The samples in pieces of `size`, the last one shorter (and absent where nothing is left)."""
    kept: list[FloatArray] = []
    count = 0
    for block in blocks:
        kept.append(block)
        count += len(block)
        if count < size:
            continue
        joined = np.concatenate(kept) if len(kept) > 1 else kept[0]
        whole = count // size * size
        for start in range(0, whole, size):
            yield joined[start : start + size]
        kept, count = [joined[whole:]], count - whole
    if count:
        yield np.concatenate(kept)


def seed_everything(seed: int) -> None:
    """Every item begins from its own seed, whichever worker gets it."""
    random.seed(seed)
    if "numpy.random" in sys.modules:
        np.random.seed(seed % 2**32)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(seed)


def _extra(item: Item, session: Session) -> dict[str, object]:
    extra: dict[str, object] = {}
    if item.offset_s or item.duration_s is not None:
        extra |= {"offset": item.offset_s, "duration": item.duration_s}
    if session.stats.counts:
        extra["counts"] = dict(session.stats.counts)
    if session.decoder_positions is not None:
        extra |= {"decoder_positions": session.decoder_positions, "tokens": session.stats.tokens}
    if session.stats.not_finite:
        extra["not_finite"] = session.stats.not_finite
    return extra
