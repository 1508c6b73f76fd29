"""Arithmetic on alignment rows that policies and history selection share: which source frame does a token attend to?

Only the first `n_valid` columns ever count. Standard deviations are population ones; a deviation of 0 counts as 1.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from simulst.core.translator import Alignment, FloatArray

IntArray = npt.NDArray[np.int64]
Normalisation = Literal["none", "zscore", "zscore_online", "zscore_running", "l2"]


def valid_rows(alignment: Alignment, *, drop_last: int = 0, heads: bool = False) -> FloatArray:
    """Rows over valid frames, [rows, frames], or [heads, rows, frames]; `drop_last` frames at the end are left out."""
    weights = alignment.heads if heads and alignment.heads is not None else alignment.weights
    return weights[..., : max(0, alignment.n_valid - drop_last)]


def normalise(rows: FloatArray, how: Normalisation) -> FloatArray:
    """[..., rows, frames]: per frame over all rows (`zscore`), over earlier ones (`zscore_online`) or over those up to
    the row itself (`zscore_running`), or per row (`l2`).

    With fewer than two rows there is nothing to compare with, and z-scores leave the row as it is; the two that look
    back leave the first two rows as they are.
    """
    if how == "none" or not rows.size:
        return rows
    if how == "l2":
        norm = np.linalg.norm(rows, axis=-1, keepdims=True)
        return np.asarray(rows / np.where(norm == 0, 1, norm), dtype=np.float32)
    if rows.shape[-2] < 2:
        return rows
    if how == "zscore":
        scores = (rows - rows.mean(axis=-2, keepdims=True)) / _deviation(rows.var(axis=-2, keepdims=True))
        return np.asarray(scores, dtype=np.float32)
    wide = rows.astype(np.float64)
    count = np.arange(1, rows.shape[-2] + 1, dtype=np.float64)[:, None]
    mean = np.cumsum(wide, axis=-2) / count
    variance = np.maximum(np.cumsum(wide**2, axis=-2) / count - mean**2, 0)
    out = wide.copy()
    known = slice(1, -1) if how == "zscore_online" else slice(2, None)
    out[..., 2:, :] = (wide[..., 2:, :] - mean[..., known, :]) / _deviation(variance[..., known, :])
    return out.astype(np.float32)


def _deviation(variance: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    return np.sqrt(np.where(variance < 1e-12, 1, variance))


def running_median(rows: FloatArray, width: int) -> FloatArray:
    """Median over `width` neighbouring frames (odd; 1 changes nothing), the older edge reflected.

    The newest `width // 2` frames stay as they are: what follows them is not heard yet, and a peak there must not be
    moved to frames that count as safe.
    """
    reach = min(width // 2, rows.shape[-1] - 1)
    if reach < 1:
        return rows
    padded = np.pad(rows, [(0, 0)] * (rows.ndim - 1) + [(reach, 0)], mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1, axis=-1)
    middle = np.median(windows, axis=-1).astype(np.float32)
    return np.concatenate([middle, rows[..., rows.shape[-1] - reach :]], axis=-1)


def mass_from(rows: FloatArray, frame: int) -> FloatArray:
    """Share of each row's attention to the source that lies at `frame` or later; 0 for empty rows."""
    whole = rows.sum(axis=-1)
    share: FloatArray = rows[..., max(0, frame) :].sum(axis=-1) / np.where(whole == 0, 1, whole)
    return share


def attended_frames(rows: FloatArray) -> IntArray:
    """The frame with the largest weight per row; over heads, [heads, rows, frames], the lower median of theirs."""
    frames: IntArray = rows.argmax(axis=-1)
    if rows.ndim == 2:
        return frames
    lower_median: IntArray = np.sort(frames, axis=0)[(len(frames) - 1) // 2]
    return lower_median


def anchors(
    alignment: Alignment | None, rows: int, attended: Callable[[Alignment], IntArray] | None = None
) -> Sequence[float | None]:
    """Absolute start of the frame that each of the first `rows` tokens attends to; None where a row is empty.

    `attended` says which frame that is (a policy's own reading of the rows); the largest weight without it.
    """
    if alignment is None or alignment.n_valid == 0:
        return [None] * rows
    weights = valid_rows(alignment)
    frames = attended_frames(weights) if attended is None else attended(alignment)
    return [
        alignment.start_s + int(frame) * alignment.frame_s if row.any() else None
        for frame, row in zip(frames[:rows], weights, strict=False)
    ]


def whole_frames(length_s: float, frame_s: float) -> int:
    """The nearest number of whole frames, at least one unless there is no length."""
    return max(1, int(length_s / frame_s + 0.5)) if length_s else 0


def model_frames(count: int, frame_ms: float | None, frame_s: float) -> int:
    """So many frames of `frame_ms` in frames of the model; None: they are the model's own."""
    return count if frame_ms is None else whole_frames(count * frame_ms / 1000, frame_s)
