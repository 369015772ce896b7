"""Predictions of several scales laid over each other and sampled at any pixel.

Only the predicted chips are kept in memory, in half precision. Their number is bounded, so memory
does not grow with the raster.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from geoseg_qgis.engine.raster.grid import Grid
from geoseg_qgis.engine.raster.resampling.arrays import sample_grid


@dataclass(frozen=True)
class CompositeLayer:
    """The prediction of one chip.

    Attributes:
        grid: Its pixels.
        probability: (h, w) float16, 0..1.
        weight: (h, w) float16, how much it covers the layers below, 0..1.
    """

    grid: Grid
    probability: NDArray[np.float16]
    weight: NDArray[np.float16]


class Composite:
    """A probability for every pixel of a grid, from layers on the same axes.

    Args:
        grid: The pixels that are read.
        lowest: The lowest layer; it covers the grid and its weight is not used.
    """

    def __init__(self, grid: Grid, lowest: CompositeLayer) -> None:
        self.grid = grid
        self._layers = [lowest]

    def add(self, layer: CompositeLayer) -> None:
        """Put a layer on top."""
        self._layers.append(layer)

    def read(self, window: Window) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return the (h, w) probability of a window, and True for every pixel."""
        target = self.grid.window_grid(window)
        composed = np.zeros(target.shape, np.float32)
        for number, layer in enumerate(self._layers):
            covered = _covered(target, layer.grid)
            if covered is None:
                continue
            rows, columns = covered
            inner = target.window_grid(
                Window(columns.start, rows.start, _length(columns), _length(rows))
            )
            probability = sample_grid(layer.probability, layer.grid, inner)
            if number == 0:
                composed[rows, columns] = probability
                continue
            weight = sample_grid(layer.weight, layer.grid, inner)
            composed[rows, columns] += weight * (probability - composed[rows, columns])
        return composed, np.ones(target.shape, np.bool_)


def _covered(target: Grid, other: Grid) -> tuple[slice, slice] | None:
    """Return the rows and columns of ``target`` with centres in ``other``, None without any."""
    scale_x, offset_x, scale_y, offset_y = target.axes_to(other)
    rows = _inside(scale_y, offset_y, target.height, other.height)
    columns = _inside(scale_x, offset_x, target.width, other.width)
    return (rows, columns) if _length(rows) and _length(columns) else None


def _inside(scale: float, offset: float, length: int, size: int) -> slice:
    # Rounding moves centres that lie on a pixel edge by about 1e-12 of the size.
    tolerance = 1e-6 * size
    positions = (np.arange(length) + 0.5) * scale + offset
    inside = np.flatnonzero((positions > -tolerance) & (positions < size + tolerance))
    return slice(int(inside[0]), int(inside[-1]) + 1) if inside.size else slice(0, 0)


def _length(part: slice) -> int:
    return int(part.stop - part.start)
