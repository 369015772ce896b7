"""The mask of an instruction: its blocks, its score and its number of objects."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import rasterio
import torch
from numpy.typing import NDArray
from rasterio.windows import Window

from geoseg_qgis.engine.inference.chips import RasterScene
from geoseg_qgis.engine.inference.windows import blocks
from geoseg_qgis.engine.methods.open_vocabulary.labelling import LabelBlock, quantise
from geoseg_qgis.engine.raster.grid import Grid
from geoseg_qgis.engine.vector.components import find_components
from geoseg_qgis.engine.vector.measure import pixel_areas

from .unigeoseg.raster_inference import ProbabilityRaster


class Mask:
    """The pixels above a threshold, block by block.

    Args:
        raster: Probabilities on the output grid; None when no pixel holds data.
        scene: The raster; its pixels without data are not in the mask.
        threshold: Probability above which a pixel is foreground.

    Attributes:
        pixels: Foreground pixels of the blocks so far.
    """

    def __init__(
        self, raster: ProbabilityRaster | None, scene: RasterScene, threshold: float
    ) -> None:
        self._raster = raster
        self._scene = scene
        self._threshold = threshold
        self._sum = 0.0
        self.pixels = 0

    @property
    def score(self) -> float:
        """Mean probability of the foreground pixels so far, 0 without any."""
        return self._sum / self.pixels if self.pixels else 0.0

    def blocks(self) -> Iterator[LabelBlock]:
        """Yield the blocks of the output grid, 1 on foreground."""
        for window in blocks(self._scene.output):
            known = self._scene.reader.valid(self._scene.output, window)
            probability = np.zeros(known.shape, np.float32)
            if self._raster is not None:
                probability, predicted = self._raster.read(window)
                known &= predicted
            mask = known & (probability > np.float32(self._threshold))
            self.pixels += int(np.count_nonzero(mask))
            self._sum += float(probability[mask].sum(dtype=np.float64))
            steps = quantise(torch.from_numpy(probability), torch.from_numpy(known))
            yield LabelBlock(window, mask.astype(np.uint8), steps, steps[None])


def count_objects(mask_raster: str, grid: Grid, minimum_area: float) -> int:
    """Return the number of connected areas of a mask raster.

    Args:
        mask_raster: Class raster to read, 0 for none.
        grid: Its pixels.
        minimum_area: Smallest area counted, in square metres.
    """
    with rasterio.open(mask_raster) as dataset:

        def read(window: Window) -> NDArray[np.uint8]:
            mask: NDArray[np.uint8] = dataset.read(1, window=window)
            return mask

        found = find_components(grid.shape, read, None, lambda _: None)
    areas = found.pixels * pixel_areas(grid, found.columns - 0.5, found.rows - 0.5)
    return int(np.count_nonzero(areas >= minimum_area))
