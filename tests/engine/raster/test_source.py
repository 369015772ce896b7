"""Reading: positions, averages, masks, bands, damage."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp
from rasterio.windows import Window
from rasters import gradient, write

from geoseg_qgis.engine.raster.grid import Grid
from geoseg_qgis.engine.raster.source import Patch, open_raster
from geoseg_qgis.protocol.errors import ErrorCode, JobError
from geoseg_qgis.protocol.source import RasterSource


def read_all(path: Path, **source: object) -> Patch:
    with open_raster(RasterSource(str(path), **source)) as raster:  # type: ignore[arg-type]
        return raster.read(raster.grid, Window(0, 0, raster.grid.width, raster.grid.height))


def test_source_pixels_come_unchanged(tmp_path: Path) -> None:
    values = np.random.default_rng(1).integers(0, 256, (3, 20, 30), dtype=np.uint8)
    patch = read_all(write(tmp_path / "a.tif", values))
    np.testing.assert_array_equal(patch.values, values)
    assert patch.values.dtype == np.float32
    assert patch.valid.all()


def test_a_window_may_reach_outside(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", gradient(20, 30))
    with open_raster(RasterSource(str(path))) as raster:
        patch = raster.read(raster.grid, Window(-5, 15, 10, 10))
        outside = raster.read(raster.grid, Window(40, 0, 4, 4))
    inside = np.zeros((10, 10), bool)
    inside[:5, 5:] = True
    np.testing.assert_array_equal(patch.valid, inside)
    np.testing.assert_array_equal(patch.values[0][inside], np.tile(np.arange(5) + 0.5, 5))
    assert (patch.values[:, ~inside] == 0).all()
    assert not outside.valid.any()


def test_coarser_pixels_are_means_of_valid_ones(tmp_path: Path) -> None:
    values = np.random.default_rng(2).random((3, 12, 18)).astype(np.float32) + 1.0
    holes = np.random.default_rng(3).random((12, 18)) < 0.2
    stored = np.where(holes, np.float32(-9999.0), values)
    path = write(tmp_path / "a.tif", stored, nodata=-9999.0)
    with open_raster(RasterSource(str(path))) as raster:
        patch = raster.read(raster.grid.rescaled(6, 4), Window(0, 0, 6, 4))
    blocks = values.reshape(3, 4, 3, 6, 3)
    weights = (~holes).reshape(4, 3, 6, 3)
    count = weights.sum(axis=(1, 3))
    expected = (blocks * weights).sum(axis=(2, 4)) / np.maximum(count, 1)
    np.testing.assert_array_equal(patch.valid, count >= 4.5)
    np.testing.assert_allclose(patch.values[:, patch.valid], expected[:, patch.valid], rtol=1e-5)


@pytest.mark.slow
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.sampled_from([0.25, 0.5, 2.0, 4.0, 5.0]), st.integers(0, 20), st.integers(0, 20))
def test_positions_are_exact_at_any_scale(
    gradients: Path, scale: float, left: int, top: int
) -> None:
    with open_raster(RasterSource(str(gradients))) as raster:
        size = round(200 / scale)
        grid = raster.grid.rescaled(size, size)
        patch = raster.read(grid, Window(left, top, 16, 12))
    columns = (np.arange(left, left + 16) + 0.5) * scale
    rows = (np.arange(top, top + 12) + 0.5) * scale
    # The outermost half pixel is extrapolated from one side.
    inner = (columns > 1.0) & (columns < 199.0)
    np.testing.assert_allclose(patch.values[0][6][inner], columns[inner], atol=0.01)
    inner = (rows > 1.0) & (rows < 199.0)
    np.testing.assert_allclose(patch.values[1][inner, 8], rows[inner], atol=0.01)


@pytest.fixture(scope="module")
def gradients(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("gradient") / "g.tif", gradient(200, 200))


def test_odd_ratios_have_no_shift_on_average(gradients: Path) -> None:
    with open_raster(RasterSource(str(gradients))) as raster:
        grid = raster.grid.rescaled(130, 77)
        patch = raster.read(grid, Window(0, 0, 130, 77))
    columns = (np.arange(130) + 0.5) * 200 / 130
    rows = (np.arange(77) + 0.5) * 200 / 77
    assert abs(float((patch.values[0] - columns).mean())) < 0.01
    assert abs(float((patch.values[1] - rows[:, None]).mean())) < 0.01
    assert patch.valid.all()


def test_parts_equal_the_whole(gradients: Path) -> None:
    with open_raster(RasterSource(str(gradients))) as raster:
        grid = raster.grid.rescaled(70, 90)
        whole = raster.read(grid, Window(0, 0, 70, 90))
        part = raster.read(grid, Window(21, 33, 20, 30))
    np.testing.assert_allclose(part.values, whole.values[:, 33:63, 21:41], atol=1e-3)


def test_rotated_rasters_are_read_on_their_own_axes(tmp_path: Path) -> None:
    turned = Affine.translation(300000, 5000000) @ Affine.rotation(30) @ Affine.scale(0.5, -0.5)
    path = write(tmp_path / "a.tif", gradient(40, 60), transform=turned)
    with open_raster(RasterSource(str(path))) as raster:
        assert raster.grid.transform.almost_equals(turned)
        patch = raster.read(raster.grid.rescaled(30, 20), Window(2, 3, 4, 5))
    np.testing.assert_allclose(patch.values[0][0], [5, 7, 9, 11], atol=0.01)
    np.testing.assert_allclose(patch.values[1][:, 0], [7, 9, 11, 13, 15], atol=0.01)


def test_south_up_rasters_stay_south_up(tmp_path: Path) -> None:
    upside_down = Affine(0.5, 0, 300000, 0, 0.5, 5000000)
    path = write(tmp_path / "a.tif", gradient(8, 8), transform=upside_down)
    with open_raster(RasterSource(str(path))) as raster:
        patch = raster.read(raster.grid, Window(0, 0, 8, 8))
        assert raster.grid.transform == upside_down
    np.testing.assert_array_equal(patch.values[1][:, 0], np.arange(8) + 0.5)


def test_without_georeference_rows_run_downwards_from_zero(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", gradient(8, 9), crs=None, transform=Affine.identity())
    with open_raster(RasterSource(str(path))) as raster:
        assert raster.grid == Grid(Affine(1, 0, 0, 0, -1, 0), 9, 8, "")


def test_the_layers_crs_counts(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", gradient(8, 9))
    wkt = rasterio.crs.CRS.from_epsg(2249).to_wkt()
    with open_raster(RasterSource(str(path), crs_wkt=wkt)) as raster:
        assert raster.grid.crs_wkt == wkt


def test_zero_in_one_band_is_a_colour_in_bytes_and_nodata_in_others(tmp_path: Path) -> None:
    values = np.full((3, 2, 2), 9, np.uint8)
    values[0, 0, 0] = 0
    values[:, 1, 1] = 0
    patch = read_all(write(tmp_path / "a.tif", values, nodata=0))
    np.testing.assert_array_equal(patch.valid, [[True, True], [True, False]])
    patch = read_all(write(tmp_path / "b.tif", values.astype(np.int16), nodata=0))
    np.testing.assert_array_equal(patch.valid, [[False, True], [True, False]])


def test_declared_nodata_and_nan_are_invalid(tmp_path: Path) -> None:
    values = np.ones((1, 2, 3), np.float32)
    values[0, 0] = [np.nan, np.inf, 7.0]
    patch = read_all(write(tmp_path / "a.tif", values), nodata=(7.0,))
    np.testing.assert_array_equal(patch.valid, [[False] * 3, [True] * 3])
    assert np.isfinite(patch.values).all()


def test_alpha_and_nodata_combine(tmp_path: Path) -> None:
    values = np.full((4, 2, 2), 255, np.uint8)
    values[3, 0, 0] = 0
    values[:3, 1, 1] = 0
    path = write(
        tmp_path / "a.tif",
        values,
        nodata=0,
        photometric="RGB",
        alpha="YES",
    )
    patch = read_all(path)
    np.testing.assert_array_equal(patch.valid, [[False, True], [True, False]])


def test_near_infrared_that_is_called_alpha_is_no_mask(tmp_path: Path) -> None:
    values = np.random.default_rng(4).integers(1, 200, (4, 30, 30)).astype(np.uint8)
    values[3, 3, 3] = 0
    path = write(tmp_path / "a.tif", values, photometric="RGB", alpha="YES")
    patch = read_all(path)
    assert patch.valid.all()


def test_a_stored_mask_counts(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    write(path, np.full((3, 4, 4), 5, np.uint8))
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as dataset:
        dataset.write_mask(np.eye(4, dtype=np.uint8) * 255)
    np.testing.assert_array_equal(read_all(path).valid, np.eye(4, dtype=bool))


def test_a_snapshot_names_its_alpha_band(tmp_path: Path) -> None:
    values = np.full((4, 1, 3), 100, np.uint8)
    values[3] = [0, 7, 255]
    path = write(tmp_path / "a.tif", values)
    patch = read_all(path, alpha_band=4)
    np.testing.assert_array_equal(patch.valid, [[False, True, True]])


def test_bands_follow_colours_then_order(tmp_path: Path) -> None:
    def swap(dataset: rasterio.io.DatasetWriter) -> None:
        dataset.colorinterp = [ColorInterp.blue, ColorInterp.green, ColorInterp.red]

    values = np.stack([np.full((2, 2), band, np.uint16) for band in (1, 2, 3)])
    swapped = write(tmp_path / "a.tif", values, before=swap)
    five = write(tmp_path / "b.tif", np.stack([*values, *values[:2]]))
    two = write(tmp_path / "c.tif", values[:2])
    cases = {swapped: (3, 2, 1), five: (1, 2, 3), two: (1, 1, 1)}
    for path, bands in cases.items():
        with open_raster(RasterSource(str(path))) as raster:
            assert raster.bands == bands
    chosen = read_all(five, bands=(5, 3, 1)).values[:, 0, 0]
    np.testing.assert_array_equal(chosen, [2, 3, 1])
    np.testing.assert_array_equal(read_all(five, bands=(2,)).values[:, 0, 0], [2, 2, 2])


@pytest.mark.parametrize("bands", [(9, 1, 2), (0,), (1, 2)])
def test_bands_that_do_not_exist_are_refused(tmp_path: Path, bands: tuple[int, ...]) -> None:
    path = write(tmp_path / "a.tif", gradient(4, 4))
    with pytest.raises(JobError) as caught:
        read_all(path, bands=bands)
    assert caught.value.code is ErrorCode.INVALID_JOB


def test_palettes_become_colours_before_averaging(tmp_path: Path) -> None:
    def colour(dataset: rasterio.io.DatasetWriter) -> None:
        dataset.write_colormap(1, {0: (0, 0, 0, 0), 1: (200, 0, 0, 255), 2: (0, 100, 50, 255)})

    values = np.array([[[1, 2, 0, 1]]], np.uint8).repeat(2, axis=1)
    path = write(tmp_path / "a.tif", values, nodata=0, before=colour)
    with open_raster(RasterSource(str(path))) as raster:
        assert raster.is_palette
        full = raster.read(raster.grid, Window(0, 0, 4, 2))
        half = raster.read(raster.grid.rescaled(2, 1), Window(0, 0, 2, 1))
    np.testing.assert_array_equal(full.values[:, 0, 1], [0, 100, 50])
    np.testing.assert_array_equal(full.valid[0], [True, True, False, True])
    np.testing.assert_allclose(half.values[:, 0, 0], [100, 50, 25])
    np.testing.assert_allclose(half.values[:, 0, 1], [200, 0, 0])


def test_scale_and_offset_apply(tmp_path: Path) -> None:
    def scale(dataset: rasterio.io.DatasetWriter) -> None:
        dataset.scales, dataset.offsets = (0.1,), (5.0,)

    path = write(tmp_path / "a.tif", np.array([[[10, 20]]], np.int16), before=scale)
    np.testing.assert_allclose(read_all(path).values[0, 0], [6.0, 7.0], rtol=1e-6)


def test_complex_values_are_read_as_magnitudes(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", np.full((1, 2, 2), 3 + 4j, np.complex64))
    np.testing.assert_array_equal(read_all(path).values, 5.0)


def test_overviews_give_the_same_picture(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", gradient(512, 768), tiled=True, blockxsize=256, blockysize=256)
    with open_raster(RasterSource(str(path))) as raster:
        grid = raster.grid.rescaled(48, 32)
        before = raster.read(grid, Window(0, 0, 48, 32)).values
    with rasterio.open(path, "r+") as dataset:
        dataset.build_overviews([2, 4, 8], rasterio.enums.Resampling.average)
    with open_raster(RasterSource(str(path))) as raster:
        after = raster.read(grid, Window(0, 0, 48, 32)).values
    np.testing.assert_allclose(after, before, atol=0.01)


def test_blocks_that_were_never_written_are_invalid(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    with rasterio.open(
        path, "w", driver="GTiff", width=4096, height=4096, count=3, dtype="uint8",
        tiled=True, blockxsize=256, blockysize=256, compress="deflate", SPARSE_OK=True,
        crs="EPSG:32633", transform=Affine(0.5, 0, 0, 0, -0.5, 0),
    ) as dataset:  # fmt: skip
        dataset.write(np.full((3, 256, 256), 90, np.uint8), window=Window(512, 1024, 256, 256))
    with open_raster(RasterSource(str(path))) as raster:
        assert not raster.has_data(raster.grid, Window(0, 0, 512, 1024))
        assert raster.has_data(raster.grid, Window(500, 1000, 100, 100))
        patch = raster.read(raster.grid, Window(500, 1000, 100, 100))
        sample = raster.sample(raster.grid)
    expected = np.zeros((100, 100), bool)
    expected[24:, 12:] = True
    np.testing.assert_array_equal(patch.valid, expected)
    assert (sample.values[:, sample.valid] == 90).all()
    assert sample.valid.sum() == 256 * 256


def test_control_points_are_warped_like_qgis_does(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    corners = [(0, 0), (0, 60), (40, 0), (40, 60)]
    points = [
        GroundControlPoint(row, column, 300000 + column * 0.5, 5000000 - row * 0.5)
        for row, column in corners
    ]
    write(path, gradient(40, 60), crs=None, transform=Affine.identity())
    with rasterio.open(path, "r+") as dataset:
        dataset.gcps = (points, rasterio.crs.CRS.from_epsg(32633))
    with open_raster(RasterSource(str(path))) as raster:
        assert raster.grid.bounds == pytest.approx((300000, 4999980, 300030, 5000000), abs=0.1)
        assert "UTM zone 33N" in raster.grid.crs_wkt
        patch = raster.read(raster.grid, Window(10, 10, 5, 5))
    np.testing.assert_allclose(patch.values[0][0], np.arange(10, 15) + 0.5, atol=1.0)


def test_missing_and_broken_files_say_why(tmp_path: Path) -> None:
    broken = tmp_path / "broken.tif"
    broken.write_bytes(b"II*\x00 this is not a raster")
    for path in (tmp_path / "none.tif", broken):
        with pytest.raises(JobError) as caught:
            read_all(path)
        assert caught.value.code is ErrorCode.SOURCE_UNREADABLE
        assert path.name in str(caught.value)


def test_a_truncated_file_fails_where_it_is_cut_and_only_there(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 9, (1, 512, 512)).astype(np.uint16)
    path = write(
        tmp_path / "a.tif", values,
        tiled=True, blockxsize=256, blockysize=256, interleave="band",
    )  # fmt: skip
    content = path.read_bytes()
    path.write_bytes(content[: len(content) - 200_000])
    with open_raster(RasterSource(str(path))) as raster:
        assert raster.read(raster.grid, Window(0, 0, 200, 200)).valid.all()
        with pytest.raises(JobError) as caught:
            raster.read(raster.grid, Window(300, 300, 200, 200))
        assert caught.value.code is ErrorCode.SOURCE_UNREADABLE
        assert raster.sample(raster.grid).valid.any()


def test_threads_read_with_handles_of_their_own(gradients: Path) -> None:
    results: list[float] = []
    with open_raster(RasterSource(str(gradients))) as raster:

        def work() -> None:
            for _ in range(20):
                patch = raster.read(raster.grid, Window(20, 30, 50, 50))
                results.append(float(patch.values[0].mean()))

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert results == [45.0] * 80


@pytest.fixture
def mosaic(tmp_path: Path) -> tuple[Path, np.ndarray]:
    """A VRT of 3 x 3 tiles of 40 pixels whose middle one was moved away, and all of its pixels."""
    values = np.random.default_rng(4).integers(1, 256, (3, 120, 120), dtype=np.uint8)
    sources = []
    for row in range(0, 120, 40):
        for column in range(0, 120, 40):
            tile = write(
                tmp_path / f"{row}-{column}.tif", values[:, row : row + 40, column : column + 40]
            )
            place = f'xOff="{column}" yOff="{row}" xSize="40" ySize="40"'
            sources.append((tile.name, place))
    bands = "".join(
        f'<VRTRasterBand dataType="Byte" band="{band}">'
        + "".join(
            f'<SimpleSource><SourceFilename relativeToVRT="1">{name}</SourceFilename>'
            f'<SourceBand>{band}</SourceBand><SrcRect xOff="0" yOff="0" xSize="40" ySize="40"/>'
            f"<DstRect {place}/></SimpleSource>"
            for name, place in sources
        )
        + "</VRTRasterBand>"
        for band in (1, 2, 3)
    )
    path = tmp_path / "mosaic.vrt"
    path.write_text(
        '<VRTDataset rasterXSize="120" rasterYSize="120"><GeoTransform>'
        f"300000, 0.5, 0, 5000000, 0, -0.5</GeoTransform>{bands}</VRTDataset>"
    )
    (tmp_path / "40-40.tif").unlink()
    return path, values


def test_a_missing_tile_of_a_mosaic_is_no_data_and_is_reported(mosaic) -> None:
    path, values = mosaic
    with open_raster(RasterSource(str(path))) as raster:
        for _ in range(2):
            patch = raster.read(raster.grid, Window(0, 0, 120, 120))
            assert not patch.valid[40:80, 40:80].any()
            assert patch.valid[:30].all()
            assert patch.valid[:, 90:].all()
            np.testing.assert_array_equal(patch.values[:, patch.valid], values[:, patch.valid])
        assert "40-40.tif" in raster.failures[0]
        with pytest.raises(JobError, match=r"40-40\.tif"):
            raster.read(raster.grid, Window(45, 45, 20, 20))


@pytest.mark.parametrize(("tag", "pixel"), [(-3.4e38, -3.4028235e38), (0.1, np.float32(0.1))])
def test_a_nodata_tag_that_was_rounded_still_counts(tmp_path, tag, pixel) -> None:
    values = gradient(8, 8)
    values[:, :2, :3] = pixel
    patch = read_all(write(tmp_path / "a.tif", values, nodata=tag))
    assert (~patch.valid).sum() == 6


def test_ranges_and_colours_that_a_layer_hides_are_no_data(tmp_path: Path) -> None:
    values = np.full((3, 4, 4), 90, np.uint8)
    values[:, 0, 0] = (3, 4, 5)
    values[:, 1, 1] = (10, 20, 30)
    values[:, 2, 2] = (10, 20, 31)
    hidden = {"nodata_ranges": ((0.0, 5.0),), "nodata_colors": ((10.0, 20.0, 30.0),)}
    patch = read_all(write(tmp_path / "a.tif", values), **hidden)
    assert np.argwhere(~patch.valid).tolist() == [[0, 0], [1, 1]]
