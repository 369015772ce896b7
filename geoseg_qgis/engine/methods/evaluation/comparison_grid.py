"""The pixels on which a result and a reference are compared, and how far outlines may lie apart."""

from __future__ import annotations

import math
from contextlib import closing
from dataclasses import dataclass

from affine import Affine

from geoseg_qgis.engine.raster.datasets import open_dataset
from geoseg_qgis.engine.raster.grid import Grid, output_grid
from geoseg_qgis.engine.vector.polygon_layer import read_bounds
from geoseg_qgis.protocol.errors import ErrorCode, JobError
from geoseg_qgis.protocol.source import GridRequest, LayerSource, RasterSource, VectorSource
from geoseg_qgis.protocol.tasks.evaluate import LengthUnit

# Blocks are read with this margin, so it bounds their memory.
LARGEST_TOLERANCE = 1024


def comparison_grid(result: LayerSource, reference: LayerSource, request: GridRequest) -> Grid:
    """Return the pixels of the result, of the reference where only that is a raster, or new ones.

    Args:
        result: What is evaluated.
        reference: What is true.
        request: Extent, and the size of a pixel where both are polygons.

    Raises:
        JobError: ``SOURCE_UNREADABLE``, ``EXTENT_OUTSIDE`` or ``RESOLUTION_UNUSABLE``.
    """
    if isinstance(result, RasterSource):
        return _raster_grid(result, request)
    if isinstance(reference, RasterSource):
        return _raster_grid(reference, request)
    return _polygon_grid(result, request)


def _raster_grid(raster: RasterSource, request: GridRequest) -> Grid:
    with closing(open_dataset(raster)) as opened:
        return output_grid(opened.grid(raster.crs_wkt), request)


def _polygon_grid(polygons: VectorSource, request: GridRequest) -> Grid:
    if request.resolution is None or not request.resolution > 0.0:
        raise JobError(
            ErrorCode.RESOLUTION_UNUSABLE,
            "Result and reference are both polygons, so no raster says how large pixels are.",
            "Give a resolution, the size of a pixel in map units of the result, or use a raster.",
        )
    bounds, crs_wkt = read_bounds(polygons)
    if request.extent is not None:
        extent = request.extent
        bounds = extent.xmin, extent.ymin, extent.xmax, extent.ymax
    xmin, ymin, xmax, ymax = bounds
    size = request.resolution
    columns = max(math.ceil((xmax - xmin) / size - 1e-6), 1)
    rows = max(math.ceil((ymax - ymin) / size - 1e-6), 1)
    return output_grid(
        Grid(Affine(size, 0.0, xmin, 0.0, -size, ymax), columns, rows, crs_wkt), GridRequest()
    )


@dataclass(frozen=True)
class Tolerance:
    """How far two outlines may lie apart and still match.

    Attributes:
        length: Largest distance.
        unit: Unit of the length.
    """

    length: float
    unit: LengthUnit

    def __str__(self) -> str:
        """Return the length with its unit."""
        return f"{self.length:g} {'m' if self.unit is LengthUnit.METRES else 'pixels'}"

    def pixel_size(self, grid: Grid) -> tuple[float, float]:
        """Return the size of a pixel of ``grid`` in the unit, along a row and along a column.

        Raises:
            JobError: ``INVALID_JOB`` for metres on a grid without a CRS.
        """
        if self.unit is LengthUnit.PIXELS:
            return 1.0, 1.0
        size = grid.ground_pixel_size()
        if size is None:
            raise JobError(
                ErrorCode.INVALID_JOB,
                "The result has no CRS, so metres mean nothing there.",
                "Give the boundary tolerance in pixels.",
            )
        return size

    def check(self, grid: Grid) -> None:
        """Refuse a tolerance that is too large for ``grid``.

        Raises:
            JobError: ``INVALID_JOB``.
        """
        if self.length / min(self.pixel_size(grid)) > LARGEST_TOLERANCE:
            raise JobError(
                ErrorCode.INVALID_JOB,
                f"A boundary tolerance of {self} is not usable on this raster.",
                f"Give one of 0 to {LARGEST_TOLERANCE} pixels.",
            )
