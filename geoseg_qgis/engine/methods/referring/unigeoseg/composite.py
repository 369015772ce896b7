"""Answers of looks at different scales, laid over each other, sampled at any pixel.

Only the looks are kept in memory, as half-precision numbers; their count is bounded, so memory does
not grow with the raster.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from geoseg_qgis.engine.raster.grid import Grid


@dataclass(frozen=True)
class Layer:
    """What one look found.

    Attributes:
        grid: Its pixels.
        probability: (h, w) float16, 0..1.
        weight: (h, w) float16, how much of it covers what lies below, 0..1.
    """

    grid: Grid
    probability: NDArray[np.float16]
    weight: NDArray[np.float16]


class LayeredSurface:
    """A probability of every pixel of a grid, from layers on the same axes.

    Args:
        grid: Where the surface is read.
        ground: The lowest layer, over all of the grid.
    """

    def __init__(self, grid: Grid, ground: Layer) -> None:
        self.grid = grid
        self._layers = [ground]

    def add(self, layer: Layer) -> None:
        """Lay one more on top."""
        self._layers.append(layer)

    def read(self, window: Window) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return the (h, w) probability of a window, and True for every pixel."""
        part = self.grid.window_grid(window)
        composed = np.zeros(part.shape, np.float32)
        for number, layer in enumerate(self._layers):
            reached = reach(part, layer.grid)
            if reached is None:
                continue
            rows, columns = reached
            inner = part.window_grid(
                Window(columns.start, rows.start, _length(columns), _length(rows))
            )
            probability = sample(layer.probability, layer.grid, inner)
            if number == 0:
                composed[rows, columns] = probability
                continue
            weight = sample(layer.weight, layer.grid, inner)
            composed[rows, columns] += weight * (probability - composed[rows, columns])
        return composed, np.ones(part.shape, np.bool_)


def reach(part: Grid, other: Grid) -> tuple[slice, slice] | None:
    """Return the rows and columns of ``part`` whose centres lie in ``other``; None without any."""
    scale_x, offset_x, scale_y, offset_y = part.axes_to(other)
    rows = _inside(scale_y, offset_y, part.height, other.height)
    columns = _inside(scale_x, offset_x, part.width, other.width)
    return (rows, columns) if _length(rows) and _length(columns) else None


def _inside(scale: float, offset: float, length: int, size: int) -> slice:
    # Sums of fractions miss pixel edges by a hair.
    hair = 1e-6 * size
    positions = (np.arange(length) + 0.5) * scale + offset
    inside = np.flatnonzero((positions > -hair) & (positions < size + hair))
    return slice(int(inside[0]), int(inside[-1]) + 1) if inside.size else slice(0, 0)


def _length(part: slice) -> int:
    return int(part.stop - part.start)


def sample(values: NDArray[np.floating], grid: Grid, target: Grid) -> NDArray[np.float32]:
    """Return values at the pixel centres of another grid, bilinear, edges repeated.

    Args:
        values: (h, w) on ``grid``.
        grid: Where they lie.
        target: A grid on the same axes.
    """
    if (grid.transform, grid.shape) == (target.transform, target.shape):
        return values.astype(np.float32)
    scale_x, offset_x, scale_y, offset_y = target.axes_to(grid)
    upper, row_share = _neighbours(scale_y, offset_y, target.height, grid.height)
    left, column_share = _neighbours(scale_x, offset_x, target.width, grid.width)
    first, last = int(upper[0]), int(min(upper[-1] + 2, grid.height))
    band = values[first:last].astype(np.float32)
    right = np.minimum(left + 1, grid.width - 1)
    across = band[:, left] * (1.0 - column_share) + band[:, right] * column_share
    lower = np.minimum(upper + 1, grid.height - 1) - first
    share = row_share[:, None]
    sampled: NDArray[np.float32] = across[upper - first] * (1.0 - share) + across[lower] * share
    return sampled


def _neighbours(
    scale: float, offset: float, length: int, size: int
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    positions = np.clip((np.arange(length) + 0.5) * scale + offset - 0.5, 0.0, size - 1.0)
    first = np.floor(positions).astype(np.intp)
    return first, (positions - first).astype(np.float32)
