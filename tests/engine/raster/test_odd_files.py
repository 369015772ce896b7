"""The shared odd GeoTIFFs: results lie exactly on them, and none costs much."""

from __future__ import annotations

import json
import resource
import warnings
from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.windows import Window
from rasters import SHARED

from geoseg_qgis.engine.raster.grid import model_grid, output_grid
from geoseg_qgis.engine.raster.source import open_raster
from geoseg_qgis.engine.raster.stretch import measure_stretch
from geoseg_qgis.engine.raster.write import ClassRasterWriter
from geoseg_qgis.protocol.errors import ErrorCode, JobError
from geoseg_qgis.protocol.legend import parse_classes
from geoseg_qgis.protocol.source import GridRequest, RasterSource
from scripts.preview import write_preview

pytestmark = pytest.mark.skipif(not SHARED.exists(), reason="the shared odd GeoTIFFs are absent")
LEGEND = parse_classes("building =#ff0000; water =#0000ff")
HUGE = {"derived__huge_sparse_60000.tif", "rio-tiler__cog_world.tif", "rio-tiler__cog_cmap.tif"}
CONTROL_POINTS = "rio-tiler__cog_gcps_ovr.tif"
CORRUPT = "rasterio__corrupt.tif"


def listed() -> list[str]:
    manifest = SHARED.parents[1] / "manifest.json"
    if not manifest.exists():
        return []
    entries = json.loads(manifest.read_text(encoding="utf-8"))
    return sorted(Path(e["image"]).name for e in entries if e["set"] == "odd_geotiffs")


def test_the_manifest_lists_files() -> None:
    assert len(listed()) >= 28


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in listed() if name not in HUGE])
def test_results_lie_on_the_pixels_of_the_source(name: str, tmp_path: Path) -> None:
    path = tmp_path / "classes.tif"
    with open_raster(RasterSource(str(SHARED / name))) as raster:
        grid = output_grid(raster.grid, GridRequest())
        with ClassRasterWriter(path, grid, LEGEND, {}) as writer:
            writer.write(Window(0, 0, grid.width, 1), np.ones((1, grid.width), np.uint8))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(SHARED / name) as source, rasterio.open(path) as result:
            if name == CONTROL_POINTS:
                assert result.crs == source.gcps[1]
                assert result.shape == (1071, 1417)
                return
            assert result.transform.almost_equals(source.transform, precision=1e-12)
            assert result.crs == source.crs
            assert result.shape == source.shape


@pytest.mark.parametrize("name", [name for name in listed() if name not in {*HUGE, CORRUPT}])
def test_values_and_masks_are_those_of_the_file(name: str) -> None:
    with open_raster(RasterSource(str(SHARED / name))) as raster:
        grid = raster.grid
        window = Window(0, 0, min(grid.width, 600), min(grid.height, 600))
        patch = raster.read(grid, window)
        shown = measure_stretch(raster, grid, RasterSource("").stretch).apply(
            patch.values, patch.valid
        )
    assert shown.shape == (3, window.height, window.width)
    if name == CONTROL_POINTS:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with rasterio.open(SHARED / name) as dataset:
            raw = dataset.read(list(raster.bands), window=window)
    values = np.abs(raw).astype(np.float32)
    if not np.iscomplexobj(raw):
        values = raw.astype(np.float32)
    np.testing.assert_array_equal(patch.values[:, patch.valid], values[:, patch.valid])


@pytest.mark.parametrize("name", ["rasterio__cogeo.tif", "rio-tiler__cog_rgb_mask.tif"])
def test_validity_is_gdals_dataset_mask(name: str) -> None:
    with open_raster(RasterSource(str(SHARED / name))) as raster:
        grid = raster.grid
        patch = raster.read(grid, Window(0, 0, grid.width, grid.height))
    with rasterio.open(SHARED / name) as dataset:
        np.testing.assert_array_equal(patch.valid, dataset.dataset_mask() > 0)


def test_transparent_shares() -> None:
    shares = {
        "rio-tiler__pix4d_alpha_nodata.tif": 0.87565,
        "rasterio__RGBA.uint16.tif": 0.48860,
        "naip_chesapeake_260.tif": 1.0,
        "naip_m_4709963_se_14_1_20100629_crop.tif": 1.0,
    }
    for name, share in shares.items():
        with open_raster(RasterSource(str(SHARED / name))) as raster:
            grid = raster.grid
            patch = raster.read(grid, Window(0, 0, grid.width, grid.height))
        assert patch.valid.mean() == pytest.approx(share, abs=2e-3), name


def test_feet_are_converted() -> None:
    with open_raster(RasterSource(str(SHARED / "derived__feet_crs.tif"))) as raster:
        assert raster.grid.ground_pixel_size() == pytest.approx((0.100584,) * 2, abs=1e-6)
        assert model_grid(raster.grid, raster.grid, 0.2).shape == (151, 151)


def test_oblong_pixels_become_square() -> None:
    with open_raster(RasterSource(str(SHARED / "naip_chesapeake_260.tif"))) as raster:
        model = model_grid(raster.grid, raster.grid, None)
    size = model.ground_pixel_size()
    assert size is not None
    assert size[0] == pytest.approx(size[1], rel=0.01)
    assert model.shape == (260, 208)


def test_a_corrupt_tile_is_an_error_and_its_neighbours_are_read() -> None:
    with open_raster(RasterSource(str(SHARED / CORRUPT))) as raster:
        assert raster.read(raster.grid, Window(0, 0, 400, 400)).valid.all()
        with pytest.raises(JobError) as caught:
            raster.read(raster.grid, Window(500, 500, 500, 500))
    assert caught.value.code is ErrorCode.SOURCE_UNREADABLE
    assert "IReadBlock failed" in caught.value.message


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(HUGE))
def test_huge_files_cost_little_memory(name: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with open_raster(RasterSource(str(SHARED / name))) as raster:
        grid = raster.grid
        sample = raster.sample(grid)
        overview = raster.read(grid.rescaled(300, 300), Window(0, 0, 300, 300))
        raster.read(grid, Window(grid.width // 2, grid.height // 2, 1024, 1024))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000
    assert sample.valid.any()
    assert overview.values.shape == (3, 300, 300)


def test_the_one_tile_of_a_sparse_file_is_found() -> None:
    path = SHARED / "derived__huge_sparse_60000.tif"
    with open_raster(RasterSource(str(path))) as raster:
        patch = raster.read(raster.grid, Window(30000, 30000, 1024, 1024))
        empty = raster.has_data(raster.grid, Window(0, 0, 20000, 20000))
    rows, columns = np.nonzero(patch.valid)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (208, 719, 208, 719)
    assert not empty


def test_a_preview_shows_image_and_classes(tmp_path: Path) -> None:
    source = SHARED / "derived__rotated30.tif"
    with open_raster(RasterSource(str(source))) as raster:
        classes = np.zeros(raster.grid.shape, np.uint8)
        classes[:350] = 1
        with ClassRasterWriter(tmp_path / "c.tif", raster.grid, LEGEND, {}) as writer:
            writer.write(Window(0, 0, 700, 700), classes)
    write_preview(source, tmp_path / "c.tif", LEGEND, tmp_path / "p.png", size=350)
    picture = np.asarray(Image.open(tmp_path / "p.png")).astype(int)
    left, right = picture[12:362, 12:362], picture[12:362, 374:724]
    np.testing.assert_array_equal(left[175:], right[175:])
    blended = left[:175] * 0.45 + np.array([255, 0, 0]) * 0.55
    assert np.abs(right[:175] - blended).max() <= 1
