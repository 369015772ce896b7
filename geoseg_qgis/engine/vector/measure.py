"""Areas and lengths on the ground, in square metres and metres."""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj.exceptions import CRSError, ProjError

from geoseg_qgis.engine.raster.grid import Grid, ellipsoid, to_geographic


def pixel_areas(
    grid: Grid, columns: NDArray[np.float64], rows: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the ground areas of pixels in square metres.

    Without a CRS, or with one that has no ellipsoid, they are in square map units.

    Args:
        grid: The raster.
        columns: Columns of pixel centres.
        rows: Rows of pixel centres.
    """
    t = grid.transform
    planar = np.full(len(columns), abs(t.a * t.e - t.b * t.d))
    if not grid.crs_wkt or not len(columns):
        return planar
    ends = []
    try:
        for step_column, step_row in [(-0.5, 0.0), (0.5, 0.0), (0.0, -0.5), (0.0, 0.5)]:
            x = t.a * (columns + step_column) + t.b * (rows + step_row) + t.c
            y = t.d * (columns + step_column) + t.e * (rows + step_row) + t.f
            ends.append(to_geographic(grid.crs_wkt, x, y))
        geod = ellipsoid(grid.crs_wkt)
    except (CRSError, ProjError):
        return planar
    (west, east, north, south) = ends
    across, _, width = geod.inv(*west, *east)
    down, _, height = geod.inv(*north, *south)
    areas = np.abs(width * height * np.sin(np.radians(np.asarray(across) - np.asarray(down))))
    return np.where(np.isfinite(areas), areas, planar)


def measure_polygons(
    polygons: NDArray[np.object_], crs_wkt: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return areas and perimeters (holes included) of polygons, geodesic on the CRS's ellipsoid.

    Without a CRS, or one without an ellipsoid, they are planar, in map units.

    Args:
        polygons: Polygons in map coordinates.
        crs_wkt: CRS as WKT; empty for none.
    """
    planar = shapely.area(polygons), shapely.length(polygons)
    if not crs_wkt or not len(polygons):
        return planar
    _, coordinates, (rings, parts) = shapely.to_ragged_array(polygons)
    try:
        longitude, latitude = to_geographic(crs_wkt, coordinates[:, 0], coordinates[:, 1])
        geod = ellipsoid(crs_wkt)
    except (CRSError, ProjError):
        return planar
    if not (np.isfinite(longitude).all() and np.isfinite(latitude).all()):
        return planar
    measured = [
        geod.polygon_area_perimeter(longitude[start:stop], latitude[start:stop])
        for start, stop in zip(rings[:-1], rings[1:])
    ]
    ring_areas = np.abs([area for area, _ in measured])
    ring_areas[~np.isin(np.arange(len(ring_areas)), parts[:-1])] *= -1.0
    lengths = np.array([length for _, length in measured])
    return np.add.reduceat(ring_areas, parts[:-1]), np.add.reduceat(lengths, parts[:-1])
