"""Which attention heads of a model follow the source: translation score over speech whose timing is known.

TS of a head is the share of target tokens whose most attended frame lies where their source was said (the score of
Alignatt4LLM, with word times in place of word alignments). Where only the times of whole clips are known, many heads
reach the same score; then order decides: the correlation of token index and attended time inside a clip. The heads are
averaged best first, and as many are kept as give the best mean row, which is what policies read.
"""

import itertools
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from simulst.core.translator import Evidence, FloatArray, Query, Translator
from simulst.errors import DataError, ModelError
from simulst.models.attention import HEADS_FILE, Head
from simulst.models.fingerprint import fingerprint_of_weights
from simulst.models.sidecar import WEIGHTS
from simulst.training.calibration_data import TimedExample, read_examples

TOLERANCE_S = 0.1
MIN_SCORE = 0.1
"""Heads below this share follow nothing (threshold of Alignatt4LLM)."""


@runtime_checkable
class ChoosesHeads(Protocol):
    """What a translator needs besides ALIGNMENT_HEADS to be calibrated."""

    directory: Path
    """Where its weights lie."""

    def use_heads(self, heads: Sequence[Head] | None) -> list[Head]:
        """Read alignment from these heads, or from every head; returns them in the order of `Alignment.heads`."""
        ...


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """The chosen heads, best first, and what they were judged by."""

    heads: tuple[Head, ...]
    scores: tuple[float, ...]
    """Translation score of each alone."""
    mean_score: float
    """Translation score of their mean row."""
    mean_order: float
    """Its correlation of token index and attended time inside a clip; 0 where words are timed one by one."""
    examples: int
    tokens: int
    weights: str
    """Fingerprint of what they were chosen on."""

    def to_json(self) -> dict[str, object]:
        return {
            "heads": [list(head) for head in self.heads],
            "scores": [round(score, 4) for score in self.scores],
            "mean_score": round(self.mean_score, 4),
            "mean_order": round(self.mean_order, 4),
            "measure": f"share of target tokens whose most attended frame is within {TOLERANCE_S} s of their source",
            "examples": self.examples,
            "tokens": self.tokens,
            WEIGHTS: self.weights,
        }


def calibrate(model: Translator, data: Path, *, join: int = 4, limit: int = 50, top: int = 8) -> Calibration:
    """Choose at most `top` heads on at most `limit` examples (`read_examples` says what data may be).

    The model reads alignment from the chosen heads afterwards. Raises ModelError for a model without attention heads to
    choose from or with empty maps, DataError for data without timed tokens.
    """
    if not isinstance(model, ChoosesHeads) or Evidence.ALIGNMENT_HEADS not in model.provides:
        raise ModelError(f"Model '{model.name}' has no attention heads to choose from.")
    examples = list(read_examples(data, model, join=join, limit=limit))
    tokens = sum(span is not None for example in examples for span in example.spans)
    if not tokens:
        raise DataError(f"{data} gives no target token whose time is known; nothing can be calibrated.")
    every = model.use_heads(None)
    scores, orders = _judge(model, examples, lambda rows: rows)
    order = [i for i in _ranked(scores, orders)[:top] if scores[i] >= MIN_SCORE]
    if not order:
        raise ModelError(
            f"No attention head of '{model.name}' follows the source: the best score is {scores.max():.2f}, "
            f"{MIN_SCORE} is needed."
        )
    used = model.use_heads([every[i] for i in order])
    best = [used.index(every[i]) for i in order]
    counts = np.arange(1, len(best) + 1, dtype=np.float32)[:, None, None]
    means, mean_orders = _judge(model, examples, lambda rows: np.cumsum(rows[best], axis=0) / counts)
    count = _ranked(means, mean_orders)[0] + 1
    heads = [every[i] for i in order[:count]]
    model.use_heads(heads)
    return Calibration(
        heads=tuple(heads),
        scores=tuple(float(scores[i]) for i in order[:count]),
        mean_score=float(means[count - 1]),
        mean_order=float(mean_orders[count - 1]),
        examples=len(examples),
        tokens=tokens,
        weights=fingerprint_of_weights(model.directory),
    )


