"""A trace of a stream: every decision with what it compared and the attention of what it committed, as JSON lines.

The first line is what the stream was (`{"type": "stream", ...}`), then one line for each decision. Attention rows are
pooled to columns of at least COLUMN_S, scaled to 0..255 by their largest weight and stored as base64. A trace is
bounded: beyond MAX_ROW_BYTES rows are left out, beyond MAX_BYTES all is, which a last line `{"type": "cut"}` says.
"""

import base64
import json
from collections.abc import Mapping
from typing import TextIO

import numpy as np

from simulst.core.alignment import valid_rows
from simulst.core.observed import Observed
from simulst.core.session import Session
from simulst.core.translator import Alignment

COLUMN_S = 0.1
MAX_ROW_BYTES, MAX_BYTES = 40_000_000, 48_000_000
"""An hour of speech needs about a tenth of them."""
MAX_VALUES = 64
"""Numbers of a list among the values of a decision, and characters of a text."""
VERSION = 1


class Trace:
    """Writes what it observes to an open text file: `session.observer = Trace(out, session)`."""

    def __init__(
        self, out: TextIO, session: Session, *, name: str = "", audio: Mapping[str, object] | None = None
    ) -> None:
        """`audio` tells where the recording lies: `audio` (its path), `offset_s` and `duration_s` of the stretch."""
        self._out = out
        self._session = session
        self._bytes = 0
        self._heard = ""
        self._cut = False
        head = {"type": "stream", "version": VERSION, "name": name, "model": session.model.name}
        self._write({**head, "policy": session.name, "chunk_ms": session.chunk_ms, **(audio or {})})

    def __call__(self, observed: Observed) -> None:
        if self._cut:
            return
        if self._bytes > MAX_BYTES:
            self._cut = True
            self._write({"type": "cut", "at_s": _seconds(observed.view.received_s)})
            return
        self._write(self._decision(observed))

    def _decision(self, observed: Observed) -> dict[str, object]:
        view, decision = observed.view, observed.decision
        line: dict[str, object] = {
            "type": "decision",
            "step": view.step,
            "at_s": _seconds(view.received_s),
            "heard_s": _seconds(view.heard_s),
            "from_s": _seconds(view.start_s),
            "final": view.is_final,
            "reason": decision.reason,
            "written": observed.written,
            "retracted": observed.retracted,
            "rest": observed.rest,
            "values": {name: _plain(value) for name, value in decision.diagnostics.items()},
        }
        if decision.segment_end:
            line["segment_end"] = True
        heard = self._session.transcript()
        if heard != self._heard:
            self._heard = line["source"] = heard
        tokens = list(zip(observed.pieces, map(_seconds, observed.times), strict=False))
        if tokens:
            line["tokens"] = tokens
            line |= self._rows(observed)
        return line

    def _rows(self, observed: Observed) -> dict[str, object]:
        hypothesis = observed.decision.hypothesis
        alignment = None if hypothesis is None else hypothesis.alignment
        if alignment is None or self._bytes > MAX_ROW_BYTES:
            return {}
        return pooled(alignment, observed.decision.commit)

    def _write(self, line: Mapping[str, object]) -> None:
        text = json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n"
        self._bytes += len(text.encode())
        self._out.write(text)
        self._out.flush()


def pooled(alignment: Alignment, count: int) -> dict[str, object]:
    """The first `count` rows after those of the prefix: `rows`, base64 of uint8 [columns], from `row_s` on."""
    rows = valid_rows(alignment)[alignment.history : alignment.history + count]
    width = max(1, round(COLUMN_S / alignment.frame_s)) if alignment.frame_s < COLUMN_S else 1
    if not rows.size:
        return {}
    padded = np.pad(rows, ((0, 0), (0, -rows.shape[1] % width)))
    columns = padded.reshape(len(rows), -1, width).max(axis=2)
    largest = columns.max(axis=1, keepdims=True)
    scaled = np.where(largest > 0, columns / np.where(largest > 0, largest, 1) * 255, 0).round().astype(np.uint8)
    return {
        "row_s": _seconds(alignment.start_s),
        "column_s": _seconds(width * alignment.frame_s),
        "rows": [base64.b64encode(row.tobytes()).decode() for row in scaled],
    }


def _plain(value: object) -> object:
    """A value of a policy as JSON, at most MAX_VALUES of a list."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, bool | int) or value is None:
        return value
    if isinstance(value, float):
        return round(value, 4) if np.isfinite(value) else str(value)
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value[:MAX_VALUES]]
    return str(value)[:MAX_VALUES]


def _seconds(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
