"""Writers: pixels, styles, tags, and nothing half-written."""

from __future__ import annotations

import resource
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.windows import Window

from geoseg_qgis.engine.raster.grid import Grid
from geoseg_qgis.engine.raster.write import (
    ClassRasterWriter,
    RegionRasterWriter,
    ScoresWriter,
    read_legend,
    read_scores_legend,
)
from geoseg_qgis.protocol.errors import ErrorCode, JobError
from geoseg_qgis.protocol.legend import parse_classes

LEGEND = parse_classes('building, roof =#ff0000; R&D <park> "x" =#00ff00; water =#0000ff')
GRID = Grid(
    Affine(0.5, 0, 300000, 0, -0.5, 5000000), 600, 500, rasterio.crs.CRS.from_epsg(32633).to_wkt()
)
MADE = {"method": "gumix", "model": "tiny"}


def test_a_class_raster_holds_pixels_place_colours_and_provenance(tmp_path: Path) -> None:
    path = tmp_path / "classes.tif"
    classes = np.random.default_rng(0).integers(0, 4, GRID.shape).astype(np.uint8)
    with ClassRasterWriter(path, GRID, LEGEND, MADE) as writer:
        writer.write(Window(0, 0, 600, 300), classes[:300])
        writer.write(Window(0, 300, 600, 200), classes[300:])
        assert not path.exists()
    with rasterio.open(path) as dataset:
        np.testing.assert_array_equal(dataset.read(1), classes)
        assert dataset.transform == GRID.transform
        assert dataset.crs.to_epsg() == 32633
        assert dataset.nodata == 0
        assert dataset.profile["tiled"]
        assert dataset.profile["compress"] == "deflate"
        assert dataset.colormap(1)[1] == (255, 0, 0, 255)
        assert dataset.colormap(1)[3] == (0, 0, 255, 255)
        assert dataset.tags()["GEOSEG_METHOD"] == "gumix"
        assert dataset.tags()["GEOSEG_MODEL"] == "tiny"
    assert read_legend(path) == LEGEND
    names = sorted(file.name for file in tmp_path.iterdir())
    assert names == ["classes.qml", "classes.tif", "classes.tif.aux.xml"]


def test_the_style_lists_exactly_the_classes(tmp_path: Path) -> None:
    with ClassRasterWriter(tmp_path / "a.tif", GRID, LEGEND, {}):
        pass
    style = (tmp_path / "a.qml").read_text(encoding="utf-8")
    assert style.count("<paletteEntry") == 3
    assert 'label="R&amp;D &lt;park&gt; &quot;x&quot;"' in style
    sidecar = (tmp_path / "a.tif.aux.xml").read_text(encoding="utf-8")
    assert sidecar.count("<Category>") == 4
    assert sidecar.count("<Row ") == 3


def test_pixels_that_were_never_written_are_nodata(tmp_path: Path) -> None:
    with ScoresWriter(tmp_path / "s.tif", GRID, LEGEND, {}):
        pass
    with rasterio.open(tmp_path / "s.tif") as dataset:
        assert (dataset.read() == 255).all()


def test_scores_come_back_within_half_a_step(tmp_path: Path) -> None:
    path = tmp_path / "scores.tif"
    scores = np.random.default_rng(0).random((3, *GRID.shape)).astype(np.float32)
    valid = np.random.default_rng(1).random(GRID.shape) > 0.1
    with ScoresWriter(path, GRID, LEGEND, MADE) as writer:
        writer.write(Window(0, 0, 600, 500), scores, valid)
    with rasterio.open(path) as dataset:
        raw = dataset.read()
        assert dataset.descriptions == tuple(item.name for item in LEGEND)
        back = raw * np.array(dataset.scales)[:, None, None]
        np.testing.assert_array_equal(raw[0] == dataset.nodata, ~valid)
        np.testing.assert_allclose(back[:, valid], scores[:, valid], atol=0.5 / 254 + 1e-6)
        assert dataset.tags(2)["COLOR"] == "#00ff00"
    assert read_scores_legend(path) == LEGEND


