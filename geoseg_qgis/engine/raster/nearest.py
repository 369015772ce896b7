"""Values of a raster on the pixels of another grid: those of the nearest pixel, never a mean.

For numbers that are ids, such as classes and regions.

Example:
    >>> with open_nearest(RasterSource("reference.tif"), grid) as raster:  # doctest: +SKIP
    ...     values, inside = raster.read(Window(0, 0, 512, 512))
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, Resampling
from rasterio.errors import RasterioError
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from geoseg_qgis.protocol.errors import ErrorCode, JobError
from geoseg_qgis.protocol.source import RasterSource

from .datasets import OpenDataset, open_dataset, unreadable
from .grid import Grid

# Where neither raster has a CRS, any one will do, as both are then in the same plane.
_PLANE = "EPSG:3857"


class NearestRaster:
    """One band of whole numbers, read on another grid; made by `open_nearest`.

    Attributes:
        dtype: Type of the band.
        nodata: Values that the file or the user declares as nodata.
    """

    def __init__(self, warped: WarpedVRT, source: RasterSource) -> None:
        self._warped = warped
        self._name = source.name or source.uri
        self._band = source.bands[0] if source.bands else 1
        self._alpha = warped.colorinterp.index(ColorInterp.alpha) + 1
        self.dtype = np.dtype(warped.dtypes[self._band - 1])
        own = warped.src_dataset.nodatavals[self._band - 1]
        declared = (*source.nodata, *(() if own is None else (own,)))
        self.nodata = tuple(int(value) for value in declared if float(value).is_integer())

    def read(self, window: Window) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return the values of a window of the grid, and which of its pixels the raster reaches.

        Both of shape (h, w). Nodata values are returned like any others. NaN counts as outside.

        Raises:
            JobError: ``SOURCE_UNREADABLE`` when the file is damaged there, or has fractions.
        """
        try:
            values = self._warped.read(self._band, window=window)
            inside = self._warped.read(self._alpha, window=window) > 0
        except RasterioError as error:
            raise unreadable(self._name, error) from error
        if np.issubdtype(values.dtype, np.floating):
            inside &= np.isfinite(values)
            values = np.where(inside, values, 0)
            if (values != np.rint(values)).any():
                raise JobError(
                    ErrorCode.SOURCE_UNREADABLE,
                    f"The raster {self._name} holds fractions, not whole numbers.",
                    "Choose a raster in which every region or class has a whole number.",
                )
        return values.astype(np.int64), inside


@contextmanager
def open_nearest(source: RasterSource, grid: Grid) -> Iterator[NearestRaster]:
    """Open a raster of whole numbers to be read on ``grid``, in any CRS and with any pixels.

    A raster without a CRS is taken to be in that of the grid, and the other way round.

    Args:
        source: The raster; the first of its bands is read, band 1 if it names none.
        grid: Pixels to read on.

    Raises:
        JobError: ``SOURCE_UNREADABLE``; ``INVALID_JOB`` for a band that does not exist.
    """
    with closing(open_dataset(source)) as opened:
        band = source.bands[0] if source.bands else 1
        if not 1 <= band <= opened.dataset.count:
            raise JobError(
                ErrorCode.INVALID_JOB,
                f"The raster {source.name or source.uri} has no band {band}.",
                f"Choose from its {opened.dataset.count} bands.",
            )
        try:
            warped = _warp(opened, source, grid)
        except (RasterioError, ValueError) as error:
            raise unreadable(source.name or source.uri, error) from error
        with warped:
            yield NearestRaster(warped, source)


def _warp(opened: OpenDataset, source: RasterSource, grid: Grid) -> WarpedVRT:
    dataset = opened.dataset
    own = opened.grid(source.crs_wkt)
    wkts = own.crs_wkt or grid.crs_wkt, grid.crs_wkt or own.crs_wkt
    start, target = (rasterio.CRS.from_user_input(wkt or _PLANE) for wkt in wkts)
    return WarpedVRT(
        dataset,
        src_crs=start,
        crs=target,
        src_transform=own.transform,
        transform=grid.transform,
        width=grid.width,
        height=grid.height,
        resampling=Resampling.nearest,
        # Many class rasters declare 0 as nodata and still use it, so GDAL must not hide it.
        src_nodata=None,
        add_alpha=ColorInterp.alpha not in dataset.colorinterp,
    )
