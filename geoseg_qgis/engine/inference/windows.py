"""Tiles that cover a raster with overlap, and the weights that blend them without seams.

Example:
    >>> plan = plan_tiles(height=700, width=500, size=512, overlap=128)
    >>> [(tile.row, tile.column, tile.window.row_off) for tile in plan]
    [(0, 0, 0), (1, 0, 188)]
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from geoseg_qgis.engine.raster.grid import Grid

# Side of the blocks in which rasters are read and written: 12 MB for three bands of float32.
BLOCK = 1024


@dataclass(frozen=True)
class Tile:
    """One tile of a plan: its place in the plan and its pixels."""

    row: int
    column: int
    window: Window

    @property
    def slices(self) -> tuple[slice, slice]:
        """Row and column slices of the tile in a full array."""
        top, left = int(self.window.row_off), int(self.window.col_off)
        return (
            slice(top, top + int(self.window.height)),
            slice(left, left + int(self.window.width)),
        )


def plan_tiles(height: int, width: int, size: int, overlap: int) -> list[Tile]:
    """Return tiles in row-major order that cover ``height`` x ``width`` pixels.

    All tiles have ``size`` pixels a side, or the raster's where that is smaller; the last one of
    a row or column is shifted back to the edge, so there are no thin strips.

    Args:
        height: Rows to cover.
        width: Columns to cover.
        size: Side of a tile.
        overlap: Pixels that neighbours share at least.

    Raises:
        ValueError: When a size is not positive or the overlap is not smaller than a tile.
    """
    if height < 1 or width < 1 or size < 1:
        raise ValueError(f"There is nothing to tile in {height} x {width} by {size} pixels.")
    if not 0 <= overlap < size:
        raise ValueError(f"An overlap of {overlap} does not fit into tiles of {size} pixels.")
    return [
        Tile(row, column, Window(left, top, right - left, bottom - top))
        for row, (top, bottom) in enumerate(_spans(height, size, overlap))
        for column, (left, right) in enumerate(_spans(width, size, overlap))
    ]


def _spans(length: int, size: int, overlap: int) -> list[tuple[int, int]]:
    if length <= size:
        return [(0, length)]
    starts = [*range(0, length - size, size - overlap), length - size]
    return [(start, start + size) for start in starts]


def feather_weights(tile: Tile, plan: Sequence[Tile]) -> NDArray[np.float32]:
    """Return the blending weights of a tile.

    Along each axis a weight falls linearly over the overlap with a neighbour; the weights of all
    tiles that hold a pixel sum to 1 there, shifted tiles included.

    Args:
        tile: A tile of ``plan``.
        plan: The tiles of `plan_tiles`, all of them, in order.

    Returns:
        Weights of shape (h, w) in (0, 1].
    """
    columns = plan[-1].column + 1
    across = [_column_span(other) for other in plan[:columns]]
    down = [_row_span(other) for other in plan[::columns]]
    weights = np.outer(_axis_weights(down, tile.row), _axis_weights(across, tile.column))
    return weights.astype(np.float32)


def _column_span(tile: Tile) -> tuple[int, int]:
    return int(tile.window.col_off), int(tile.window.col_off + tile.window.width)


def _row_span(tile: Tile) -> tuple[int, int]:
    return int(tile.window.row_off), int(tile.window.row_off + tile.window.height)


def _axis_weights(spans: list[tuple[int, int]], index: int) -> NDArray[np.float64]:
    start, stop = spans[index]
    total = np.zeros(stop - start)
    for other, (low, high) in enumerate(spans):
        shared_low, shared_high = max(start, low), min(stop, high)
        if shared_low < shared_high:
            ramp = _ramp(spans, other)[shared_low - low : shared_high - low]
            total[shared_low - start : shared_high - start] += ramp
    return _ramp(spans, index) / total


def _ramp(spans: list[tuple[int, int]], index: int) -> NDArray[np.float64]:
    start, stop = spans[index]
    centre = np.arange(stop - start) + 0.5
    ramp = np.ones(stop - start)
    if index > 0:
        shared = spans[index - 1][1] - start
        if shared > 0:
            ramp = np.minimum(ramp, centre / shared)
    if index + 1 < len(spans):
        shared = stop - spans[index + 1][0]
        if shared > 0:
            ramp = np.minimum(ramp, (stop - start - centre) / shared)
    return ramp


def blocks(grid: Grid) -> Iterator[Window]:
    """Yield square blocks that cover a grid, row by row."""
    for row in range(0, grid.height, BLOCK):
        for column in range(0, grid.width, BLOCK):
            yield Window(
                column, row, min(BLOCK, grid.width - column), min(BLOCK, grid.height - row)
            )
