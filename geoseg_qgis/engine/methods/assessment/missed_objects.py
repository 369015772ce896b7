"""Likely missed objects over a whole raster, as polygons.

A region is connected pixels without a class that are most likely missing from the same class. A
region that touches an object of that class is a missing part of that object.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from geoseg_qgis.engine.progress import Progress, share_of
from geoseg_qgis.engine.raster.grid import with_margin
from geoseg_qgis.engine.raster.scratch import ScratchArray, ScratchFolder
from geoseg_qgis.engine.raster.write import SCORE_STEPS
from geoseg_qgis.engine.vector.areas import trace_areas
from geoseg_qgis.engine.vector.components import find_components, labelled_bands
from geoseg_qgis.engine.vector.measure import pixel_areas

from .quality_map import QualityMap

_AROUND = [(row, column) for row in (0, 1, 2) for column in (0, 1, 2) if (row, column) != (1, 1)]


@dataclass(frozen=True)
class MissedObjects:
    """Objects that the mask likely lacks, (n,) each.

    Attributes:
        polygons: Outlines in pixels of the grid.
        scores: Mean P(FN).
        classes: Class numbers.
    """

    polygons: NDArray[np.object_]
    scores: NDArray[np.float64]
    classes: NDArray[np.uint8]


@dataclass(frozen=True)
class SmallestMissed:
    """Smallest missed object in square metres (map units without a CRS) and in pixels."""

    area: float
    pixels: int


def missed_objects(
    quality_map: QualityMap,
    folder: ScratchFolder,
    smallest: SmallestMissed,
    tolerance: float,
    progress: Progress,
) -> MissedObjects:
    """Return the missed objects of all classes.

    Args:
        quality_map: Quality of every pixel.
        folder: Scratch folder.
        smallest: Smaller regions are left out.
        tolerance: Largest deviation of simplified outlines, in pixels.
        progress: Called with the finished fraction; raises to stop.
    """
    grid = quality_map.grid
    first, second, third = (
        share_of(progress, start, start + 1 / 3) for start in (0.0, 1 / 3, 2 / 3)
    )
    found = find_components(
        grid.shape,
        quality_map.missed,
        lambda window, missed: _touching(quality_map, window, missed),
        first,
    )
    areas = found.pixels * pixel_areas(grid, found.columns, found.rows)
    kept = (found.scores == 0) & (areas >= smallest.area) & (found.pixels >= smallest.pixels)
    free = ScratchArray(folder, "missed", 1, *grid.shape, np.uint8)
    numbers = kept.astype(np.int32)[found.joins]
    for window, labels in labelled_bands(grid.shape, quality_map.missed, numbers):
        free.write(window, np.where(labels > 0, quality_map.missed(window), 0)[None])
        second((window.row_off + window.height) / grid.height)

    def read_classes(window: Window) -> NDArray[np.uint8]:
        classes: NDArray[np.uint8] = free.read(window)[0]
        return classes

    traced = trace_areas(
        grid,
        read_classes,
        lambda window, _: quality_map.missing_probability(window),
        tolerance=tolerance,
        progress=third,
    )
    free.close()
    return MissedObjects(
        traced.polygons, traced.scores / SCORE_STEPS, traced.class_ids.astype(np.uint8)
    )


def _touching(
    quality_map: QualityMap, window: Window, missed: NDArray[np.uint8]
) -> NDArray[np.float32]:
    """Return 1 where one of the eight neighbours is an object of the class that is missing."""
    outer, _ = with_margin(window, 1, quality_map.grid)
    classes = np.zeros((missed.shape[0] + 2, missed.shape[1] + 2), dtype=np.uint8)
    top, left = 1 - int(window.row_off - outer.row_off), 1 - int(window.col_off - outer.col_off)
    rows, columns = int(outer.height), int(outer.width)
    classes[top : top + rows, left : left + columns] = quality_map.read_classes(outer)
    touching = np.zeros(missed.shape, dtype=np.bool_)
    for row, column in _AROUND:
        beside = classes[row : row + missed.shape[0], column : column + missed.shape[1]]
        touching |= (beside == missed) & (missed > 0)
    return touching.astype(np.float32)
