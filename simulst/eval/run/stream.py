"""One item through one session, as an instance of the log."""

import random
import sys
import time
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from simulst.audio.resample import FloatArray
from simulst.core.events import Event
from simulst.core.session import Session
from simulst.core.source import SAMPLE_RATE
from simulst.core.translator import Evidence, Translator
from simulst.eval.data import Item
from simulst.eval.logs.instances import Instance
from simulst.eval.metrics.emission import AppendedUnits, RevisedUnits
from simulst.eval.run.spec import RunSpec


class Cancelled(Exception):
    """The run was stopped while an item was under way."""


def translate_item(
    model: Translator, spec: RunSpec, item: Item, *, go_on: Callable[[], bool] = lambda: True
) -> Instance:
    """Feed the item chunk by chunk at the speed of computing and note when every unit was written.

    Breaks off with `Cancelled` once `go_on` says no.
    """
    began = time.thread_time()
    seed_everything(spec.seed + item.index)
    session = Session(model, spec.policy)
    revises = Evidence.RETRACT in session.policy.needs() and not spec.final_only
    record = RevisedUnits(spec.unit) if revises else AppendedUnits(session, spec.unit)
    chunks: list[tuple[float, float]] = []
    spent_s = 0.0

    def note(events: Iterable[Event], *, final: bool = False) -> None:
        nonlocal spent_s
        before, spent_s = spent_s, session.stats.compute_s
        record.take(events, session.audio_s, spent_s, final=final)
        chunks.append((milliseconds(session.audio_s), round((spent_s - before) * 1000, 4)))

    size = round(session.chunk_ms * SAMPLE_RATE / 1000)
    for piece in pieces(item.open(), size):
        if not go_on():
            raise Cancelled
        events = session.feed(piece)
        if len(piece) == size:
            note(events)
    note(session.finish(), final=True)
    return Instance(
        index=item.index,
        source=item.name,
        prediction=record.text,
        delays_ms=tuple(milliseconds(audio) for audio, _ in record.times),
        elapsed_ms=tuple(milliseconds(a) + round((b - a) * 1000, 4) for a, b in record.times),
        source_length_ms=milliseconds(session.audio_s),
        reference=item.reference,
        chunks=tuple(chunks),
        erased_units=session.stats.words_retracted,
        extra=_extra(item, session) | {"cpu_s": round(time.thread_time() - began, 4)},
    )


def pieces(blocks: Iterable[FloatArray], size: int) -> Iterator[FloatArray]:
    """The same samples in pieces of `size`, the last one shorter (and absent where nothing is left)."""
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


def milliseconds(seconds: float) -> float:
    """Of whole samples, as SimulEval computes them."""
    return round(seconds * SAMPLE_RATE) * 1000 / SAMPLE_RATE


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
