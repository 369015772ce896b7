"""Transformations from the CRS of features to that of a raster, and to its pixels."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from pyproj.exceptions import ProjError

from geoseg_qgis.engine.raster.grid import Grid
from geoseg_qgis.protocol.errors import ErrorCode, JobError
from geoseg_qgis.protocol.source import VectorSource


def placed_shapes(
    source: VectorSource, names: Iterable[str], columns: Iterable[NDArray[Any]]
) -> NDArray[np.object_] | None:
    """Return the geometries that QGIS has transformed to the CRS of the raster; None without.

    Args:
        source: The layer.
        names: Names of its fields.
        columns: Their values.
    """
    for name, column in zip(names, columns, strict=True):
        if source.placed_field and name == source.placed_field:
            return np.asarray(shapely.from_wkb(column, on_invalid="fix"), dtype=object)
    return None


def transformer_between(crs: str, target: str, what: str) -> Transformer | None:
    """Return the transformer of coordinates, x first; None where the CRSs are equal or unknown.

    Args:
        crs: CRS of the features, in any form that PROJ reads; may be empty.
        target: CRS of the raster, likewise.
        what: What the features are, in the plural, for messages.

    Raises:
        JobError: ``SOURCE_UNREADABLE`` when there is no transformation.
    """
    if not crs or not target:
        return None
    try:
        here, there = CRS.from_user_input(crs), CRS.from_user_input(target)
        if here == there:
            return None
        return Transformer.from_crs(here, there, always_xy=True)
    except ProjError as error:
        raise JobError(
            ErrorCode.SOURCE_UNREADABLE,
            f"The CRS of the {what} cannot be transformed to that of the raster.",
            f"Save the {what} in the raster's CRS.",
            str(error),
        ) from error


def to_pixels(
    shapes: NDArray[np.object_], transformer: Transformer | None, grid: Grid
) -> NDArray[np.object_]:
    """Return shapes (n,) in pixel coordinates, empty polygons where they cannot be transformed.

    Args:
        shapes: Geometries in any CRS.
        transformer: To the CRS of the grid; None where it is the same.
        grid: Pixels of the raster.
    """

    def place(points: NDArray[np.float64]) -> NDArray[np.float64]:
        if transformer is not None:
            points = np.stack(transformer.transform(points[:, 0], points[:, 1]), axis=1)
        points = np.stack([grid.nearest_turn(points[:, 0]), points[:, 1]], axis=1)
        return grid.pixel_points(points)

    placed = np.asarray(shapely.transform(shapes, place), dtype=object)
    placed[~np.isfinite(shapely.bounds(placed)).all(axis=1)] = shapely.Polygon()
    return placed
