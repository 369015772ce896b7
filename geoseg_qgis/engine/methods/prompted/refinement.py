"""Objects that fill many tiles: found on coarse pixels, then redrawn along their edges.

The coarse mask shows where the object is. Along its edge, tiles of fine pixels are predicted with
points deep inside and outside of that mask as prompts. A fine prediction may move the edge by at
most two coarse cells, and only where it agrees with the coarse mask in the rest of its tile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window
from scipy import ndimage

from geoseg_qgis.engine.inference.coarse_to_fine import agree
from geoseg_qgis.engine.inference.windows import Tile, feather_weights, plan_tiles
from geoseg_qgis.engine.raster.resampling.arrays import sample_positions

from .masks import Logits, Mask, Placement
from .prompted_objects import ObjectPrompt

MOST_LEVELS = 3
"""Levels of the pyramid between the coarse mask and the fine tiles, at most."""
BAND_CELLS = 2
"""Coarse cells by which the edge may move."""
LEAST_AGREEMENT = 0.6
"""Least intersection over union of a fine prediction and the coarse mask in a tile."""
OVERLAP_SHARE = 0.25
POINTS = 3
"""Positive and negative points on a fine tile, at most."""
# Negative points lie up to this many coarse cells away from the mask: deeper ones say nothing of
# its edge.
_OUTSIDE_REACH = 6.0

PredictTile = Callable[[int, int, ObjectPrompt], Logits | None]
"""Takes left and top of a tile and an object in its pixels; None where nothing can be read."""


@dataclass(frozen=True)
class CoarseMask:
    """A coarse mask, placed on the fine grid.

    Attributes:
        object_cells: (h, w), True on the cells of the object.
        placement: Where the cells lie on the fine grid.
        size: Side of a fine tile in pixels.
        threshold: Logit above which a pixel is foreground.
    """

    object_cells: Mask
    placement: Placement
    size: int
    threshold: float

    @property
    def band(self) -> Mask:
        """The cells within two cells of the edge, (h, w)."""
        around = ndimage.binary_dilation(self.object_cells, iterations=BAND_CELLS)
        core = ndimage.binary_erosion(self.object_cells, iterations=BAND_CELLS)
        near: Mask = around & ~core
        return near

    @property
    def extent(self) -> tuple[int, int, int, int]:
        """Left, top, right and bottom of the band on the fine grid."""
        rows, columns = np.nonzero(self.band)
        p = self.placement
        return (
            int(np.floor(p.left + columns.min() * p.across)),
            int(np.floor(p.top + rows.min() * p.down)),
            int(np.ceil(p.left + (columns.max() + 1) * p.across)),
            int(np.ceil(p.top + (rows.max() + 1) * p.down)),
        )

    def cells_of(self, left: float, top: float) -> tuple[slice, slice]:
        """Return the rows and columns of the cells under a fine tile."""
        p = self.placement
        first_row, first_column = (top - p.top) / p.down, (left - p.left) / p.across
        rows, columns = self.size / p.down, self.size / p.across
        return (
            slice(max(int(first_row), 0), max(int(np.ceil(first_row + rows)), 0)),
            slice(max(int(first_column), 0), max(int(np.ceil(first_column + columns)), 0)),
        )


@dataclass(frozen=True)
class FinePrediction:
    """The prediction of a fine tile.

    Attributes:
        left: First column on the fine grid.
        top: First row.
        logits: (h, w).
        weights: (h, w) blending weights.
    """

    left: int
    top: int
    logits: NDArray[np.float32]
    weights: NDArray[np.float32]


def refine_edge(
    coarse: CoarseMask, item: ObjectPrompt, predict: PredictTile
) -> Iterator[FinePrediction]:
    """Yield the predictions of fine tiles along the edge that agree with the coarse mask.

    Args:
        coarse: The coarse mask.
        item: The object.
        predict: Predicts an object on a fine tile.
    """
    left, top, right, bottom = coarse.extent
    width, height = max(right - left, 1), max(bottom - top, 1)
    size = coarse.size
    plan = plan_tiles(max(height, size), max(width, size), size, round(size * OVERLAP_SHARE))
    band = coarse.band
    for tile in plan:
        tile_left, tile_top = left + int(tile.window.col_off), top + int(tile.window.row_off)
        cells = coarse.cells_of(tile_left, tile_top)
        if not band[cells].any():
            continue
        prompt = _prompt(coarse, item, cells, (tile_left, tile_top))
        if prompt is None:
            continue
        logits = predict(tile_left, tile_top, prompt)
        if logits is not None and _agrees(coarse, logits, tile_left, tile_top):
            weights = feather_weights(tile, plan)
            yield _at_full_size(logits, weights, tile, tile_left, tile_top)


def _at_full_size(
    logits: Logits, weights: NDArray[np.float32], tile: Tile, left: int, top: int
) -> FinePrediction:
    window: Window = tile.window
    rows = (np.arange(window.height) + 0.5) * logits.shape[0] / window.height
    columns = (np.arange(window.width) + 0.5) * logits.shape[1] / window.width
    return FinePrediction(left, top, sample_positions(logits, rows, columns), weights)


def _prompt(
    coarse: CoarseMask, item: ObjectPrompt, cells: tuple[slice, slice], corner: tuple[int, int]
) -> ObjectPrompt | None:
    """Return points deep inside and outside of the coarse mask, in pixels of a fine tile."""
    inside = coarse.object_cells[cells]
    first_row, first_column = cells[0].start, cells[1].start
    p = coarse.placement

    def placed(points: list[tuple[int, int]]) -> NDArray[np.float64]:
        x = [p.left + (first_column + column + 0.5) * p.across - corner[0] for _, column in points]
        y = [p.top + (first_row + row + 0.5) * p.down - corner[1] for row, _ in points]
        places = np.array([x, y], dtype=np.float64).T.reshape(-1, 2)
        on_tile = ((places >= 0) & (places <= coarse.size)).all(axis=1)
        return np.asarray(places[on_tile], dtype=np.float64)

    positive = placed(_deep_cells(inside))
    if not len(positive):
        return None
    negative = placed(_deep_cells(~inside, _OUTSIDE_REACH))
    points = np.concatenate([positive, negative])
    on_object = np.arange(len(points)) < len(positive)
    return ObjectPrompt(item.number, item.first, item.features, points, on_object)


def _deep_cells(mask: Mask, deepest: float = np.inf) -> list[tuple[int, int]]:
    """Return up to three cells (row, column) far from the mask's edge and from each other."""
    depth = ndimage.distance_transform_edt(mask)
    if not mask.any():
        return []
    depth = np.minimum(depth, deepest)
    rows, columns = np.indices(mask.shape)
    cells: list[tuple[int, int]] = []
    for _ in range(POINTS):
        row, column = np.unravel_index(int(depth.argmax()), mask.shape)
        if depth[row, column] <= 0.0:
            break
        cells.append((int(row), int(column)))
        depth = np.minimum(depth, np.hypot(rows - row, columns - column) / 2.0)
    return cells


def _agrees(coarse: CoarseMask, logits: Logits, left: int, top: int) -> bool:
    p = coarse.placement
    height, width = logits.shape
    rows = (top + (np.arange(height) + 0.5) * coarse.size / height - p.top) / p.down
    columns = (left + (np.arange(width) + 0.5) * coarse.size / width - p.left) / p.across
    expected = sample_positions(coarse.object_cells.astype(np.float32), rows, columns) > 0.5
    return agree(logits > coarse.threshold, expected, LEAST_AGREEMENT)