class Calibrated(Protocol):
    def to_json(self) -> dict[str, object]: ...


def write_heads(calibration: Calibrated, path: Path) -> None:
    """Store the heads, as `alignment_heads.json` for one; DataError where the place cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(calibration.to_json(), indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise DataError(f"{path} cannot be written ({error.strerror}); name another file with --output.") from error


def default_path(model: Translator) -> Path:
    assert isinstance(model, ChoosesHeads)
    return model.directory / HEADS_FILE


def attended_within(rows: FloatArray, example: TimedExample, frame_s: float) -> npt.NDArray[np.int64]:
    """Number of timed tokens whose most attended frame touches their span; rows [..., tokens, frames] -> [...]."""
    times = rows.argmax(axis=-1) * frame_s
    timed = [(i, span) for i, span in enumerate(example.spans) if span is not None]
    inside = [
        (times[..., i] + frame_s > start - TOLERANCE_S) & (times[..., i] < end + TOLERANCE_S)
        for i, (start, end) in timed
    ]
    return np.sum(inside, axis=0, dtype=np.int64) if inside else np.zeros(rows.shape[:-2], dtype=np.int64)


def order_inside(rows: FloatArray, example: TimedExample) -> tuple[FloatArray, int]:
    """Sum over clips of the correlation of token index and attended frame, rows [..., tokens, frames] -> [...], and the
    number of clips; only clips of 4 tokens or more count."""
    frames = rows.argmax(axis=-1).astype(np.float32)
    total, clips = np.zeros(frames.shape[:-1], dtype=np.float32), 0
    edges = [0, *(i for i in range(1, len(example.spans)) if example.spans[i] != example.spans[i - 1])]
    for first, last in itertools.pairwise([*edges, len(example.spans)]):
        if last - first < 4 or example.spans[first] is None:
            continue
        index = np.arange(last - first, dtype=np.float32)
        index = (index - index.mean()) / index.std()
        found = frames[..., first:last]
        deviation = found.std(axis=-1, keepdims=True)
        found = (found - found.mean(axis=-1, keepdims=True)) / np.where(deviation == 0, 1, deviation)
        total += (found * index).mean(axis=-1)
        clips += 1
    return total, clips


def _judge(
    model: Translator, examples: Iterable[TimedExample], of: Callable[[FloatArray], FloatArray]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Translation score and order of each row set of `of(rows)`, [heads]."""
    hits, order = np.zeros(1), np.zeros(1)
    tokens = clips = 0
    for example in examples:
        rows = of(attention_rows(model, example))
        hits = hits + attended_within(rows, example, model.frame_s)
        inside, counted = order_inside(rows, example)
        order, clips = order + inside, clips + counted
        tokens += sum(span is not None for span in example.spans)
    return hits / tokens, order / max(1, clips)


def _ranked(scores: npt.NDArray[np.float64], orders: npt.NDArray[np.float64]) -> list[int]:
    """Best first: by score in whole percent, then by order, then the earlier one."""
    return sorted(range(len(scores)), key=lambda i: (-round(float(scores[i]), 2), -round(float(orders[i]), 3), i))


def attention_rows(model: Translator, example: TimedExample) -> FloatArray:
    """Predicting rows of the forced ids over valid frames, [heads, ids, frames]; ModelError for an empty map."""
    session = model.open()
    session.extend_source(example.samples, is_final=True)
    wants = frozenset({Evidence.ALIGNMENT, Evidence.ALIGNMENT_HEADS})
    alignment = session.hypothesise(example.ids, Query(max_new=1, want=wants))[0].alignment
    if alignment is None or alignment.heads is None or not alignment.n_valid:
        raise ModelError(
            f"Model '{model.name}' gave an empty attention map for {example.name}; it cannot be calibrated."
        )
    rows = alignment.heads[:, : len(example.ids), : alignment.n_valid]
    if not np.isfinite(rows).all() or not rows.any():
        raise ModelError(f"Model '{model.name}' gave an attention map of zeros or NaN for {example.name}.")
    return rows
