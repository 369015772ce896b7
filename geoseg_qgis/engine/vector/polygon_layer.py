"""Polygon layers, read onto the pixels of a raster."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pyogrio
import pyogrio.raw
import shapely
from numpy.typing import NDArray
from pyogrio.errors import DataLayerError, DataSourceError
from pyproj import CRS
from rasterio import Affine
from rasterio.features import rasterize
from rasterio.windows import Window

from geoseg_qgis.engine.raster.grid import Grid
from geoseg_qgis.protocol.errors import ErrorCode, JobError
from geoseg_qgis.protocol.source import VectorSource

from .crs import placed_shapes, to_pixels, transformer_between
from .paths import readable


@dataclass(frozen=True)
class PlacedPolygons:
    """Polygons in the pixel coordinates of a grid.

    Attributes:
        polygons: (n,) valid polygons or multipolygons, x to the right and y down, in pixels.
        values: (n,) values of the wanted field, or None.
        skipped: Number of features that were left out because they have no area.
        features: (n,) position of each polygon in the layer, from 0.
        repaired: Number of polygons whose outlines were invalid, such as crossing themselves.
    """

    polygons: NDArray[np.object_]
    values: NDArray[Any] | None
    skipped: int
    features: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    repaired: int = 0

    @cached_property
    def _tree(self) -> shapely.STRtree:
        return shapely.STRtree(self.polygons)

    def burn(self, numbers: NDArray[np.int32], window: Window) -> NDArray[np.int32]:
        """Return (h, w) the number of the polygon over each pixel centre, 0 for none.

        Args:
            numbers: (n,) number of each polygon; where polygons overlap, the last one wins.
            window: Part of the grid.
        """
        shape = (int(window.height), int(window.width))
        left, top = int(window.col_off), int(window.row_off)
        box = shapely.box(left, top, left + shape[1], top + shape[0])
        found = np.sort(self._tree.query(box))
        if len(found) == 0:
            return np.zeros(shape, dtype=np.int32)
        burnt: NDArray[np.int32] = rasterize(
            ((self.polygons[index], int(numbers[index])) for index in found.tolist()),
            out_shape=shape,
            transform=Affine.translation(left, top),
            dtype="int32",
        )
        return burnt


def read_polygons(source: VectorSource, grid: Grid, field_name: str = "") -> PlacedPolygons:
    """Read a polygon layer in any CRS onto a grid; invalid outlines are repaired.

    Args:
        source: File and layer.
        grid: Pixels to read on.
        field_name: Field whose values are read as well; empty for none.

    Raises:
        JobError: ``SOURCE_UNREADABLE`` when the layer cannot be read, has no such field or a CRS
            that cannot be transformed to that of the grid.
    """
    try:
        meta, _, geometry, columns = pyogrio.raw.read(
            readable(source.path),
            layer=source.layer or None,
            columns=[name for name in (field_name, source.placed_field) if name],
        )
    except (DataSourceError, DataLayerError) as error:
        raise _unreadable(source, error) from error
    names = list(meta["fields"])
    if field_name and field_name not in names:
        raise JobError(
            ErrorCode.SOURCE_UNREADABLE,
            f"The polygon layer has no field called {field_name!r}.",
            "Choose one of its fields.",
        )
    drawn = shapely.from_wkb(geometry, on_invalid="fix")
    invalid = ~shapely.is_valid(drawn)
    on_raster = placed_shapes(source, names, columns)
    crs = source.crs_wkt or meta["crs"] or ""
    if on_raster is not None:
        drawn, crs = on_raster, grid.crs_wkt
    transformer = transformer_between(crs, grid.crs_wkt, "polygons")
    placed = to_pixels(_areas_of(shapely.make_valid(drawn)), transformer, grid)
    usable = (shapely.get_dimensions(placed) == 2) & ~shapely.is_empty(placed)
    values = columns[names.index(field_name)][usable] if field_name else None
    return PlacedPolygons(
        placed[usable],
        values,
        int(np.count_nonzero(~usable)),
        np.flatnonzero(usable),
        int(np.count_nonzero(invalid & usable)),
    )


def _areas_of(shapes: NDArray[np.object_]) -> NDArray[np.object_]:
    """Return shapes without the lines and points that a repair can leave beside areas."""
    mixed = np.flatnonzero(shapely.get_type_id(shapes) == shapely.GeometryType.GEOMETRYCOLLECTION)
    for index in mixed:
        parts = shapely.get_parts(shapely.get_parts(shapes[index]))
        shapes[index] = shapely.MultiPolygon(parts[shapely.get_dimensions(parts) == 2].tolist())
    return shapes


def rasterize_regions(
    source: VectorSource, grid: Grid, windows: Iterable[Window]
) -> Iterator[tuple[Window, NDArray[np.int32]]]:
    """Yield each window with the number of the polygon over each pixel, from 1; 0 for none.

    Raises:
        JobError: As `read_polygons`.
    """
    placed = read_polygons(source, grid)
    numbers = np.arange(1, len(placed.polygons) + 1, dtype=np.int32)
    for window in windows:
        yield window, placed.burn(numbers, window)


def read_bounds(source: VectorSource) -> tuple[tuple[float, float, float, float], str]:
    """Return xmin, ymin, xmax, ymax of a layer in its own CRS, and that CRS as WKT.

    Raises:
        JobError: ``SOURCE_UNREADABLE`` when the layer cannot be read or is empty.
    """
    try:
        found = pyogrio.read_info(
            readable(source.path), layer=source.layer or None, force_total_bounds=True
        )
    except (DataSourceError, DataLayerError) as error:
        raise _unreadable(source, error) from error
    bounds = found["total_bounds"]
    if bounds is None or not np.isfinite(bounds).all():
        raise JobError(
            ErrorCode.SOURCE_UNREADABLE,
            f"The polygon layer {source.path} is empty.",
            "Choose a layer that holds polygons.",
        )
    xmin, ymin, xmax, ymax = (float(side) for side in bounds)
    crs = source.crs_wkt or found["crs"] or ""
    return (xmin, ymin, xmax, ymax), CRS.from_user_input(crs).to_wkt() if crs else ""


def read_crs(source: VectorSource) -> str:
    """Return the CRS of a layer, as in its file or as WKT; empty without one.

    Raises:
        JobError: ``SOURCE_UNREADABLE`` when the layer cannot be read.
    """
    if source.crs_wkt:
        return source.crs_wkt
    try:
        info = pyogrio.read_info(readable(source.path), layer=source.layer or None)
    except (DataSourceError, DataLayerError) as error:
        raise _unreadable(source, error) from error
    return str(info["crs"] or "")


def _unreadable(source: VectorSource, error: Exception) -> JobError:
    return JobError(
        ErrorCode.SOURCE_UNREADABLE,
        f"The polygon layer {source.path} cannot be read.",
        "Check the file, or export the layer to a GeoPackage.",
        str(error),
    )
