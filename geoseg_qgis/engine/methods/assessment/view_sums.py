"""How much the views of a tile differ, summed while tiles go by.

The blended probability of a view is the sum of its tiles' probabilities times their blending
weights. So sums over objects can be taken tile by tile, and no view needs a raster of its own.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .object_pixels import ObjectOptions, ObjectPixels, object_pixels
from .object_quality import FloatVector, local_ids, scores
from .quality_classes import BoolArray, FloatArray, QualityClass, Variant, apply_variant, mask_of


class ViewSums:
    """Sums of every view over all objects, and over the whole mask.

    Args:
        views: Number of views.
        object_count: Objects have the ids 1 to this.
        options: How objects are assessed, in pixels of the tiles.

    Attributes:
        views: As given.
        options: As given.
        totals: Expected pixels of the four classes in each view, (V, 4).
    """

    def __init__(self, views: int, object_count: int, options: ObjectOptions) -> None:
        self.views = views
        self.options = options
        self.totals = np.zeros((views, 4))
        self._lock = threading.Lock()
        self._objects = np.zeros((3, views, object_count + 1))

    def spread(self) -> FloatVector:
        """Return the standard deviation of each object's IoU over the views, NaN if unknown."""
        return iou_spread(self._objects[:, :, 1:])

    def add(self, tile: SummedTile | TileViewSums) -> None:
        """Add a tile that has all of its views; several threads may."""
        with self._lock:
            self.totals += tile.totals
            for sheet in tile.sheets:
                self._objects[:, :, sheet.members] += sheet.sums


class SheetSums(NamedTuple):
    """The sums of the objects of one sheet of a tile."""

    members: NDArray[np.intp]
    """Their ids, (N,)."""
    sums: NDArray[np.float64]
    """Their TP, FP and FN in each view, (3, V, N)."""


@dataclass(frozen=True)
class SummedTile:
    """The sums of all views of one tile.

    Attributes:
        totals: Expected pixels of the four classes in each view, (V, 4).
        sheets: Objects and their sums.
    """

    totals: NDArray[np.float64]
    sheets: tuple[SheetSums, ...]


@dataclass
class _Sheet:
    members: NDArray[np.intp]
    ids: NDArray[np.int32]
    pixels: ObjectPixels | None
    sums: NDArray[np.float64]


class TileViewSums:
    """The sums of the views of one tile.

    Args:
        views: Number of views.
        sheets: Object ids, 0 for background, (S, H, W); objects of one sheet do not overlap.
        valid: Pixels that hold imagery, (H, W).
        weights: Blending weights of the tile, (H, W).
        options: How objects are assessed.

    Attributes:
        shape: Rows and columns of the tile.
        totals: Expected pixels of the four classes in each view, (V, 4).
        sheets: Objects and their sums.
    """

    def __init__(
        self,
        views: int,
        sheets: NDArray[np.int32],
        valid: BoolArray,
        weights: FloatArray,
        options: ObjectOptions,
    ) -> None:
        self.shape = valid.shape
        self._valid = valid
        self._weights = weights * valid
        self._options = options
        self._mask = mask_of(sheets)
        self.totals = np.zeros((views, 4))
        self.sheets: list[_Sheet] = []
        for object_ids in sheets:
            members, ids = local_ids(object_ids)
            if len(members) > 1:
                sums = np.zeros((3, views, len(members)))
                self.sheets.append(_Sheet(members, ids, None, sums))

    def add(
        self, view: int, probabilities: FloatArray, covered: BoolArray, variant: Variant
    ) -> None:
        """Add one view; the first one decides which pixels count for which object.

        Args:
            view: Which, from 0.
            probabilities: (4, H, W) of the network.
            covered: Pixels that the view covers, (H, W).
            variant: Whether the mask constrains them.
        """
        chosen = apply_variant(probabilities, self._mask, variant)
        everywhere = np.ones(covered.shape, dtype=bool)
        for sheet in self.sheets:
            if sheet.pixels is None:
                sheet.pixels = object_pixels(
                    chosen, sheet.ids, self._valid, everywhere, self._options
                )
        weighted = chosen * (self._weights * covered)
        self.totals[view] += weighted.sum((1, 2), dtype=np.float64)
        for sheet in self.sheets:
            if sheet.pixels is not None:
                sheet.sums[:, view] += _object_sums(weighted, sheet.pixels, len(sheet.members))

    @property
    def summed(self) -> SummedTile:
        """The sums so far."""
        sheets = tuple(SheetSums(each.members, each.sums) for each in self.sheets)
        return SummedTile(self.totals, sheets)


def iou_spread(sums: NDArray[np.float64]) -> FloatVector:
    """Return the standard deviation of each object's IoU over views, NaN with fewer than two.

    Args:
        sums: TP, FP and FN of each view and object, (3, V, N).
    """
    iou = scores(*sums).iou
    known = ~np.isnan(iou)
    count = known.sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(known, iou, 0).sum(0) / count
        variance = np.where(known, np.square(iou - mean), 0).sum(0) / count
    return np.asarray(np.where(count > 1, np.sqrt(variance), np.nan))


def _object_sums(
    probabilities: FloatArray, pixels: ObjectPixels, count: int
) -> NDArray[np.float64]:
    """Return the TP, FP and FN sums of each object of a tile, (3, count).

    Args:
        probabilities: (4, H, W).
        pixels: The pixels that count.
        count: Objects of the tile, background included.
    """
    flat = probabilities.reshape(4, -1)
    counted = (
        (QualityClass.TRUE_POSITIVE, pixels.inside, pixels.inside_ids),
        (QualityClass.FALSE_POSITIVE, pixels.inside, pixels.inside_ids),
        (QualityClass.FALSE_NEGATIVE, pixels.around, pixels.around_ids),
    )
    return np.stack(
        [np.bincount(ids, flat[channel, where], minlength=count) for channel, where, ids in counted]
    )
