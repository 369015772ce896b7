"""Objects that fill many tiles: found on coarse pixels, then drawn again along their edges.

The mask of the coarse look says where the object is. Along its edge, tiles of fine pixels are
asked again, with points deep inside and outside of that mask. A fine answer may move the edge by
two cells of the coarse one at most, and only where it agrees with it in the rest of its tile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window
from scipy import ndimage

from geoseg_qgis.engine.inference.windows import Tile, feather_weights, plan_tiles

from .masks import Logits, Mask, Placement, sample_cells
from .prompted_objects import ObjectPrompt

MOST_STEPS = 3
BAND_CELLS = 2
LEAST_AGREEMENT = 0.6
OVERLAP_SHARE = 0.25
POINTS = 3
_OUTSIDE_REACH = 6.0

AskTile = Callable[[int, int, ObjectPrompt], Logits | None]
"""Takes left and top of a tile and an object in its pixels; None where nothing can be read."""


@dataclass(frozen=True)
class CoarseLook:
    """A coarse answer on the pixels of the fine grid.

    Attributes:
        object_cells: (h, w) of the cells: the object alone.
        placement: Where the cells lie on the fine grid.
        size: Side of a fine tile in pixels.
        threshold: Logit at which a mask begins.
    """

    object_cells: Mask
    placement: Placement
    size: int
    threshold: float

    @property
    def band(self) -> Mask:
        """The cells within two of the edge."""
        around = ndimage.binary_dilation(self.object_cells, iterations=BAND_CELLS)
        core = ndimage.binary_erosion(self.object_cells, iterations=BAND_CELLS)
        near: Mask = around & ~core
        return near

    @property
    def extent(self) -> tuple[int, int, int, int]:
        """Left, top, right, bottom of the band on the fine grid."""
        rows, columns = np.nonzero(self.band)
        p = self.placement
        return (
            int(np.floor(p.left + columns.min() * p.across)),
            int(np.floor(p.top + rows.min() * p.down)),
            int(np.ceil(p.left + (columns.max() + 1) * p.across)),
            int(np.ceil(p.top + (rows.max() + 1) * p.down)),
        )

    def cells_of(self, left: float, top: float) -> tuple[slice, slice]:
        """Return the cells under a fine tile."""
        p = self.placement
        first_row, first_column = (top - p.top) / p.down, (left - p.left) / p.across
        rows, columns = self.size / p.down, self.size / p.across
        return (
            slice(max(int(first_row), 0), max(int(np.ceil(first_row + rows)), 0)),
            slice(max(int(first_column), 0), max(int(np.ceil(first_column + columns)), 0)),
        )


@dataclass(frozen=True)
class FinePrediction:
    """The blended answers along the edge of an object, on the pixels of a window.

    Attributes:
        left: First column on the fine grid.
        top: First row.
        logits: (h, w) weighted sums.
        weights: (h, w) sums of weights, 0 where no answer counts.
    """

    left: int
    top: int
    logits: NDArray[np.float32]
    weights: NDArray[np.float32]


def refine_edge(look: CoarseLook, item: ObjectPrompt, ask: AskTile) -> Iterator[FinePrediction]:
    """Yield the answers of fine tiles along the edge that agree with the coarse look.

    Args:
        look: The coarse look.
        item: The object.
        ask: Answers an object on a fine tile.
    """
    left, top, right, bottom = look.extent
    width, height = max(right - left, 1), max(bottom - top, 1)
    overlap = round(look.size * OVERLAP_SHARE)
    plan = plan_tiles(max(height, look.size), max(width, look.size), look.size, overlap)
    band = look.band
    for tile in plan:
        tile_left, tile_top = left + int(tile.window.col_off), top + int(tile.window.row_off)
        cells = look.cells_of(tile_left, tile_top)
        if not band[cells].any():
            continue
        prompt = _prompt(look, item, cells, (tile_left, tile_top))
        if prompt is None:
            continue
        logits = ask(tile_left, tile_top, prompt)
        if logits is not None and _agrees(look, logits, tile_left, tile_top):
            weights = feather_weights(tile, plan)
            yield _at_full_size(logits, weights, tile, tile_left, tile_top)


def _at_full_size(
    logits: Logits, weights: NDArray[np.float32], tile: Tile, left: int, top: int
) -> FinePrediction:
    window: Window = tile.window
    rows = (np.arange(window.height) + 0.5) * logits.shape[0] / window.height
    columns = (np.arange(window.width) + 0.5) * logits.shape[1] / window.width
    return FinePrediction(left, top, sample_cells(logits, rows, columns), weights)


def _prompt(
    look: CoarseLook, item: ObjectPrompt, cells: tuple[slice, slice], corner: tuple[int, int]
) -> ObjectPrompt | None:
    """Return points deep inside and outside of the coarse mask, in pixels of a fine tile."""
    inside = look.object_cells[cells]
    first_row, first_column = cells[0].start, cells[1].start
    p = look.placement

    def placed(points: list[tuple[int, int]]) -> NDArray[np.float64]:
        x = [p.left + (first_column + column + 0.5) * p.across - corner[0] for _, column in points]
        y = [p.top + (first_row + row + 0.5) * p.down - corner[1] for row, _ in points]
        places = np.array([x, y], dtype=np.float64).T.reshape(-1, 2)
        on_tile = ((places >= 0) & (places <= look.size)).all(axis=1)
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


def _agrees(look: CoarseLook, logits: Logits, left: int, top: int) -> bool:
    p = look.placement
    height, width = logits.shape
    rows = (top + (np.arange(height) + 0.5) * look.size / height - p.top) / p.down
    columns = (left + (np.arange(width) + 0.5) * look.size / width - p.left) / p.across
    coarse = sample_cells(look.object_cells.astype(np.float32), rows, columns) > 0.5
    fine = logits > look.threshold
    union = np.count_nonzero(coarse | fine)
    return bool(union and np.count_nonzero(coarse & fine) >= LEAST_AGREEMENT * union)
