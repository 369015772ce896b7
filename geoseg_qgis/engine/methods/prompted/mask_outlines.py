"""Masks of single objects to polygons: many small masks are traced at once on one sheet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy import ndimage

from geoseg_qgis.engine.raster.grid import Grid
from geoseg_qgis.engine.vector.outlines import polygons_from
from geoseg_qgis.engine.vector.polygonize import fill_small_holes, square_metres, square_outlines
from geoseg_qgis.engine.vector.trace import build_topology, find_vertices
from geoseg_qgis.protocol.polygons import PolygonOptions

from .masks import Mask, ObjectMask

Polygons = NDArray[np.object_]

# Many masks on one sheet share the fixed cost of tracing; its size bounds the memory.
_SHEET_WIDTH = 2048
_SHEET_PIXELS = 8_000_000


@dataclass(frozen=True)
class _Place:
    mask: Mask
    top: int
    left: int


def outline_masks(
    masks: Sequence[ObjectMask], grid: Grid, options: PolygonOptions
) -> list[Polygons]:
    """Return the outlines of each mask as polygons in pixel coordinates of a grid.

    Each connected area is a polygon of its own. Masks are traced independently of each other, so
    objects may overlap.

    Args:
        masks: Of single objects.
        grid: Pixels of the results, for sizes in metres.
        options: Smallest areas and holes, simplification; any name under ``right_angles`` squares
            all outlines.

    Returns:
        (n,) polygons for each mask, none where nothing is left.
    """
    tolerance = options.simplify
    traced: list[Polygons] = []
    for sheet in _sheets([mask.pixels for mask in masks]):
        traced.extend(_trace(sheet, tolerance))
    return [
        _finish(_onto_grid(polygons, mask), grid, options)
        for polygons, mask in zip(traced, masks, strict=True)
    ]


def _sheets(masks: Sequence[Mask]) -> Iterator[list[_Place]]:
    """Yield masks laid out in rows, a pixel apart, as many as a sheet takes."""
    sheet: list[_Place] = []
    top, left, height = 1, 1, 0
    for mask in masks:
        if sheet and left + mask.shape[1] > _SHEET_WIDTH:
            top, left, height = top + height + 1, 1, 0
        if sheet and (top + mask.shape[0]) * _SHEET_WIDTH > _SHEET_PIXELS:
            yield sheet
            sheet, top, left, height = [], 1, 1, 0
        sheet.append(_Place(mask, top, left))
        left += mask.shape[1] + 1
        height = max(height, mask.shape[0])
    if sheet:
        yield sheet


def _trace(sheet: list[_Place], tolerance: float) -> list[Polygons]:
    """Return the polygons of each mask of a sheet, in the pixels of the mask."""
    bottom = max(place.top + place.mask.shape[0] for place in sheet) + 1
    right = max(place.left + place.mask.shape[1] for place in sheet) + 1
    owners = np.zeros((bottom + 1, right + 1), dtype=np.int32)
    for number, place in enumerate(sheet, start=1):
        height, width = place.mask.shape
        rows, columns = slice(place.top, place.top + height), slice(place.left, place.left + width)
        owners[rows, columns][place.mask] = number
    # The outermost corners of a sheet are never simplified; these two pixels keep them off masks.
    owners[0, 0] = owners[-1, -1] = len(sheet) + 1
    labels, count = ndimage.label(owners)
    owner_of = np.zeros(count + 1, dtype=np.int32)
    owner_of[labels.ravel()] = owners.ravel()
    topology = build_topology(find_vertices([labels.astype(np.int32)], labels.shape[1]))
    polygons, numbers = polygons_from(topology, tolerance)
    found = owner_of[numbers]
    return [
        np.asarray(
            shapely.transform(polygons[found == number], _moved(-place.left, -place.top)),
            dtype=object,
        )
        for number, place in enumerate(sheet, start=1)
    ]


class _moved:  # noqa: N801 - reads as what it does to points
    """Adds an offset to points."""

    def __init__(self, x: float, y: float, scale: float = 1.0) -> None:
        self._offset = np.array([x, y], dtype=np.float64)
        self._scale = scale

    def __call__(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the points scaled, then moved."""
        moved: NDArray[np.float64] = points * self._scale + self._offset
        return moved


def _onto_grid(polygons: Polygons, mask: ObjectMask) -> Polygons:
    move = _moved(mask.left, mask.top, mask.step)
    return np.asarray(shapely.transform(polygons, move), dtype=object)


def _finish(polygons: Polygons, grid: Grid, options: PolygonOptions) -> Polygons:
    if not len(polygons):
        return polygons
    filled = fill_small_holes(polygons, grid, options.minimum_hole)
    if options.minimum_area > 0.0:
        filled = filled[square_metres(filled, grid) >= options.minimum_area]
    if options.right_angles and len(filled):
        filled = square_outlines(filled, grid, options.simplify)
    return filled
