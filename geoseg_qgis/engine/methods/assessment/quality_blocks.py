"""Blended probabilities of a class on the output grid, block by block with a margin."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from geoseg_qgis.engine.inference.blending import ScoreRaster
from geoseg_qgis.engine.inference.chips import RasterScene
from geoseg_qgis.engine.inference.windows import blocks
from geoseg_qgis.engine.raster.grid import with_margin
from geoseg_qgis.engine.raster.resampling.grids import sample_bilinear

from .object_pixels import Core, ObjectOptions
from .quality_classes import BoolArray, FloatArray, Variant, apply_variant, mask_of
from .raster_inference import ObjectLayer

# Bounds the memory of a block where the pixels of the results are much finer than those of the
# network.
_LARGEST_MARGIN = 512
# Distances to outlines and missed regions need some pixels beyond the buffer.
_BEYOND_BUFFER = 8.0


@dataclass(frozen=True)
class QualityBlock:
    """One block and its margin.

    Attributes:
        window: The block itself.
        core: Where it lies in the arrays, which reach into its neighbours.
        probabilities: (4, H, W) float32, raw or constrained, 0 where nothing is known.
        sheets: Object ids, (S, H, W).
        mask: Pixels of the objects, (H, W).
        valid: Pixels that hold imagery and that the mask covers, (H, W).
    """

    window: Window
    core: Core
    probabilities: FloatArray
    sheets: NDArray[np.int32]
    mask: BoolArray
    valid: BoolArray


def coarseness(scene: RasterScene) -> float:
    """Return how many pixels of the results lie along one pixel of the network, at least 1."""
    area = scene.output.width * float(scene.output.height)
    return max(1.0, math.sqrt(area / (scene.base.width * float(scene.base.height))))


def output_options(options: ObjectOptions, factor: float) -> ObjectOptions:
    """Convert options from pixels of the network to pixels of the results."""
    largest = _LARGEST_MARGIN - _BEYOND_BUFFER * 2
    return ObjectOptions(
        buffer=min(options.buffer * factor, largest),
        boundary_width=min(options.boundary_width * factor, largest),
        minimum_width=options.minimum_width * factor,
        minimum_valid=options.minimum_valid,
        missed_area=round(options.missed_area * factor**2),
        false_precision=options.false_precision,
    )


def quality_blocks(
    scene: RasterScene,
    blended: ScoreRaster,
    layer: ObjectLayer,
    *,
    covered: Callable[[Window], BoolArray],
    variant: Variant,
    options: ObjectOptions,
) -> Iterator[QualityBlock]:
    """Yield the blocks of the output grid.

    Args:
        scene: Output grid, and which pixels hold data.
        blended: Probabilities on the network's grid.
        layer: The objects of the class.
        covered: Returns which pixels of a window the mask covers.
        variant: Whether the mask constrains the probabilities.
        options: In pixels of the output grid; the margin holds the buffer.
    """
    grid = scene.output
    margin = min(math.ceil(options.buffer + _BEYOND_BUFFER), _LARGEST_MARGIN)
    for window in blocks(grid):
        outer, core = with_margin(window, margin, grid)
        bands = sample_bilinear(blended.read_bands, blended.grid.shape, grid.shape, outer).numpy()
        valid = scene.reader.valid(grid, outer) & (bands[-1] > 0.5) & covered(outer)
        sheets = layer.read_sheets(outer)
        mask = mask_of(sheets)
        probabilities = apply_variant(bands[:-1], mask, variant) * valid
        yield QualityBlock(window, core, probabilities, sheets, mask, valid)


def cells(core: Core, side: int) -> Iterator[Core]:
    """Cut a block into cells of at most ``side`` pixels, the units of the bootstrap."""
    rows, columns = core
    for top in range(rows.start, rows.stop, side):
        for left in range(columns.start, columns.stop, side):
            yield (
                slice(top, min(top + side, rows.stop)),
                slice(left, min(left + side, columns.stop)),
            )