def test_region_numbers_are_whole_and_large(tmp_path: Path) -> None:
    ids = np.arange(600 * 500, dtype=np.int32).reshape(500, 600) * 1000
    with RegionRasterWriter(tmp_path / "r.tif", GRID, {}) as writer:
        writer.write(Window(0, 0, 600, 500), ids)
    with rasterio.open(tmp_path / "r.tif") as dataset:
        np.testing.assert_array_equal(dataset.read(1), ids)


@pytest.mark.slow
def test_large_rasters_get_overviews_of_the_commonest_class(tmp_path: Path) -> None:
    grid = Grid(GRID.transform, 2304, 2304, GRID.crs_wkt)
    classes = np.ones((2304, 2304), np.uint8)
    classes[::2, ::2] = 2
    with ClassRasterWriter(tmp_path / "a.tif", grid, LEGEND, {}) as writer:
        writer.write(Window(0, 0, 2304, 2304), classes)
    with rasterio.open(tmp_path / "a.tif") as dataset:
        assert dataset.overviews(1) == [2, 4, 8]
        assert (dataset.read(1, out_shape=(1152, 1152)) == 1).all()


def test_no_georeference_stays_none(tmp_path: Path) -> None:
    grid = Grid(Affine(1, 0, 0, 0, -1, 0), 30, 20, "")
    with ClassRasterWriter(tmp_path / "a.tif", grid, LEGEND, {}):
        pass
    with pytest.warns(rasterio.errors.NotGeoreferencedWarning):
        dataset = rasterio.open(tmp_path / "a.tif")
    with dataset:
        assert dataset.transform == Affine.identity()


def test_an_error_keeps_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_text("precious")

    def fail() -> None:
        with ClassRasterWriter(path, GRID, LEGEND, {}) as writer:
            writer.write(Window(0, 0, 600, 500), np.ones(GRID.shape, np.uint8))
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert path.read_text() == "precious"
    assert [file.name for file in tmp_path.iterdir()] == ["a.tif"]


def test_a_result_replaces_old_overviews(tmp_path: Path) -> None:
    (tmp_path / "a.tif.ovr").write_text("old")
    with RegionRasterWriter(tmp_path / "a.tif", GRID, {}):
        pass
    assert [file.name for file in tmp_path.iterdir()] == ["a.tif"]


@pytest.mark.parametrize("name", ["none/a.tif", "file/a.tif", "folder"])
def test_places_that_cannot_be_written(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    with (
        pytest.raises(JobError) as caught,
        ClassRasterWriter(tmp_path / name, GRID, LEGEND, {}) as writer,
    ):
        writer.write(Window(0, 0, 600, 500), np.ones(GRID.shape, np.uint8))
    assert caught.value.code is ErrorCode.OUTPUT_UNWRITABLE
    assert sorted(file.name for file in tmp_path.iterdir()) == ["file", "folder"]


@pytest.mark.parametrize("limit", [1_000, 30_000, 70_000])
def test_a_full_disk_is_noticed_although_gdal_only_logs_it(tmp_path: Path, limit: int) -> None:
    noise = np.random.default_rng(0).integers(0, 4, GRID.shape).astype(np.uint8)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        with (
            pytest.raises(JobError) as caught,
            ClassRasterWriter(tmp_path / "a.tif", GRID, LEGEND, {}) as writer,
        ):
            writer.write(Window(0, 0, 600, 500), noise)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.code is ErrorCode.DISK_FULL
    assert list(tmp_path.iterdir()) == []


def test_rasters_without_classes_are_refused(tmp_path: Path) -> None:
    with RegionRasterWriter(tmp_path / "r.tif", GRID, {}):
        pass
    with pytest.raises(JobError) as caught:
        read_scores_legend(tmp_path / "r.tif")
    assert caught.value.code is ErrorCode.INVALID_JOB
    with pytest.raises(JobError) as caught:
        read_legend(tmp_path / "none.tif")
    assert caught.value.code is ErrorCode.SOURCE_UNREADABLE
