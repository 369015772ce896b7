"""The user's own raster of region numbers, read on another grid."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from geoseg_qgis.protocol.errors import ErrorCode, JobError
from geoseg_qgis.protocol.source import RasterSource

from .grid import Grid
from .nearest import open_nearest


def read_region_raster(
    source: RasterSource, grid: Grid, windows: Iterable[Window]
) -> Iterator[tuple[Window, NDArray[np.int32]]]:
    """Yield each window with its region ids of the nearest pixels, from a raster in any CRS.

    Different numbers become ids from 1 in the order in which they occur; 0 and nodata are no
    region.

    Args:
        source: The raster; its first band is read.
        grid: Pixels to read on.
        windows: Windows of ``grid``.

    Raises:
        JobError: ``SOURCE_UNREADABLE`` when it cannot be read or has no whole numbers.
    """
    known: dict[int, int] = {}
    with open_nearest(source, grid) as raster:
        if not np.issubdtype(raster.dtype, np.integer):
            raise JobError(
                ErrorCode.SOURCE_UNREADABLE,
                f"The region raster holds {raster.dtype} values, not whole numbers.",
                "Choose a raster in which every region has a whole number of its own.",
            )
        for window in windows:
            values, inside = raster.read(window)
            here = inside & ~np.isin(values, raster.nodata)
            yield window, _identify(np.where(here, values, 0), known)


def _identify(values: NDArray[np.int64], known: dict[int, int]) -> NDArray[np.int32]:
    numbers, inverse = np.unique(values, return_inverse=True)
    ids = np.zeros(len(numbers), dtype=np.int32)
    for index, number in enumerate(numbers):
        if number != 0:
            ids[index] = known.setdefault(int(number), len(known) + 1)
    return ids[inverse.reshape(values.shape)]
