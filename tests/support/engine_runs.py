"""Helpers of tests that run the real engine process inside QGIS."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from osgeo import gdal, osr

from geoseg_qgis.engine_client import engine_ready

READY, REASON = engine_ready()

needs_engine = [
    pytest.mark.slow,
    pytest.mark.skipif(not READY, reason=REASON),
    pytest.mark.usefixtures("warm_engine"),
]
"""Marks of a file whose tests share an engine process, which stops after the last of them."""

LEFT, TOP = 500000.0, 5600000.0
GRASS, RED_ROOF = (70, 115, 60), (190, 70, 55)


def write_raster(path: Path, bands: np.ndarray, pixel: float, epsg: int = 32632) -> str:
    """Write (C, H, W) uint8 as a GeoTIFF whose upper left corner is (LEFT, TOP); return its path.

    Args:
        path: File to write.
        bands: Values.
        pixel: Side of a pixel in units of the CRS.
        epsg: The CRS.
    """
    count, height, width = bands.shape
    dataset = gdal.GetDriverByName("GTiff").Create(str(path), width, height, count)
    dataset.SetGeoTransform((LEFT, pixel, 0.0, TOP, 0.0, -pixel))
    reference = osr.SpatialReference()
    reference.ImportFromEPSG(epsg)
    dataset.SetProjection(reference.ExportToWkt())
    dataset.WriteArray(bands)
    return str(path)


def painted(
    shape: tuple[int, int],
    boxes: list[tuple[int, int, int, int]],
    colour: tuple[int, int, int],
    seed: int,
) -> np.ndarray:
    """Return (3, H, W) uint8: boxes (top, bottom, left, right) of a colour on grass, with noise."""
    picture = np.empty((3, *shape), int)
    picture[:] = np.array(GRASS)[:, None, None]
    for top, bottom, left, right in boxes:
        picture[:, top:bottom, left:right] = np.array(colour)[:, None, None]
    noise = np.random.default_rng(seed).integers(-10, 10, picture.shape)
    return np.clip(picture + noise, 0, 255).astype(np.uint8)
