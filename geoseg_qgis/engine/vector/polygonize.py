"""Connected areas of a class raster as polygons with attributes, in a styled GeoPackage.

GDAL traces the areas, GEOS simplifies them as one coverage, so that neighbours keep their common
edges. Memory grows with the polygons, not with the raster.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
import shapely
from numpy.typing import NDArray
from rasterio.features import shapes
from shapely.geometry import shape

from ...protocol.job import PolygonOptions
from ...protocol.legend import LegendClass
from ..raster.grid import Grid
from .geopackage import write_geopackage
from .measure import measure_polygons, pixel_areas
from .right_angles import square_polygon
from .scores import mean_scores

Progress = Callable[[float], None]
Polygons = NDArray[np.object_]
LAYER = "polygons"
_REPORT_EVERY = 2000


@dataclass(frozen=True)
class ClassAreas:
    """Areas in pixel coordinates, x to the right and y down.

    Attributes:
        polygons: (n,) polygons along the edges of pixels.
        class_ids: (n,) their classes.
    """

    polygons: Polygons
    class_ids: NDArray[np.int32]

    def select(self, keep: NDArray[np.bool_]) -> ClassAreas:
        """Return the areas where ``keep``."""
        return ClassAreas(self.polygons[keep], self.class_ids[keep])


def write_polygons(
    class_raster: Path,
    grid: Grid,
    legend: tuple[LegendClass, ...],
    options: PolygonOptions,
    *,
    destination: Path,
    provenance: dict[str, str],
    confidence: Path,
    progress: Progress,
) -> dict[int, int]:
    """Write the polygons of a class raster.

    Args:
        class_raster: Class ids, 0 for none.
        grid: Its pixels.
        legend: The classes.
        options: Smallest areas and holes, simplification, right angles.
        destination: GeoPackage to write; it appears only when complete.
        provenance: How the raster was made; kept as metadata of the layer.
        confidence: Raster of probabilities on the same pixels, scaled bytes.
        progress: Told the finished fraction; raises to stop.

    Returns:
        Number of polygons of each class id.

    Raises:
        JobError: ``OUTPUT_UNWRITABLE`` or ``DISK_FULL``.
    """
    with rasterio.open(class_raster) as dataset:
        areas = trace_areas(dataset, lambda done: progress(0.4 * done))
    areas = drop_small(areas, grid, options.minimum_area)
    scores = mean_scores(areas.polygons, confidence, lambda done: progress(0.4 + 0.2 * done))
    polygons = fill_small_holes(areas.polygons, grid, options.minimum_hole)
    polygons = simplify_coverage(polygons, options.simplify)
    progress(0.7)
    names = {item.class_id: item.name for item in legend}
    squared = {item.class_id for item in legend if item.name in options.right_angles}
    turned = np.isin(areas.class_ids, list(squared))
    polygons[turned] = square_outlines(polygons[turned], grid, options.simplify)
    progress(0.8)
    placed = place(polygons, grid)
    ground_areas, perimeters = measure_polygons(placed, grid.crs_wkt)
    count = len(placed)
    fields = {
        "class": np.array([names[number] for number in areas.class_ids.tolist()], dtype=object),
        "class_id": areas.class_ids,
        "score": scores.round(4),
        "area_m2": ground_areas.round(3),
        "perimeter_m": perimeters.round(3),
        "method": np.full(count, provenance.get("method", ""), dtype=object),
        "model": np.full(count, provenance.get("model", ""), dtype=object),
    }
    write_geopackage(
        destination,
        LAYER,
        placed,
        fields=fields,
        crs_wkt=grid.crs_wkt,
        legend=legend,
        metadata=provenance,
    )
    progress(1.0)
    numbers, counts = np.unique(areas.class_ids, return_counts=True)
    return dict(zip(numbers.tolist(), counts.tolist(), strict=True))


def trace_areas(dataset: rasterio.DatasetReader, progress: Progress) -> ClassAreas:
    """Return the 4-connected areas of equal class; class 0 belongs to none."""
    found, class_ids = [], []
    pixels = dataset.width * dataset.height
    seen = 0.0
    # Outlines of a band come in map coordinates, whatever transform is asked for.
    pixel = abs(dataset.transform.determinant)
    outlines = shapes(rasterio.band(dataset, 1), connectivity=4)
    for number, (outline, value) in enumerate(outlines):
        if value == 0:
            continue
        polygon = shape(outline)
        found.append(polygon)
        class_ids.append(int(value))
        seen += polygon.area / pixel
        if number % _REPORT_EVERY == 0:
            progress(min(seen / pixels, 1.0))
    polygons = np.empty(len(found), dtype=object)
    polygons[:] = found
    t = ~dataset.transform

    def to_pixels(points: NDArray[np.float64]) -> NDArray[np.float64]:
        x, y = points[:, 0], points[:, 1]
        placed = np.stack([t.a * x + t.b * y + t.c, t.d * x + t.e * y + t.f], axis=1)
        return np.asarray(np.rint(placed))

    polygons = np.asarray(shapely.transform(polygons, to_pixels), dtype=object)
    return ClassAreas(polygons, np.array(class_ids, dtype=np.int32))


def square_metres(polygons: Polygons, grid: Grid) -> NDArray[np.float64]:
    """Return the areas of polygons in pixel coordinates, in square metres (map units without CRS).

    Pixels are measured where each polygon lies, as their size changes over geographic rasters.
    """
    if len(polygons) == 0:
        return np.zeros(0)
    centres = shapely.centroid(polygons)
    pixels = pixel_areas(grid, shapely.get_x(centres) - 0.5, shapely.get_y(centres) - 0.5)
    return np.asarray(shapely.area(polygons) * pixels)


def drop_small(areas: ClassAreas, grid: Grid, minimum: float) -> ClassAreas:
    """Return the areas of at least ``minimum`` square metres."""
    if minimum <= 0.0:
        return areas
    return areas.select(square_metres(areas.polygons, grid) >= minimum)


def fill_small_holes(polygons: Polygons, grid: Grid, minimum: float) -> Polygons:
    """Fill holes of less than ``minimum`` square metres that hold no other polygon."""
    if minimum <= 0.0 or len(polygons) == 0:
        return polygons
    rings, owners = shapely.get_rings(polygons, return_index=True)
    is_shell = np.r_[True, owners[1:] != owners[:-1]]
    filled = shapely.polygons(rings)
    small = ~is_shell & (square_metres(filled, grid) < minimum)
    tree = shapely.STRtree(shapely.point_on_surface(polygons))
    occupied = np.zeros(len(rings), dtype=np.bool_)
    candidates = np.flatnonzero(small)
    occupied[candidates[tree.query(filled[candidates], predicate="contains")[0]]] = True
    kept = ~small | occupied
    kept_owners, kept_rings = owners[kept], rings[kept]
    starts = np.flatnonzero(np.r_[True, kept_owners[1:] != kept_owners[:-1]])
    ends = np.r_[starts[1:], len(kept_rings)]
    result = np.empty(len(polygons), dtype=object)
    for index, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
        result[index] = shapely.Polygon(kept_rings[start], kept_rings[start + 1 : end])
    return result


def simplify_coverage(polygons: Polygons, tolerance: float) -> Polygons:
    """Simplify outlines by about ``tolerance`` pixels; neighbours keep their common edges."""
    if tolerance <= 0.0 or len(polygons) == 0:
        return polygons.copy()
    return np.asarray(shapely.coverage_simplify(polygons, tolerance), dtype=object)


def square_outlines(polygons: Polygons, grid: Grid, tolerance: float) -> Polygons:
    """Give polygons in pixel coordinates right angles on the ground.

    Args:
        polygons: (n,) outlines to turn.
        grid: Tells the proportions of a pixel.
        tolerance: Steps shorter than this many pixels are dropped, but at least one.
    """
    across, down = grid.ground_pixel_size() or grid.pixel_size
    proportions = np.array([across / down, 1.0])
    even = shapely.transform(polygons, lambda points: points * proportions)
    squared = np.empty(len(polygons), dtype=object)
    squared[:] = [square_polygon(polygon, max(tolerance, 1.0)) for polygon in even]
    return np.asarray(shapely.transform(squared, lambda points: points / proportions), dtype=object)


def place(polygons: Polygons, grid: Grid) -> Polygons:
    """Return polygons in map coordinates."""
    t = grid.transform

    def to_map(points: NDArray[np.float64]) -> NDArray[np.float64]:
        x, y = points[:, 0], points[:, 1]
        return np.stack([t.a * x + t.b * y + t.c, t.d * x + t.e * y + t.f], axis=1)

    return np.asarray(shapely.transform(polygons, to_map), dtype=object)
