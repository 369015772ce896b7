"""Connected areas of a class raster as polygons with attributes, in a styled GeoPackage.

Neighbours share their simplified outlines. Memory grows with the polygons, not with the raster.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import rasterio
import shapely
from numpy.typing import NDArray
from rasterio.windows import Window

from geoseg_qgis.engine.progress import Progress
from geoseg_qgis.engine.raster.grid import Grid
from geoseg_qgis.protocol.legend import LegendClass
from geoseg_qgis.protocol.polygons import PolygonOptions

from .areas import TracedAreas, trace_areas
from .geopackage import write_geopackage
from .measure import measure_polygons, pixel_areas
from .right_angles import fit_together, square_polygon
from .touching_objects import ReadObjects

Polygons = NDArray[np.object_]
LAYER = "polygons"


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
    texts: Mapping[str, str] = MappingProxyType({}),
    read_objects: ReadObjects | None = None,
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
        progress: Called with the finished fraction; raises to stop.
        texts: Names and values of more fields, the same for every polygon.
        read_objects: Object numbers of a window; objects that touch become polygons of their own.

    Returns:
        Number of polygons of each class id.

    Raises:
        JobError: ``OUTPUT_UNWRITABLE`` or ``DISK_FULL``.
    """
    areas = _trace(class_raster, confidence, grid, options, progress, read_objects)
    polygons = fill_small_holes(areas.polygons, grid, options.minimum_hole)
    names = {item.class_id: item.name for item in legend}
    squared = {item.class_id for item in legend if item.name in options.right_angles}
    chosen = np.isin(areas.class_ids, list(squared))
    if chosen.any():
        outlines = polygons.copy()
        polygons[chosen] = square_outlines(polygons[chosen], grid, options.simplify)
        polygons = fit_together(polygons, outlines, chosen, grid.shape)
    progress(0.8)
    placed = place(polygons, grid)
    ground_areas, perimeters = measure_polygons(placed, grid.crs_wkt)
    count = len(placed)
    fields = {
        "class": np.array([names[number] for number in areas.class_ids.tolist()], dtype=object),
        "class_id": areas.class_ids.astype(np.int32),
        "score": areas.scores.round(4),
        "area_m2": ground_areas.round(3),
        "perimeter_m": perimeters.round(3),
        "method": np.full(count, provenance.get("method", ""), dtype=object),
        "model": np.full(count, provenance.get("model", ""), dtype=object),
        **{name: np.full(count, text, dtype=object) for name, text in texts.items()},
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


def _trace(  # noqa: PLR0917
    class_raster: Path,
    confidence: Path,
    grid: Grid,
    options: PolygonOptions,
    progress: Progress,
    read_objects: ReadObjects | None,
) -> TracedAreas:
    with rasterio.open(class_raster) as classes, rasterio.open(confidence) as scores:
        scale, offset = scores.scales[0], scores.offsets[0]

        def read_classes(window: Window) -> NDArray[np.uint8]:
            ids: NDArray[np.uint8] = classes.read(1, window=window)
            return ids

        def read_scores(window: Window, _ids: NDArray[Any]) -> NDArray[np.float32]:
            steps = scores.read(1, window=window)
            values: NDArray[np.float32] = (steps * scale + offset).astype(np.float32)
            return values

        return trace_areas(
            grid,
            read_classes,
            read_scores,
            options.minimum_area,
            options.simplify,
            lambda done: progress(0.7 * done),
            read_objects,
        )


def square_metres(polygons: Polygons, grid: Grid) -> NDArray[np.float64]:
    """Return the areas of polygons in pixel coordinates, in square metres (map units without CRS).

    Pixels are measured where each polygon lies, as their size changes over geographic rasters.
    """
    if len(polygons) == 0:
        return np.zeros(0)
    centres = shapely.centroid(polygons)
    pixels = pixel_areas(grid, shapely.get_x(centres) - 0.5, shapely.get_y(centres) - 0.5)
    return np.asarray(shapely.area(polygons) * pixels)


def fill_small_holes(polygons: Polygons, grid: Grid, minimum: float) -> Polygons:
    """Fill holes of less than ``minimum`` square metres that contain no other polygon."""
    if minimum <= 0.0 or len(polygons) == 0:
        return polygons
    rings, owners = shapely.get_rings(polygons, return_index=True)
    is_shell = np.r_[True, owners[1:] != owners[:-1]]
    filled = np.asarray(shapely.polygons(rings), dtype=object)
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


def square_outlines(polygons: Polygons, grid: Grid, tolerance: float) -> Polygons:
    """Give polygons in pixel coordinates right angles on the ground.

    Args:
        polygons: (n,) polygons.
        grid: Gives the proportions of a pixel.
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
    return np.asarray(shapely.transform(polygons, grid.map_points), dtype=object)
