"""Exact resampling along the two axes of a raster file; invalid pixels take no part.

Coarser pixels are averages over the area they cover, finer ones lie on the plane between the
nearest four centres. Both are weighted sums of a few source pixels along each axis, so positions
are exact and the weights of invalid pixels can be taken out of numerator and denominator alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_ALIGNED = 1e-4
_HALF = 0.5 - 1e-4


@dataclass(frozen=True)
class AxisSampling:
    """How pixels of a target lie on those of a source, along one axis.

    Attributes:
        first: First source pixel that is needed.
        last: One behind the last source pixel that is needed.
        indices: Source pixels of each target pixel, counted from ``first``: (target, taps).
        weights: Their weights; a row sums to 1, less what lies off the source.
        cover: Shares of the target pixel that decide about its validity, same shape.
        shift: Target pixel of ``first`` where target pixels are source pixels, else None.
    """

    first: int
    last: int
    indices: NDArray[np.int64]
    weights: NDArray[np.float32]
    cover: NDArray[np.float32]
    shift: int | None


def sample_axis(start: float, step: float, count: int, size: int) -> AxisSampling:
    """Return the sampling of ``count`` target pixels along one axis.

    Args:
        start: Where the first target pixel begins, in source pixels.
        step: Length of a target pixel in source pixels.
        count: Target pixels.
        size: Source pixels there are.
    """
    origin = round(start)
    if abs(start - origin) + abs(step - 1.0) * count < _ALIGNED:
        indices = origin + np.arange(count, dtype=np.int64)[:, None]
        ones = np.ones((count, 1))
        return _clip(indices, ones, ones, size, origin)
    edges = start + step * np.arange(count, dtype=np.float64)
    if step >= 1.0:
        indices, weights = _area_weights(edges, step)
        return _clip(indices, weights, weights, size, None)
    centres = edges + step / 2.0
    lower = np.floor(centres - 0.5).astype(np.int64)
    upper_share = centres - 0.5 - lower
    indices = np.stack([lower, lower + 1], axis=1)
    weights = np.stack([1.0 - upper_share, upper_share], axis=1)
    containing = (indices == np.floor(centres)[:, None]).astype(np.float64)
    return _clip(indices, weights, containing, size, None)


def _area_weights(
    edges: NDArray[np.float64], step: float
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    taps = int(np.ceil(step)) + 1
    indices = np.floor(edges).astype(np.int64)[:, None] + np.arange(taps)
    low = np.maximum(indices, edges[:, None])
    high = np.minimum(indices + 1.0, edges[:, None] + step)
    weights = np.maximum(high - low, 0.0) / step
    used = weights.max(axis=0) > 1e-9
    return indices[:, used], weights[:, used]


def _clip(
    indices: NDArray[np.int64],
    weights: NDArray[np.float64],
    cover: NDArray[np.float64],
    size: int,
    origin: int | None,
) -> AxisSampling:
    inside = (indices >= 0) & (indices < size)
    needed = indices[inside & (weights > 1e-9)]
    first = int(needed.min()) if needed.size else 0
    last = int(needed.max()) + 1 if needed.size else 0
    return AxisSampling(
        first,
        last,
        np.clip(indices - first, 0, max(last - first - 1, 0)),
        (weights * inside).astype(np.float32),
        (cover * inside).astype(np.float32),
        None if origin is None else first - origin,
    )


def resample(
    values: NDArray[np.float32], valid: NDArray[np.bool_], rows: AxisSampling, columns: AxisSampling
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Resample a block of source pixels.

    Args:
        values: Source values of shape (B, rows.last - rows.first, columns.last - columns.first).
        valid: Which of them count, of shape (h, w).
        rows: Sampling from row to row.
        columns: Sampling from column to column.

    Returns:
        Values of shape (B, H, W), averaged over valid pixels only and 0 where invalid, and the
        validity (H, W): at least half of a coarser pixel, or the source pixel under the centre of
        a finer one.
    """
    if rows.shift is not None and columns.shift is not None:
        return _place(values, valid, rows, columns)
    mask = valid.astype(np.float32)
    support = _blend(mask, rows.indices, rows.weights, columns.indices, columns.weights)
    covered = _blend(mask, rows.indices, rows.cover, columns.indices, columns.cover)
    inside: NDArray[np.bool_] = (covered >= _HALF) & (support > 0.0)
    norm = np.where(inside, np.float32(1.0) / np.where(inside, support, 1.0), 0.0)
    result = np.empty((len(values), *inside.shape), dtype=np.float32)
    for plane, source in zip(result, values):
        known = source if valid.all() else np.where(valid, source, np.float32(0.0))
        blended = _blend(known, rows.indices, rows.weights, columns.indices, columns.weights)
        np.multiply(blended, norm, out=plane)
    return result, inside


def _place(
    values: NDArray[np.float32], valid: NDArray[np.bool_], rows: AxisSampling, columns: AxisSampling
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    shape = (len(rows.indices), len(columns.indices))
    placed = np.zeros((len(values), *shape), dtype=np.float32)
    inside = np.zeros(shape, dtype=np.bool_)
    top, left = rows.shift or 0, columns.shift or 0
    place = (slice(top, top + values.shape[1]), slice(left, left + values.shape[2]))
    inside[place] = valid
    np.copyto(placed[(slice(None), *place)], values, where=valid)
    return placed, inside


def _blend(
    plane: NDArray[np.float32],
    row_indices: NDArray[np.int64],
    row_weights: NDArray[np.float32],
    column_indices: NDArray[np.int64],
    column_weights: NDArray[np.float32],
) -> NDArray[np.float32]:
    down = np.zeros((len(row_indices), plane.shape[1]), dtype=np.float32)
    for index, weight in zip(row_indices.T, row_weights.T):
        down += np.take(plane, index, axis=0) * weight[:, None]
    across = np.zeros((len(row_indices), len(column_indices)), dtype=np.float32)
    for index, weight in zip(column_indices.T, column_weights.T):
        across += np.take(down, index, axis=1) * weight
    return across
