"""An image of three colours and labels on it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyogrio.raw
import rasterio
import shapely
from numpy.typing import NDArray

from geoseg_qgis.protocol.source import RasterSource, VectorSource

SIDE = 160
PIXEL = 0.5
LEFT, TOP = 400000.0, 5000000.0
NAMES = ("water", "grass", "sand")
COLOURS = ((30, 60, 120), (70, 140, 60), (220, 200, 150))


def three_classes(side: int = SIDE) -> NDArray[np.int64]:
    """Return a map of classes from 0: a checkerboard of squares of 20 pixels."""
    rows, columns = np.mgrid[0:side, 0:side] // 20
    return np.asarray((rows + 2 * columns) % 3)


def write_image(path: Path, classes: NDArray[np.int64], crs: str = "EPSG:32633") -> RasterSource:
    """Write the colours of a map of classes, with noise."""
    noise = np.random.default_rng(1).integers(-8, 8, (3, *classes.shape))
    pixels = np.array(COLOURS)[classes].transpose(2, 0, 1) + noise
    with rasterio.open(
        path, "w", driver="GTiff", height=classes.shape[0], width=classes.shape[1], count=3,
        dtype="uint8", crs=crs, transform=rasterio.Affine(PIXEL, 0, LEFT, 0, -PIXEL, TOP),
    ) as dataset:  # fmt: skip
        dataset.write(pixels.astype(np.uint8))
    return RasterSource(str(path), path.stem)


def on_map(column: float, row: float) -> tuple[float, float]:
    """Return the map coordinates of a pixel position."""
    return LEFT + column * PIXEL, TOP - row * PIXEL


def square(column: int, row: int, side: int) -> shapely.Polygon:
    """Return a square of pixels on the map."""
    first, last = on_map(column, row + side), on_map(column + side, row)
    return shapely.box(*first, *last)


def write_labels(
    path: Path,
    shapes: Sequence[shapely.Geometry],
    values: Sequence[object],
    crs: str | None = "EPSG:32633",
) -> VectorSource:
    """Write shapes with a class in the field ``kind``."""
    column = np.array(values)
    pyogrio.raw.write(
        path, shapely.to_wkb(np.array(shapes, dtype=object)), [column], ["kind"],
        geometry_type="Unknown", crs=crs, driver="GPKG",
    )  # fmt: skip
    return VectorSource(str(path), name=path.stem)


def write_points(
    path: Path, classes: NDArray[np.int64], count: int, crs: str | None = "EPSG:32633"
) -> VectorSource:
    """Write ``count`` points of each class, named by `NAMES`."""
    rng = np.random.default_rng(2)
    shapes, values = [], []
    for number, name in enumerate(NAMES):
        pixels = np.argwhere(classes == number)
        for row, column in pixels[rng.permutation(len(pixels))[:count]]:
            shapes.append(shapely.Point(on_map(column + 0.5, row + 0.5)))
            values.append(name)
    return write_labels(path, shapes, values, crs)
