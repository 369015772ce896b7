"""A raster of region numbers of the user's own, brought onto another grid without mixing numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from ...protocol.errors import ErrorCode, JobError
from ...protocol.source import RasterSource
from .files import unreadable
from .grid import Grid

# Any metric CRS will do where both rasters have none: source and target are then the same plane.
_PLANE = "EPSG:3857"


def read_region_raster(
    source: RasterSource, grid: Grid, windows: Iterable[Window]
) -> Iterator[tuple[Window, NDArray[np.int32]]]:
    """Yield each window with its region ids, nearest pixel, whatever the CRS of the raster.

    Different numbers become ids from 1 in the order in which they are met; 0 and nodata are no
    region.

    Args:
        source: The raster; its first band is read.
        grid: Where ids are wanted.
        windows: Windows of ``grid``.

    Raises:
        JobError: ``SOURCE_UNREADABLE`` when it cannot be read or holds no whole numbers.
    """
    known: dict[int, int] = {}
    try:
        with rasterio.open(source.uri) as dataset:
            if not np.issubdtype(np.dtype(dataset.dtypes[0]), np.integer):
                raise JobError(
                    ErrorCode.SOURCE_UNREADABLE,
                    f"The region raster holds {dataset.dtypes[0]} values, not whole numbers.",
                    "Choose a raster in which every region has a whole number of its own.",
                )
            with _on_grid(dataset, source, grid) as warped:
                for window in windows:
                    band = warped.read(1, window=window, masked=True)
                    yield window, _identify(band.filled(0).astype(np.int64), known)
    except RasterioError as error:
        raise unreadable(source.name or source.uri, error) from error


def _on_grid(dataset: rasterio.DatasetReader, source: RasterSource, grid: Grid) -> WarpedVRT:
    own = dataset.crs or (rasterio.CRS.from_wkt(source.crs_wkt) if source.crs_wkt else None)
    target = rasterio.CRS.from_wkt(grid.crs_wkt) if grid.crs_wkt else None
    return WarpedVRT(
        dataset,
        src_crs=own or target or _PLANE,
        crs=target or own or _PLANE,
        transform=grid.transform,
        width=grid.width,
        height=grid.height,
        resampling=Resampling.nearest,
        nodata=0 if dataset.nodata is None else dataset.nodata,
    )


def _identify(values: NDArray[np.int64], known: dict[int, int]) -> NDArray[np.int32]:
    numbers, inverse = np.unique(values, return_inverse=True)
    ids = np.zeros(len(numbers), dtype=np.int32)
    for index, number in enumerate(numbers):
        if number != 0:
            ids[index] = known.setdefault(int(number), len(known) + 1)
    return ids[inverse.reshape(values.shape)]
