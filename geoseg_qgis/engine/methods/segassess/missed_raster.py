"""Likely missed objects of one class over a whole raster, as polygons.

Connected regions of false negatives are found over all tiles; those that touch an object of the
class are missing parts of it and no objects of their own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window
from scipy import ndimage

from ...raster.grid import Grid
from ...raster.scratch import ScratchArray, ScratchFolder
from ...raster.write import SCORE_STEPS
from ...vector.areas import trace_areas
from ...vector.components import find_components, labelled_bands
from ...vector.measure import pixel_areas
from ..dense import Progress, share_of
from .blocks import QualityBlock
from .missed import EIGHT_NEIGHBOURS
from .quality import QualityClass


@dataclass(frozen=True)
class MissedObjects:
    """Regions that look like objects that the mask lacks.

    Attributes:
        polygons: (n,) outlines in pixels of the grid.
        scores: (n,) mean P(FN).
    """

    polygons: NDArray[np.object_]
    scores: NDArray[np.float64]


class MissedRaster:
    """Gathers the false negatives of one class and turns them into polygons.

    Args:
        folder: Scratch folder.
        grid: Output grid.
        name: Name of the scratch file.
    """

    def __init__(self, folder: ScratchFolder, grid: Grid, name: str) -> None:
        self._grid = grid
        # Bands: false negatives, whether they touch an object, P(FN) in steps.
        self._bands = ScratchArray(folder, name, 3, grid.height, grid.width, np.uint8)
        self._any = False

    def add(self, block: QualityBlock) -> None:
        """Add a block."""
        core = block.core
        wrong = block.probabilities.argmax(0) == QualityClass.FALSE_NEGATIVE
        wrong &= block.valid & ~block.mask
        if not wrong[core].any():
            return
        self._any = True
        touching = ndimage.binary_dilation(block.mask, structure=EIGHT_NEIGHBOURS) & wrong
        steps = np.rint(block.probabilities[QualityClass.FALSE_NEGATIVE] * SCORE_STEPS)
        bands = np.stack([wrong[core], touching[core], steps[core]]).astype(np.uint8)
        self._bands.write(block.window, bands)

    def trace(
        self, minimum_area: float, minimum_pixels: int, tolerance: float, progress: Progress
    ) -> MissedObjects:
        """Return the missed objects.

        Args:
            minimum_area: Smallest area, in square metres (square map units without a CRS).
            minimum_pixels: Smallest area in pixels.
            tolerance: Largest deviation of simplified outlines, in pixels.
            progress: Told the finished fraction; raises to stop.
        """
        if not self._any:
            return MissedObjects(np.zeros(0, object), np.zeros(0))
        self._keep_free(minimum_area, minimum_pixels, share_of(progress, 0.0, 0.5))
        found = trace_areas(
            self._grid,
            self._read_found,
            self._read_probability,
            tolerance=tolerance,
            progress=share_of(progress, 0.5, 1.0),
        )
        return MissedObjects(found.polygons, found.scores)

    def close(self) -> None:
        """Give the disk's room back."""
        self._bands.close()

    def _keep_free(self, minimum_area: float, minimum_pixels: int, progress: Progress) -> None:
        """Remove regions that touch an object or are too small."""
        shape = self._grid.shape
        found = find_components(
            shape,
            self._read_found,
            lambda window, _: self._read_band(1, window).astype(np.float32),
            lambda done: progress(done / 2),
        )
        areas = found.pixels * pixel_areas(self._grid, found.columns, found.rows)
        kept = (found.scores == 0) & (areas >= minimum_area) & (found.pixels >= minimum_pixels)
        numbers = np.where(kept, 1, 0).astype(np.int32)[found.joins]
        for window, labels in labelled_bands(shape, self._read_found, numbers):
            bands = self._bands.read(window)
            bands[0] = labels > 0
            self._bands.write(window, bands)
            progress(0.5 + 0.5 * (window.row_off + window.height) / shape[0])

    def _read_found(self, window: Window) -> NDArray[np.uint8]:
        return self._read_band(0, window)

    def _read_probability(self, window: Window, _classes: NDArray[np.uint8]) -> NDArray[np.float32]:
        steps: NDArray[np.float32] = self._read_band(2, window).astype(np.float32)
        return steps / np.float32(SCORE_STEPS)

    def _read_band(self, band: int, window: Window) -> NDArray[np.uint8]:
        values: NDArray[np.uint8] = self._bands.read(window)[band]
        return values
