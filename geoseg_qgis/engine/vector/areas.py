"""Class areas as polygons with shared outlines, from a raster of any size.

`components` numbers the areas, `trace` follows their outlines, `outlines` simplifies them.
Neighbours share every vertex. Polygons of GDAL do not: a neighbour's corner on a straight edge is
no vertex there, so they cannot be simplified without gaps.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg_qgis.engine.progress import Progress
from geoseg_qgis.engine.raster.grid import Grid

from .components import Components, ReadClasses, ReadScores, find_components, labelled_bands
from .measure import pixel_areas
from .outlines import polygons_from
from .touching_objects import ReadObjects, gather_objects, read_keys
from .trace import build_topology, find_vertices


@dataclass(frozen=True)
class TracedAreas:
    """Areas in pixel coordinates, x to the right and y down.

    Attributes:
        polygons: (n,) valid polygons.
        class_ids: (n,) their classes.
        scores: (n,) mean score of their pixels, NaN without scores.
    """

    polygons: NDArray[np.object_]
    class_ids: NDArray[np.integer[Any]]
    scores: NDArray[np.float64]


def trace_areas(  # noqa: PLR0917
    grid: Grid,
    read_classes: ReadClasses,
    read_scores: ReadScores | None = None,
    minimum_area: float = 0.0,
    tolerance: float = 0.0,
    progress: Progress | None = None,
    read_objects: ReadObjects | None = None,
) -> TracedAreas:
    """Return the 4-connected areas of equal class; class 0 belongs to none.

    Args:
        grid: Pixels of the class raster.
        read_classes: Returns the class ids (h, w) of a window of full rows.
        read_scores: Returns the scores (h, w) of a window and its class ids; None without.
        minimum_area: Smallest area kept, in square metres (square map units without a CRS).
        tolerance: Largest deviation of simplified outlines in pixels; neighbours stay matched.
        progress: Called with the finished fraction; may raise to stop.
        read_objects: Returns the object numbers (h, w) of a window of full rows; objects that
            touch become areas of their own.
    """
    report = progress or _ignore
    if read_objects is not None:
        read_classes = read_keys(read_classes, read_objects)
    found = find_components(grid.shape, read_classes, read_scores, lambda done: report(done / 2))
    if read_objects is not None:
        found = gather_objects(found, read_classes)
    numbers, kept = _number(found, grid, minimum_area)
    if not len(kept):
        return TracedAreas(np.zeros(0, object), np.zeros(0, np.uint8), np.zeros(0))

    def bands() -> Iterator[NDArray[np.int32]]:
        for window, labels in labelled_bands(grid.shape, read_classes, numbers):
            report(0.5 + 0.25 * window.row_off / grid.height)
            yield labels

    topology = build_topology(find_vertices(bands(), grid.width))
    report(0.8)
    polygons, labels = polygons_from(topology, tolerance)
    report(1.0)
    members = kept[labels - 1]
    return TracedAreas(polygons, found.class_ids[members], found.scores[members])


def _ignore(done: float) -> None:
    """Drop a progress report."""


def _number(
    found: Components, grid: Grid, minimum_area: float
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Return the number from 1 of each label of each band, and the areas that have one."""
    large = np.ones(len(found.pixels), dtype=np.bool_)
    if minimum_area > 0.0:
        large = found.pixels * pixel_areas(grid, found.columns, found.rows) >= minimum_area
    numbers = np.where(large, np.cumsum(large), 0).astype(np.int32)
    return numbers[found.joins], np.flatnonzero(large)
