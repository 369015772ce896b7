"""Fixtures on the real QGIS: the provider, small rasters, a tile server."""

from __future__ import annotations

import struct
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Callable

import pytest
from osgeo import gdal, osr
from places import ROOT, SHARED
from qgis.core import QgsApplication, QgsRasterLayer
from tile_server import TileServer

sys.path.append(str(ROOT))


gdal.UseExceptions()


@pytest.fixture
def provider(qgis_processing: None) -> Iterator[object]:
    """GeoSeg's provider in the registry for one test."""
    from geoseg_qgis.processing.provider import GeoSegProvider

    provider = GeoSegProvider()
    QgsApplication.processingRegistry().addProvider(provider)
    yield provider
    QgsApplication.processingRegistry().removeProvider(provider)


@pytest.fixture(scope="module")
def warm_engine() -> Iterator[None]:
    """Stop the engine process after the last test of a file."""
    from geoseg_qgis.engine_client import close_shared

    yield
    close_shared()


@pytest.fixture
def make_raster(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a GeoTIFF: value of a pixel is row * 10 + column + band."""

    def make(
        name: str = "image.tif",
        *,
        bands: int = 3,
        data_type: int = gdal.GDT_Byte,
        size: int = 8,
        epsg: int = 32632,
        pixel: float = 2.0,
    ) -> Path:
        path = tmp_path / name
        dataset = gdal.GetDriverByName("GTiff").Create(str(path), size, size, bands, data_type)
        dataset.SetGeoTransform((500000.0, pixel, 0.0, 5600000.0, 0.0, -pixel))
        if epsg:
            reference = osr.SpatialReference()
            reference.ImportFromEPSG(epsg)
            dataset.SetProjection(reference.ExportToWkt())
        code = {gdal.GDT_Byte: "B", gdal.GDT_UInt16: "H", gdal.GDT_Float32: "f"}[data_type]
        for band in range(1, bands + 1):
            values = [row * 10 + column + band for row in range(size) for column in range(size)]
            packed = struct.pack(f"<{size * size}{code}", *values)
            dataset.GetRasterBand(band).WriteRaster(0, 0, size, size, packed)
        dataset.FlushCache()
        del dataset
        return path

    return make


@pytest.fixture
def raster_layer(qgis_new_project: None, make_raster: Callable[..., Path]) -> QgsRasterLayer:
    """An 8 x 8 image of three bytes."""
    return QgsRasterLayer(str(make_raster()), "image")


@pytest.fixture
def tile_server() -> Iterator[TileServer]:
    """A tile server on this machine."""
    server = TileServer()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.delay.set()
    server.shutdown()
    server.server_close()
    thread.join()


ODD_GEOTIFFS = SHARED / "data" / "odd_geotiffs" / "images"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip by marker: pytest-qgis leaves a test that a fixture skips without its teardown."""
    if ODD_GEOTIFFS.is_dir():
        return
    absent = pytest.mark.skip(reason="the shared images are not on this machine")
    for item in items:
        if "odd_geotiffs" in getattr(item, "fixturenames", ()):
            item.add_marker(absent)


@pytest.fixture
def odd_geotiffs() -> Path:
    """Folder of the odd GeoTIFFs."""
    return ODD_GEOTIFFS
