"""Opening of files with GDAL, those with ground control points included."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any

import rasterio
from affine import Affine
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.vrt import WarpedVRT

from geoseg_qgis.engine.files import refuse_endless
from geoseg_qgis.protocol.errors import ErrorCode, JobError
from geoseg_qgis.protocol.source import RasterSource

from .grid import Grid

# In map units; no map is as large.
_FARTHEST = 1e15
# Share of the coordinates; below, float64 cannot tell neighbouring pixels apart.
_SMALLEST_PIXEL = 1e-14
# Sine of the angle between rows and columns; below, a pixel has no area.
_LEAST_ANGLE = 1e-9
BELOW_ORIGIN = Affine(1.0, 0.0, 0.0, 0.0, -1.0, 0.0)


@dataclass
class OpenDataset:
    """A dataset of rasterio: the file itself, one of its overviews, or a warp of it."""

    dataset: Any
    file: Any

    def grid(self, crs_wkt: str) -> Grid:
        """Return its grid, with ``crs_wkt`` as the CRS if given.

        Without georeferencing, rows run downwards from the origin, as QGIS shows them.

        Raises:
            JobError: ``SOURCE_UNREADABLE`` for a geotransform that places no pixel.
        """
        transform = self.dataset.transform
        if transform.is_identity:
            transform = BELOW_ORIGIN
        elif not _is_usable(transform, max(self.dataset.width, self.dataset.height)):
            raise JobError(
                ErrorCode.SOURCE_UNREADABLE,
                f"The geotransform of {self.file.name} gives its pixels no place on the map.",
                "Georeference the raster again, or remove its geotransform.",
                str(tuple(transform)[:6]),
            )
        own = self.dataset.crs.to_wkt() if self.dataset.crs else ""
        return Grid(transform, self.dataset.width, self.dataset.height, crs_wkt or own)

    def overviews(self) -> tuple[int, ...]:
        """Return the factors of the overviews of the first band, those of a warp left out."""
        if self.dataset is not self.file:
            return ()
        return tuple(self.dataset.overviews(1))

    @property
    def is_mosaic(self) -> bool:
        """Whether it is made of other files, some of which may be missing."""
        return self.file.driver in ("VRT", "GTI")

    def close(self) -> None:
        """Close the dataset."""
        self.dataset.close()
        self.file.close()


def _is_usable(transform: Affine, side: int) -> bool:
    """Return whether pixels have an area, and their places are numbers of a sensible size."""
    numbers = tuple(transform)[:6]
    if not all(math.isfinite(value) for value in numbers):
        return False
    corner = max(abs(transform.c), abs(transform.f))
    reach = corner + side * max(map(abs, (transform.a, transform.b, transform.d, transform.e)))
    across, down = math.hypot(transform.a, transform.d), math.hypot(transform.b, transform.e)
    shortest, area = min(across, down), abs(transform.determinant)
    return (
        reach < _FARTHEST
        and shortest > _SMALLEST_PIXEL * max(corner, 1.0)
        and area > _LEAST_ANGLE * across * down
    )


def open_dataset(source: RasterSource, level: int | None = None) -> OpenDataset:
    """Open the file of a source, or one of its overview levels.

    A file that only has ground control points is warped to a north-up grid, as QGIS does.

    Raises:
        JobError: ``SOURCE_UNREADABLE``.
    """
    options = {} if level is None else {"OVERVIEW_LEVEL": str(level)}
    name = source.name or source.uri
    refuse_endless(source.uri, name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        try:
            file = rasterio.open(source.uri, **options)
        except (RasterioError, OSError, ValueError) as error:
            raise unreadable(name, error) from error
        if file.count == 0:
            subdatasets = file.subdatasets
            file.close()
            raise _no_bands(name, subdatasets)
        points, points_crs = file.gcps
        if level is not None or not points or not file.transform.is_identity:
            return OpenDataset(file, file)
        try:
            warped = WarpedVRT(
                file, src_crs=points_crs, crs=points_crs, add_alpha=file.nodata is None
            )
        except (RasterioError, ValueError) as error:
            file.close()
            raise unreadable(name, error) from error
    return OpenDataset(warped, file)


def unreadable(name: str, error: BaseException) -> JobError:
    """Return the error for a file that GDAL cannot read, with GDAL's message."""
    cause = error.__cause__ or error
    reason = " ".join(str(cause).split()) or type(cause).__name__
    return JobError(
        ErrorCode.SOURCE_UNREADABLE,
        f"The raster {name} cannot be read: {reason}",
        "Check that the file exists and is complete; open it in QGIS or copy it again.",
        detail=f"{type(error).__name__}: {error}",
    )


def _no_bands(name: str, subdatasets: list[str]) -> JobError:
    hint = "Choose a raster with at least one band."
    if subdatasets:
        hint = f"It is a container; choose one of its rasters, such as {subdatasets[0]}."
    return JobError(ErrorCode.SOURCE_UNREADABLE, f"The raster {name} has no bands.", hint)
