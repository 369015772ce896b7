"""Predictions drawn on the pixels of the results, one object at a time."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg_qgis.engine.raster.grid import Grid
from geoseg_qgis.engine.raster.resampling.arrays import sample_positions

from .masks import (
    Logits,
    Mask,
    ObjectMask,
    Placement,
    areas_touching,
    keep_within,
    window_of_object,
)
from .prompted_objects import ObjectPrompt
from .refinement import FinePrediction

MOST_PIXELS_A_SIDE = 3072
"""Larger objects are drawn in pixels of several output pixels a side, which bounds memory."""
_LEAST_WEIGHT = 1e-6


@dataclass(frozen=True)
class _Canvas:
    """The pixels that an object is drawn on.

    Attributes:
        rows: Output row of each pixel's centre.
        columns: Output column of each pixel's centre.
        mask: An empty mask there.
    """

    rows: NDArray[np.float64]
    columns: NDArray[np.float64]
    mask: ObjectMask

    def sample(self, cells: Logits, placement: Placement) -> Logits:
        """Return the values of cells at the pixels, bilinear."""
        return sample_positions(
            cells,
            (self.rows - placement.top) / placement.down,
            (self.columns - placement.left) / placement.across,
        )

    def nearest(self, cells: Mask, placement: Placement) -> Mask:
        """Return the values of the cells that the pixels lie in."""
        rows = np.floor((self.rows - placement.top) / placement.down).astype(np.intp)
        columns = np.floor((self.columns - placement.left) / placement.across).astype(np.intp)
        values: Mask = cells[
            np.clip(rows, 0, cells.shape[0] - 1)[:, None],
            np.clip(columns, 0, cells.shape[1] - 1),
        ]
        return values

    def finish(self, pixels: Mask, item: ObjectPrompt, reach: float) -> ObjectMask | None:
        """Return the areas of a mask that the object's prompts touch, None without any."""
        prompt = item.rescaled(*self.mask.to_pixels)
        inside = keep_within(pixels, prompt.limits)
        touched = areas_touching(inside, prompt, math.ceil(reach / self.mask.step))
        if not touched.any():
            return None
        return ObjectMask(touched, self.mask.left, self.mask.top, self.mask.step)


@dataclass(frozen=True)
class Drawing:
    """What is needed to draw one object.

    Attributes:
        logits: Cells of its tile, shape (h, w).
        valid: Pixels of the tile that hold data, shape (side, side).
        placement: Where the cells lie on the output.
        item: The object in output pixels.
        threshold: Logit above which a pixel belongs to it.
        grid: Grid of the results.
        reach: Cells that an area of the object may lie away from a point.
    """

    logits: Logits
    valid: Mask
    placement: Placement
    item: ObjectPrompt
    threshold: float
    grid: Grid
    reach: int = 1

    def mask(self) -> ObjectMask | None:
        """Return the pixels of the object, None where its prompts touch none."""
        canvas = self._canvas()
        if canvas is None:
            return None
        return self._finish(canvas, canvas.sample(self.logits, self.placement))

    def cells(self) -> Mask | None:
        """Return the cells of the object, None where its prompts touch none."""
        p = self.placement
        scale = (1 / p.across, 1 / p.down)
        prompt = self.item.rescaled(scale, (-p.left * scale[0], -p.top * scale[1]))
        inside = keep_within(self.logits > self.threshold, prompt.limits)
        touched = areas_touching(inside, prompt, self.reach)
        return touched if touched.any() else None

    def refined(
        self, band: Mask, fine: Iterable[tuple[FinePrediction, Placement]]
    ) -> ObjectMask | None:
        """Return the pixels of the object with its edge refined.

        Args:
            band: Cells in which the edge may move.
            fine: Predictions of fine tiles, and where their pixels lie on the output.
        """
        canvas = self._canvas()
        if canvas is None:
            return None
        sums = np.zeros(canvas.mask.pixels.shape, dtype=np.float32)
        weights = np.zeros_like(sums)
        for tile, place in fine:
            _blend(canvas, tile, place, sums, weights)
        movable = canvas.nearest(band, self.placement) & (weights > _LEAST_WEIGHT)
        values = canvas.sample(self.logits, self.placement)
        values[movable] = sums[movable] / weights[movable]
        return self._finish(canvas, values)

    def _finish(self, canvas: _Canvas, values: Logits) -> ObjectMask | None:
        p = self.placement
        pixel_placement = Placement(
            p.left,
            p.top,
            p.across * self.logits.shape[1] / self.valid.shape[1],
            p.down * self.logits.shape[0] / self.valid.shape[0],
        )
        pixels = (values > self.threshold) & canvas.nearest(self.valid, pixel_placement)
        return canvas.finish(pixels, self.item, self.reach * max(p.across, p.down))

    def _canvas(self) -> _Canvas | None:
        p, grid = self.placement, self.grid
        window = window_of_object(self.logits, self.threshold, self.item, p, self.reach)
        if window is None:
            return None
        first_row, end_row, first_column, end_column = window
        top = max(math.floor(p.top + first_row * p.down), 0)
        bottom = min(math.ceil(p.top + end_row * p.down), grid.height)
        left = max(math.floor(p.left + first_column * p.across), 0)
        right = min(math.ceil(p.left + end_column * p.across), grid.width)
        if bottom <= top or right <= left:
            return None
        step = max(1, math.ceil(max(bottom - top, right - left) / MOST_PIXELS_A_SIDE))
        rows = _centres(top, bottom, step)
        columns = _centres(left, right, step)
        empty = np.zeros((len(rows), len(columns)), dtype=np.bool_)
        return _Canvas(rows, columns, ObjectMask(empty, left, top, step))


def _centres(first: int, end: int, step: int) -> NDArray[np.float64]:
    count = math.ceil((end - first) / step)
    return np.asarray(first + (np.arange(count) + 0.5) * step, dtype=np.float64)


def _blend(
    canvas: _Canvas,
    tile: FinePrediction,
    place: Placement,
    sums: NDArray[np.float32],
    weights: NDArray[np.float32],
) -> None:
    height, width = tile.logits.shape
    rows = (canvas.rows >= place.top) & (canvas.rows <= place.top + height * place.down)
    columns = (canvas.columns >= place.left) & (canvas.columns <= place.left + width * place.across)
    if not rows.any() or not columns.any():
        return
    under = _Canvas(canvas.rows[rows], canvas.columns[columns], canvas.mask)
    here = np.ix_(rows, columns)
    weight = under.sample(tile.weights, place)
    sums[here] += under.sample(tile.logits, place) * weight
    weights[here] += weight
