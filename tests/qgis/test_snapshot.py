"""Snapshots hold the pixels of the layer, and missing tiles never pass in silence."""

from __future__ import annotations

import math
import threading
from pathlib import Path

import pytest
from osgeo import gdal
from qgis.core import (
    QgsCoordinateTransformContext,
    QgsFeature,
    QgsFeedback,
    QgsGeometry,
    QgsRasterLayer,
    QgsRectangle,
    QgsVectorLayer,
)
from qgis_layers import make_virtual_layer, tile_extent, tile_size

from geoseg_qgis.layers.placement import Placement
from geoseg_qgis.layers.snapshot import (
    LARGEST_UNASKED,
    freeze_polygons,
    plan_snapshot,
    write_polygons,
    write_snapshot,
)
from geoseg_qgis.layers.source import freeze_raster
from geoseg_qgis.protocol.errors import CancelledError, ErrorCode, JobError

TRANSFORMS = QgsCoordinateTransformContext()


def pixel(path: str, band: int, column: int, row: int) -> int:
    """Return one value of a raster file."""
    dataset = gdal.Open(path)
    return dataset.GetRasterBand(band).ReadRaster(column, row, 1, 1, buf_type=gdal.GDT_Byte)[0]


def test_tiles_land_on_their_pixels(qgis_new_project, tile_server, tmp_path) -> None:
    frozen = freeze_raster(QgsRasterLayer(tile_server.source(), "tiles", "wms"))
    plan = plan_snapshot(frozen, tile_extent(12, 2100, 1300, 2), tile_size(12) / 256)
    assert (plan.columns, plan.rows) == (512, 512)
    snapshot = write_snapshot(frozen, plan, tmp_path / "a.tif", TRANSFORMS, QgsFeedback())
    source = snapshot.source
    assert snapshot.missing == 0.0
    assert (source.bands, source.alpha_band) == ((1, 2, 3), 4)
    assert source.name == "tiles"
    for column, row in ((0, 0), (1, 0), (0, 1), (1, 1)):
        colour = [
            pixel(source.uri, band, 256 * column + 128, 256 * row + 128) for band in (1, 2, 3, 4)
        ]
        assert colour == [(2100 + column) % 256, (1300 + row) % 256, 7, 255]
    transform = gdal.Open(source.uri).GetGeoTransform()
    assert transform[0] == pytest.approx(plan.extent.xMinimum())
    assert transform[1] == pytest.approx(tile_size(12) / 256)


def test_missing_tiles_are_asked_for_twice_and_counted(
    qgis_new_project, tile_server, tmp_path
) -> None:
    tile_server.refuse = lambda _zoom, column, _row: column % 2 == 1
    frozen = freeze_raster(QgsRasterLayer(tile_server.source(), "tiles", "wms"))
    plan = plan_snapshot(frozen, tile_extent(12, 2100, 1300, 4), tile_size(12) / 256)
    snapshot = write_snapshot(frozen, plan, tmp_path / "a.tif", TRANSFORMS, QgsFeedback())
    assert snapshot.missing == pytest.approx(0.5)
    assert tile_server.requests.count((12, 2101, 1300)) >= 2
    assert pixel(snapshot.source.uri, 4, 300, 10) == 0
    assert pixel(snapshot.source.uri, 4, 10, 10) == 255


def test_a_dead_server_is_an_error(qgis_new_project, tile_server, tmp_path) -> None:
    tile_server.refuse = lambda *_: True
    frozen = freeze_raster(QgsRasterLayer(tile_server.source(), "tiles", "wms"))
    plan = plan_snapshot(frozen, tile_extent(10, 500, 300), tile_size(10) / 256)
    with pytest.raises(JobError, match="'tiles' sent nothing") as caught:
        write_snapshot(frozen, plan, tmp_path / "a.tif", TRANSFORMS, QgsFeedback())
    assert caught.value.code is ErrorCode.SOURCE_UNREADABLE


def test_resolution_is_chosen_from_the_zoom_levels(qgis_new_project, tile_server) -> None:
    frozen = freeze_raster(QgsRasterLayer(tile_server.source(18), "tiles", "wms"))
    small = plan_snapshot(frozen, tile_extent(18, 140000, 90000), None)
    assert small.resolution == pytest.approx(tile_size(18) / 256)
    assert (small.columns, small.rows) == (256, 256)
    large = plan_snapshot(frozen, tile_extent(10, 500, 300), None)
    assert large.resolution == pytest.approx(tile_size(14) / 256)
    assert large.columns * large.rows == LARGEST_UNASKED
    assert "4096 x 4096 pixels" in large.description
    assert "EPSG:3857" in large.description


def test_the_whole_world_is_not_pictured_unasked(qgis_new_project, tile_server) -> None:
    frozen = freeze_raster(QgsRasterLayer(tile_server.source(), "tiles", "wms"))
    with pytest.raises(JobError, match=r"would have pixels of [\d,]+ m. Give an extent") as caught:
        plan_snapshot(frozen, None, None)
    assert caught.value.code is ErrorCode.RESOLUTION_UNUSABLE
    # Whoever asks for it gets it.
    coarse = tile_size(4) / 256
    assert plan_snapshot(frozen, None, coarse).columns == 4096
    assert plan_snapshot(frozen, tile_extent(4, 8, 5), None).columns > 0


