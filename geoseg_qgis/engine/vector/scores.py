"""Mean of a raster inside each polygon, block by block."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import rasterio
import shapely
from numpy.typing import NDArray
from rasterio.features import rasterize
from rasterio.windows import Window

_BLOCK = 2048


def mean_scores(
    polygons: NDArray[np.object_], raster: Path, progress: Callable[[float], None]
) -> NDArray[np.float64]:
    """Return the mean of a raster inside each polygon, NaN where it holds no data.

    Args:
        polygons: (n,) in pixel coordinates, along the edges of pixels, not overlapping.
        raster: A raster of one band on these pixels, with scale, offset and nodata.
        progress: Told the finished fraction.
    """
    sums = np.zeros(len(polygons) + 1)
    counts = np.zeros(len(polygons) + 1)
    tree = shapely.STRtree(polygons)
    with rasterio.open(raster) as dataset:
        scale, offset = dataset.scales[0], dataset.offsets[0]
        windows = _windows(dataset.height, dataset.width)
        for number, window in enumerate(windows):
            numbers = _number_pixels(polygons, tree, window)
            values = dataset.read(1, window=window, masked=True)
            inside = (numbers > 0) & ~np.ma.getmaskarray(values)
            owners = numbers[inside]
            measured = values.data[inside] * scale + offset
            sums += np.bincount(owners, weights=measured, minlength=len(sums))
            counts += np.bincount(owners, minlength=len(sums))
            progress((number + 1) / len(windows))
    with np.errstate(invalid="ignore"):
        means: NDArray[np.float64] = sums[1:] / counts[1:]
    return means


def _windows(height: int, width: int) -> list[Window]:
    return [
        Window(column, row, min(_BLOCK, width - column), min(_BLOCK, height - row))
        for row in range(0, height, _BLOCK)
        for column in range(0, width, _BLOCK)
    ]


def _number_pixels(
    polygons: NDArray[np.object_], tree: shapely.STRtree, window: Window
) -> NDArray[np.int32]:
    """Return the number of the polygon under each pixel, from 1, 0 for none."""
    left, top = window.col_off, window.row_off
    box = shapely.box(left, top, left + window.width, top + window.height)
    found = tree.query(box)
    shape = (int(window.height), int(window.width))
    if len(found) == 0:
        return np.zeros(shape, dtype=np.int32)
    numbers: NDArray[np.int32] = rasterize(
        ((polygons[index], index + 1) for index in found.tolist()),
        out_shape=shape,
        transform=rasterio.Affine.translation(left, top),
        dtype="int32",
    )
    return numbers
