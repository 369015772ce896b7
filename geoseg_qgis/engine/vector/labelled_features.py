"""Points, lines and polygons with a class in a field, on the pixels of a raster."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio.raw
import shapely
from numpy.typing import NDArray
from pyogrio.errors import DataLayerError, DataSourceError, FeatureError, FieldError

from geoseg_qgis.engine.raster.grid import Grid
from geoseg_qgis.protocol.errors import ErrorCode, JobError
from geoseg_qgis.protocol.source import VectorSource

from .attributes import attributes_of
from .crs import placed_shapes, to_pixels, transformer_between
from .paths import readable

# Pieces of a line that is transformed to another CRS.
_SEGMENTS = 64


@dataclass(frozen=True)
class LabelledFeatures:
    """Features of a layer, all arrays of one entry a feature.

    Attributes:
        shapes: Geometries in pixel coordinates, x to the right and y down, pixels being areas;
            empty where a feature has none.
        values: Values of the field, None where it is empty; all None without a field.
        notes: Sentences about what was assumed.
    """

    shapes: NDArray[np.object_]
    values: list[Any]
    notes: tuple[str, ...]


def read_features(source: VectorSource, grid: Grid, field: str) -> LabelledFeatures:
    """Read the labels of a layer onto a grid, in any CRS and with any kinds of geometry.

    Args:
        source: File and layer; its CRS goes before that of the file.
        grid: Pixels to read on.
        field: Field of the class; empty for none.

    Raises:
        JobError: ``SOURCE_UNREADABLE`` when the layer cannot be read, has no such field or a CRS
            that cannot be transformed to that of the raster; ``INVALID_JOB`` when it is empty.
    """
    name = source.name or Path(source.path).stem
    try:
        meta, _, geometry, columns = pyogrio.raw.read(
            readable(source.path), layer=source.layer or None
        )
    except (DataSourceError, DataLayerError, FeatureError, FieldError) as error:
        raise JobError(
            ErrorCode.SOURCE_UNREADABLE,
            f"The labels {name!r} cannot be read.",
            "Check the file, or export the layer to a GeoPackage.",
            str(error),
        ) from error
    if geometry is None or len(geometry) == 0:
        raise JobError(
            ErrorCode.INVALID_JOB,
            f"The layer of labels {name!r} is empty.",
            "Draw points, lines or polygons on places whose class you know.",
        )
    attributes = attributes_of(source, meta, columns)
    if field and field not in attributes.names:
        raise JobError(
            ErrorCode.SOURCE_UNREADABLE,
            f"The labels {name!r} have no field called {field!r}.",
            f"Choose one of their fields: {', '.join(attributes.names) or 'none'}.",
        )
    values = attributes.column(field) if field else [None] * len(geometry)
    placed = placed_shapes(source, meta["fields"], columns)
    notes: tuple[str, ...] = ()
    if placed is not None:
        shapes = to_pixels(_usable(placed), None, grid)
    else:
        own = source.crs_wkt or meta["crs"] or ""
        if bool(own) != bool(grid.crs_wkt):
            notes = (
                "Either the imagery or the labels have no CRS, so both are taken to be in the same "
                "one. Check that they lie on top of each other.",
            )
        shapes = np.asarray(shapely.from_wkb(geometry, on_invalid="ignore"), dtype=object)
        shapes = _transformed(_usable(shapes), own, grid)
    areal = shapely.get_dimensions(shapes) == 2
    shapes[areal] = shapely.make_valid(shapes[areal])
    return LabelledFeatures(shapes, values, notes)


def _transformed(shapes: NDArray[np.object_], crs: str, grid: Grid) -> NDArray[np.object_]:
    transformer = transformer_between(crs, grid.crs_wkt, "labels")
    if transformer is not None:
        # Edges of another CRS stay where the map shows them only in short pieces.
        lengths = shapely.length(shapes)
        long = lengths > 0
        shapes[long] = shapely.segmentize(shapes[long], lengths[long] / _SEGMENTS)
    return to_pixels(shapes, transformer, grid)


def _usable(shapes: NDArray[np.object_]) -> NDArray[np.object_]:
    shapes[shapely.is_missing(shapes)] = shapely.Point()
    return np.asarray(shapely.make_valid(shapely.force_2d(shapes)), dtype=object)
