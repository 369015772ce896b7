"""How much the runs of several views differ, summed while tiles go by.

The blended probability of a run is the sum of its tiles' probabilities times their blending
weights, so sums over objects can be taken tile by tile and no run needs a surface of its own.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .object_pixels import JudgedPixels, ObjectOptions, judged_pixels
from .object_quality import FloatVector, iou_spread, local_ids, run_sums
from .quality_classes import BoolArray, FloatArray, Variant, apply_variant, mask_of


class RunSums:
    """Sums of every run over all objects, and over the whole layer.

    Args:
        runs: Number of views.
        object_count: Objects have the ids 1 to this.
        options: How objects are judged, in pixels of the tiles.
    """

    def __init__(self, runs: int, object_count: int, options: ObjectOptions) -> None:
        self.runs = runs
        self.options = options
        self.totals = np.zeros((runs, 4))
        self._lock = threading.Lock()
        self._objects = np.zeros((3, runs, object_count + 1))

    def spread(self) -> FloatVector:
        """Return the standard deviation of each object's IoU over the runs, NaN if unknown."""
        return iou_spread(self._objects[:, :, 1:])

    def add(self, tile: TileRuns) -> None:
        """Add a tile whose runs are all there; several threads may."""
        with self._lock:
            self.totals += tile.totals
            for sheet in tile.sheets:
                self._objects[:, :, sheet.members] += sheet.sums


@dataclass
class _Sheet:
    members: NDArray[np.intp]
    ids: NDArray[np.int32]
    pixels: JudgedPixels | None
    sums: NDArray[np.float64]


class TileRuns:
    """The runs of one tile.

    Args:
        runs: Number of views.
        sheets: Object ids, 0 for background, (S, H, W); objects of one sheet lie apart.
        valid: Pixels that hold imagery, (H, W).
        weights: Blending weights of the tile, (H, W).
        options: How objects are judged.

    Attributes:
        shape: Rows and columns of the tile.
        totals: Expected pixels of the four classes in each run, (R, 4).
        sheets: Objects and their sums.
    """

    def __init__(
        self,
        runs: int,
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
        self.totals = np.zeros((runs, 4))
        self.sheets: list[_Sheet] = []
        for object_ids in sheets:
            members, ids = local_ids(object_ids)
            if len(members) > 1:
                sums = np.zeros((3, runs, len(members)))
                self.sheets.append(_Sheet(members, ids, None, sums))

    def add(
        self, run: int, probabilities: FloatArray, covered: BoolArray, variant: Variant
    ) -> None:
        """Add one run; the first one decides which pixels count for which object.

        Args:
            run: Which, from 0.
            probabilities: (4, H, W) as the network gave them.
            covered: Pixels that the run saw, (H, W).
            variant: Whether the mask constrains them.
        """
        judged = apply_variant(probabilities, self._mask, variant)
        everywhere = np.ones(covered.shape, dtype=bool)
        for sheet in self.sheets:
            if sheet.pixels is None:
                sheet.pixels = judged_pixels(
                    judged, sheet.ids, self._valid, everywhere, self._options
                )
        weighted = judged * (self._weights * covered)
        self.totals[run] += weighted.sum((1, 2), dtype=np.float64)
        for sheet in self.sheets:
            if sheet.pixels is not None:
                sheet.sums[:, run] += run_sums(weighted, sheet.pixels, len(sheet.members))