def test_absurd_resolutions_are_refused(qgis_new_project, tile_server) -> None:
    frozen = freeze_raster(QgsRasterLayer(tile_server.source(), "tiles", "wms"))
    with pytest.raises(JobError) as caught:
        plan_snapshot(frozen, None, 1.0)
    assert caught.value.code is ErrorCode.RESOLUTION_UNUSABLE
    with pytest.raises(JobError) as caught:
        plan_snapshot(frozen, QgsRectangle(9e7, 9e7, 9.1e7, 9.1e7), None)
    assert caught.value.code is ErrorCode.EXTENT_OUTSIDE


def test_cancel_acts_while_the_server_is_slow(qgis_new_project, tile_server, tmp_path) -> None:
    tile_server.seconds = 30.0
    frozen = freeze_raster(QgsRasterLayer(tile_server.source(), "tiles", "wms"))
    plan = plan_snapshot(frozen, tile_extent(12, 2100, 1300, 4), tile_size(12) / 256)
    feedback = QgsFeedback()
    timer = threading.Timer(0.5, feedback.cancel)
    timer.start()
    with pytest.raises(CancelledError):
        write_snapshot(frozen, plan, tmp_path / "a.tif", TRANSFORMS, feedback)
    assert tile_server.sent == 0


def test_snapshots_can_be_taken_in_a_thread(qgis_new_project, tile_server, tmp_path) -> None:
    layer = QgsRasterLayer(tile_server.source(), "tiles", "wms")
    frozen = freeze_raster(layer)
    plan = plan_snapshot(frozen, tile_extent(12, 2100, 1300), tile_size(12) / 256)
    del layer
    found = []

    def work() -> None:
        found.append(write_snapshot(frozen, plan, tmp_path / "a.tif", TRANSFORMS, QgsFeedback()))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(60)
    assert found[0].missing == 0.0
    assert pixel(found[0].source.uri, 1, 100, 100) == 2100 % 256


def test_virtual_rasters_keep_their_values(qgis_new_project, make_raster, tmp_path) -> None:
    frozen = freeze_raster(make_virtual_layer(QgsRasterLayer(str(make_raster()), "image")))
    plan = plan_snapshot(frozen, QgsRectangle(500004, 5599990, 500010, 5599998), None)
    assert (plan.columns, plan.rows) == (3, 4)
    snapshot = write_snapshot(frozen, plan, tmp_path / "v.tif", TRANSFORMS, QgsFeedback())
    dataset = gdal.Open(snapshot.source.uri)
    # Pixel (row 1, column 2) of the image: band 2 holds 1 * 10 + 2 + 2, doubled by the formula.
    values = dataset.ReadAsArray()
    assert values.tolist() == [
        [2.0 * (10 * row + column + 2) for column in (2, 3, 4)] for row in (1, 2, 3, 4)
    ]
    assert dataset.GetGeoTransform() == (500004.0, 2.0, 0.0, 5599998.0, 0.0, -2.0)


def test_layers_in_memory_keep_all_bands(qgis_new_project, make_raster, tmp_path) -> None:
    path = make_raster(bands=5, data_type=gdal.GDT_UInt16)
    gdal.FileFromMemBuffer("/vsimem/five.tif", path.read_bytes())
    try:
        frozen = freeze_raster(QgsRasterLayer("/vsimem/five.tif", "five"), (5, 3, 1))
        plan = plan_snapshot(frozen, None, None)
        snapshot = write_snapshot(frozen, plan, tmp_path / "m.tif", TRANSFORMS, QgsFeedback())
    finally:
        gdal.Unlink("/vsimem/five.tif")
    assert snapshot.source.bands == (5, 3, 1)
    assert (
        gdal.Open(snapshot.source.uri).ReadAsArray() == gdal.Open(str(path)).ReadAsArray()
    ).all()


def test_polygons_are_written_with_their_crs(qgis_new_project, tmp_path: Path) -> None:
    layer = QgsVectorLayer("Polygon?crs=EPSG:31370&field=id:integer", "parcels", "memory")
    feature = QgsFeature(layer.fields())
    feature.setGeometry(QgsGeometry.fromRect(QgsRectangle(0, 0, 30, 10)))
    layer.dataProvider().addFeature(feature)
    frozen = freeze_polygons(layer)
    del layer
    source = write_polygons(
        frozen,
        tmp_path / "regions.gpkg",
        Placement(frozen.crs, frozen.crs, TRANSFORMS),
        QgsFeedback(),
    )
    written = QgsVectorLayer(f"{source.path}|layername={source.layer}", "regions", "ogr")
    areas = [item.geometry().area() for item in written.getFeatures()]
    assert areas == [300.0]
    assert written.crs().authid() == "EPSG:31370"
    assert "31370" in source.crs_wkt


def test_grid_of_a_snapshot_is_that_of_the_layer(qgis_new_project, make_raster) -> None:
    frozen = freeze_raster(QgsRasterLayer(str(make_raster()), "image"))
    plan = plan_snapshot(frozen, QgsRectangle(500003.0, 5599987.0, 500005.0, 5599989.0), None)
    assert plan.extent == QgsRectangle(500002, 5599986, 500006, 5599990)
    assert (plan.columns, plan.rows) == (2, 2)
    assert math.isclose(plan.resolution, 2.0)
