"""Layers are frozen as they are shown: what GDAL opens, bands, limits, nodata, CRS."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Callable

import pytest
from osgeo import gdal
from qgis.core import (
    QgsContrastEnhancement,
    QgsCoordinateReferenceSystem,
    QgsMultiBandColorRenderer,
    QgsRasterLayer,
    QgsRasterRange,
    QgsRectangle,
)
from qgis_layers import make_virtual_layer

from geoseg_qgis.layers.source import freeze_raster
from geoseg_qgis.protocol.errors import JobError
from geoseg_qgis.protocol.source import StretchKind

BYTE_LIMITS = ((0.0, 255.0),) * 3


def test_a_file_is_handed_on_as_gdal_opens_it(raster_layer) -> None:
    frozen = freeze_raster(raster_layer)
    assert not frozen.needs_snapshot
    assert frozen.source.uri == raster_layer.source()
    assert frozen.source.name == "image"
    assert frozen.source.bands == (1, 2, 3)
    assert frozen.source.stretch.kind is StretchKind.LAYER
    assert frozen.source.stretch.limits == BYTE_LIMITS
    assert frozen.extent == QgsRectangle(500000, 5599984, 500016, 5600000)
    assert "32632" in frozen.source.crs_wkt


def test_relative_paths_become_absolute(qgis_new_project, make_raster, monkeypatch) -> None:
    path = make_raster()
    monkeypatch.chdir(path.parent)
    assert freeze_raster(QgsRasterLayer("image.tif", "image")).source.uri == str(path)


def test_limits_of_the_style_are_taken(qgis_new_project, make_raster) -> None:
    layer = QgsRasterLayer(str(make_raster(bands=4, data_type=gdal.GDT_UInt16)), "image")
    renderer = QgsMultiBandColorRenderer(layer.dataProvider(), 4, 2, 1)
    linear = QgsContrastEnhancement.ContrastEnhancementAlgorithm.StretchToMinimumMaximum
    for band, setter in (
        (4, renderer.setRedContrastEnhancement),
        (2, renderer.setGreenContrastEnhancement),
        (1, renderer.setBlueContrastEnhancement),
    ):
        enhancement = QgsContrastEnhancement(layer.dataProvider().dataType(band))
        enhancement.setContrastEnhancementAlgorithm(linear)
        enhancement.setMinimumValue(10.0 * band)
        enhancement.setMaximumValue(100.0 * band)
        setter(enhancement)
    layer.setRenderer(renderer)
    frozen = freeze_raster(layer)
    assert frozen.source.bands == (4, 2, 1)
    assert frozen.source.stretch.limits == ((40, 400), (20, 200), (10, 100))
    # Band 3 is not shown, so the style has no limits for it.
    other = freeze_raster(layer, (1, 2, 3))
    assert other.source.stretch.kind is StretchKind.PERCENTILES
    assert len(other.notes) == 1


def test_limits_and_nodata_count_after_scale_and_offset(qgis_new_project, make_raster) -> None:
    path = make_raster(bands=1, data_type=gdal.GDT_UInt16)
    dataset = gdal.Open(str(path), gdal.GA_Update)
    dataset.GetRasterBand(1).SetScale(0.5)
    dataset.GetRasterBand(1).SetOffset(10.0)
    del dataset
    layer = QgsRasterLayer(str(path), "image")
    layer.dataProvider().setUserNoDataValue(1, [QgsRasterRange(12.0, 12.0)])
    enhancement = layer.renderer().contrastEnhancement()
    assert (enhancement.minimumValue(), enhancement.maximumValue()) == (10.5, 49.0)
    frozen = freeze_raster(layer)
    assert frozen.source.stretch.limits == ((10.5, 49.0),)
    assert frozen.source.nodata == (12.0,)


def test_other_stretches_are_left_to_the_engine(raster_layer) -> None:
    stretch = freeze_raster(raster_layer, (), StretchKind.MINMAX).source.stretch
    assert (stretch.kind, stretch.limits) == (StretchKind.MINMAX, ())


def test_custom_crs_travels_as_text(qgis_new_project, make_raster) -> None:
    layer = QgsRasterLayer(str(make_raster(epsg=0)), "image")
    assert freeze_raster(layer).source.crs_wkt == ""
    crs = QgsCoordinateReferenceSystem.fromProj("+proj=tmerc +lon_0=9.123 +ellps=bessel +units=ft")
    layer.setCrs(crs)
    assert crs.authid() == ""
    wkt = freeze_raster(layer).source.crs_wkt
    assert QgsCoordinateReferenceSystem.fromWkt(wkt) == crs
    assert "9.123" in wkt


def test_layers_in_memory_need_a_snapshot(qgis_new_project, make_raster) -> None:
    data = make_raster().read_bytes()
    gdal.FileFromMemBuffer("/vsimem/image.tif", data)
    try:
        frozen = freeze_raster(QgsRasterLayer("/vsimem/image.tif", "image"))
        assert frozen.needs_snapshot
        assert frozen.source.uri == ""
        assert frozen.renderer is None
    finally:
        gdal.Unlink("/vsimem/image.tif")


@pytest.mark.parametrize("more", ["|option:OVERVIEW_LEVEL=0", " authcfg='abc1234'"])
def test_what_only_qgis_can_open_needs_a_snapshot(qgis_new_project, make_raster, more) -> None:
    """Another program would read another grid, or be refused."""
    path = make_raster(size=64, data_type=gdal.GDT_UInt16)
    dataset = gdal.Open(str(path), gdal.GA_Update)
    dataset.BuildOverviews("NEAREST", [2])
    del dataset
    layer = QgsRasterLayer(f"{path}{more}", "image")
    if not layer.isValid():
        pytest.skip("this QGIS cannot open it either")
    frozen = freeze_raster(layer)
    assert frozen.needs_snapshot
    assert frozen.source.uri == ""
    assert frozen.columns == layer.width()


def test_virtual_rasters_need_a_snapshot(virtual_layer) -> None:
    frozen = freeze_raster(virtual_layer)
    assert frozen.needs_snapshot
    assert frozen.renderer is None
    assert (frozen.columns, frozen.rows) == (8, 8)


def test_tile_layers_are_pictures(qgis_new_project, tile_server) -> None:
    frozen = freeze_raster(QgsRasterLayer(tile_server.source(), "tiles", "wms"))
    assert frozen.needs_snapshot
    assert frozen.renderer is not None
    assert (frozen.columns, frozen.rows) == (0, 0)
    assert len(frozen.resolutions) == 19
    assert frozen.source.bands == ()


def test_a_deleted_layer_does_not_matter(qgis_new_project, make_raster) -> None:
    layer = QgsRasterLayer(str(make_raster()), "image")
    frozen = freeze_raster(layer)
    del layer
    assert frozen.extent.width() == 16


def test_an_invalid_layer_is_refused(qgis_new_project) -> None:
    with pytest.raises(JobError, match="'gone' cannot be read"):
        freeze_raster(QgsRasterLayer("/nowhere.tif", "gone"))


EXPECTED: dict[str, tuple[tuple[int, ...], StretchKind]] = {
    "derived__feet_crs.tif": ((1, 2, 3), StretchKind.LAYER),
    "derived__huge_sparse_60000.tif": ((1, 2, 3), StretchKind.LAYER),
    "derived__no_crs.tif": ((1, 2, 3), StretchKind.LAYER),
    "derived__rotated30.tif": ((1, 2, 3), StretchKind.LAYER),
    "rasterio__float_nan.tif": ((1,), StretchKind.LAYER),
    "rio-color__rgb16.tif": ((1, 2, 3), StretchKind.LAYER),
    "rio-tiler__cog_cmap.tif": ((), StretchKind.NONE),
    "rio-tiler__cog_int16.tif": ((1,), StretchKind.LAYER),
    "rio-tiler__inverted_lat.tif": ((1,), StretchKind.PERCENTILES),
    "rasterio__RGBA.uint16.tif": ((1, 2, 3), StretchKind.PERCENTILES),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_odd_geotiffs_freeze(qgis_new_project, odd_geotiffs: Path, name: str) -> None:
    layer = QgsRasterLayer(str(odd_geotiffs / name), name)
    frozen = freeze_raster(layer)
    assert (frozen.source.bands, frozen.source.stretch.kind) == EXPECTED[name]
    assert frozen.source.uri == os.fspath(odd_geotiffs / name)
    assert (frozen.source.crs_wkt == "") == (not layer.crs().isValid())
    assert all(low < high for low, high in frozen.source.stretch.limits)


@pytest.fixture
def virtual_layer(qgis_new_project: None, make_raster: Callable[..., Path]) -> QgsRasterLayer:
    """Twice the second band of an image, as a formula."""
    return make_virtual_layer(QgsRasterLayer(str(make_raster()), "image"))
