"""What tests of both halves share."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

from geoseg_qgis.protocol.job import Job
from geoseg_qgis.protocol.source import RasterSource
from geoseg_qgis.protocol.tasks.reclassify import ReclassifyTask


def pytest_collection_finish() -> None:
    """Exclude the imported libraries from garbage collection, which would walk them each time."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def long_job(tmp_path: Path) -> Job:
    """A job of many tiles: a scores raster of 1.6 gigapixels, most of it holes in the file."""
    rasterio = pytest.importorskip("rasterio")
    path = tmp_path / "scores.tif"
    with rasterio.open(
        path, "w", driver="GTiff", width=40960, height=40960, count=2, dtype="uint8", nodata=255,
        crs="EPSG:32632", transform=rasterio.transform.from_origin(5e5, 5.6e6, 0.1, 0.1),
        tiled=True, blockxsize=512, blockysize=512, compress="deflate", SPARSE_OK="TRUE",
    ) as dataset:  # fmt: skip
        dataset.update_tags(GEOSEG_CLASSES="building =#ff0000; water =#0000ff")
    task = ReclassifyTask("0.5", class_raster=str(tmp_path / "classes.tif"))
    return Job(RasterSource(str(path)), task)
