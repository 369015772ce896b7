"""Small rasters made on the spot, and where the shared odd ones lie."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray

SHARED = Path(__file__).parents[2].parent / "shared" / "data" / "odd_geotiffs" / "images"
NORTH_UP = Affine(0.5, 0.0, 300000.0, 0.0, -0.5, 5000000.0)


def write(path: Path, values: NDArray[Any], **options: Any) -> Path:
    """Write bands (B, h, w) as a GeoTIFF in UTM zone 33 and return its path.

    ``before`` is called with the open dataset before the pixels are written.
    """
    before = options.pop("before", None)
    profile = {"driver": "GTiff", "crs": "EPSG:32633", "transform": NORTH_UP, **options}
    count, height, width = values.shape
    with rasterio.open(
        path, "w", count=count, height=height, width=width, dtype=values.dtype, **profile
    ) as dataset:
        if before is not None:
            before(dataset)
        dataset.write(values)
    return path


def gradient(height: int, width: int) -> NDArray[np.float32]:
    """Return three bands: the column and the row of each pixel centre, and their sum."""
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32) + 0.5
    return np.stack([columns, rows, columns + rows])
