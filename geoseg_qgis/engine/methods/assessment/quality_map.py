"""The quality map: all classes of a mask, assessed one after the other, in one raster.

A pixel with a class shows whether that class is right. A pixel without a class shows the class that
is most likely missing there.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from geoseg_qgis.engine.raster.grid import Grid, with_margin
from geoseg_qgis.engine.raster.scratch import ScratchArray, ScratchFolder
from geoseg_qgis.engine.raster.write import SCORE_STEPS

from .quality_blocks import QualityBlock
from .quality_classes import BoolArray, QualityClass, small_regions

# Regions that reach further than this may be taken for smaller ones where blocks meet.
_LARGEST_MARGIN = 256
# Above all steps of a probability: FN goes before any other class.
_MISSED = 256

ReadClasses = Callable[[Window], NDArray[np.uint8]]


class QualityMap:
    """Quality class and probabilities of every pixel, kept on disk as bytes.

    Args:
        folder: Scratch folder.
        grid: Output grid.
        read_classes: Returns the mask's class of each pixel of a window, 0 for none.

    Attributes:
        grid: Output grid.
        read_classes: As given.
    """

    def __init__(self, folder: ScratchFolder, grid: Grid, read_classes: ReadClasses) -> None:
        self.grid = grid
        self.read_classes = read_classes
        shape = grid.height, grid.width
        # Bands: steps of the four probabilities, quality class, class that the pixel should have.
        self._bands = ScratchArray(folder, "quality-map", 6, *shape, np.uint8)
        self._evidence = ScratchArray(folder, "evidence", 1, *shape, np.uint16)

    def add(self, number: int, block: QualityBlock) -> None:
        """Add a block of one class.

        Args:
            number: The class.
            block: Its probabilities.
        """
        core = block.core
        probabilities, valid = block.probabilities[(slice(None), *core)], block.valid[core]
        quality = (probabilities.argmax(0) + 1).astype(np.uint8)
        classes = self.read_classes(block.window)
        bands, evidence = self._bands.read(block.window), self._evidence.read(block.window)[0]
        missed = probabilities[QualityClass.FALSE_NEGATIVE]
        new = np.rint(missed * SCORE_STEPS).astype(np.uint16) + 1
        new += np.uint16(_MISSED) * (quality == QualityClass.FALSE_NEGATIVE.raster_value)
        stronger = valid & ~block.mask[core] & (new > evidence)
        evidence[stronger] = new[stronger]
        own = valid & (classes == number)
        shown = own | (stronger & (classes == 0))
        bands[:4, shown] = np.rint(probabilities[:, shown] * SCORE_STEPS)
        bands[4, shown] = quality[shown]
        bands[5, stronger] = np.where(missed[stronger] > 0.5, number, 0)
        self._bands.write(block.window, bands)
        self._evidence.write(block.window, evidence[None])

    def quality(self, window: Window) -> NDArray[np.uint8]:
        """Return 1 TP, 2 FP, 3 TN, 4 FN, 0 nodata, (h, w)."""
        values: NDArray[np.uint8] = self._bands.read(window)[4]
        return values

    def probabilities(self, window: Window) -> tuple[NDArray[np.float32], BoolArray]:
        """Return (4, h, w) float32 in 0..1 and (h, w) bool, False where nothing is known."""
        bands = self._bands.read(window)
        steps: NDArray[np.float32] = bands[:4].astype(np.float32) / np.float32(SCORE_STEPS)
        return steps, bands[4] > 0

    def missed(self, window: Window) -> NDArray[np.uint8]:
        """Return the class that is most likely missed at each pixel without one, else 0, (h, w)."""
        bands = self._bands.read(window)
        missed = bands[4] == QualityClass.FALSE_NEGATIVE.raster_value
        return np.where(missed & (self.read_classes(window) == 0), bands[5], np.uint8(0))

    def missing_probability(self, window: Window) -> NDArray[np.float32]:
        """Return P(FN) in steps of `SCORE_STEPS`, (h, w)."""
        steps: NDArray[np.float32] = self._bands.read(window)[QualityClass.FALSE_NEGATIVE].astype(
            np.float32
        )
        return steps

    def repaired(self, window: Window, minimum_area: int) -> NDArray[np.uint8]:
        """Return the class that each pixel should have, (h, w).

        A pixel changes where its class is likely wrong, or where it has none and one is likely
        missing. Changed regions of fewer than ``minimum_area`` pixels keep the mask.
        """
        outer, core = with_margin(window, min(minimum_area, _LARGEST_MARGIN), self.grid)
        classes = self.read_classes(outer)
        bands = self._bands.read(outer)
        wrong = bands[QualityClass.FALSE_POSITIVE] > SCORE_STEPS / 2
        known = bands[4] > 0
        proposed = np.where(known & (wrong | (classes == 0)), bands[5], classes)
        changed = proposed != classes
        for side in (classes > 0, classes == 0):
            small = small_regions(changed & side, minimum_area)
            proposed[small] = classes[small]
        result: NDArray[np.uint8] = proposed[core]
        return result
