"""One stretch for the whole run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasters import write

from geoseg_qgis.engine.raster.source import open_raster
from geoseg_qgis.engine.raster.stretch import LinearStretch, measure_stretch
from geoseg_qgis.protocol.errors import ErrorCode, JobError
from geoseg_qgis.protocol.source import RasterSource, Stretch, StretchKind


def measure(path: Path, kind: StretchKind, *limits: tuple[float, float]) -> LinearStretch:
    with open_raster(RasterSource(str(path))) as raster:
        return measure_stretch(raster, raster.grid, Stretch(kind, limits))


def ramp(path: Path, dtype: str = "uint16") -> Path:
    values = np.arange(10000).reshape(100, 100) % (256 if dtype == "uint8" else 65536)
    return write(path, np.stack([values, values * 2, values + 7]).astype(dtype))


def test_percentiles_are_those_of_each_band(tmp_path: Path) -> None:
    stretch = measure(ramp(tmp_path / "a.tif"), StretchKind.PERCENTILES)
    low, high = 0.02 * 9999, 0.98 * 9999
    expected = [(low, high), (2 * low, 2 * high), (low + 7, high + 7)]
    np.testing.assert_allclose(stretch.limits, expected, atol=0.5)


def test_percentiles_leave_nodata_out(tmp_path: Path) -> None:
    values = np.full((1, 50, 50), 1000, np.int16)
    values[0, 10:20, 10:30] = np.arange(200).reshape(10, 20)
    stretch = measure(write(tmp_path / "a.tif", values, nodata=1000), StretchKind.PERCENTILES)
    np.testing.assert_allclose(stretch.limits[0], np.percentile(np.arange(200), (2, 98)))


def test_extremes(tmp_path: Path) -> None:
    stretch = measure(ramp(tmp_path / "a.tif"), StretchKind.MINMAX)
    assert stretch.limits == ((0, 9999), (0, 19998), (7, 10006))


def test_bytes_pass_unchanged_by_default(tmp_path: Path) -> None:
    path = ramp(tmp_path / "a.tif", "uint8")
    assert measure(path, StretchKind.PERCENTILES).unchanged
    assert measure(path, StretchKind.NONE).unchanged
    values = np.arange(256, dtype=np.float32).reshape(1, 1, 256).repeat(3, axis=0)
    shown = LinearStretch().apply(values, np.ones((1, 256), bool))
    np.testing.assert_array_equal(shown, values.astype(np.uint8))


def test_the_layers_limits_count(tmp_path: Path) -> None:
    path = ramp(tmp_path / "a.tif")
    assert measure(path, StretchKind.LAYER, (5, 9)).limits == ((5, 9),) * 3
    limits = ((1, 2), (3, 4), (5, 6))
    assert measure(path, StretchKind.LAYER, *limits).limits == limits


@pytest.mark.parametrize(
    ("kind", "limits"), [(StretchKind.NONE, ()), (StretchKind.LAYER, ((0, 1), (0, 1)))]
)
def test_what_cannot_be_stretched_is_refused(
    tmp_path: Path, kind: StretchKind, limits: tuple[tuple[float, float], ...]
) -> None:
    with pytest.raises(JobError) as caught:
        measure(ramp(tmp_path / "a.tif"), kind, *limits)
    assert caught.value.code is ErrorCode.INVALID_JOB


def test_values_are_scaled_clipped_and_zero_where_invalid() -> None:
    values = np.array([[[0.0, 100.0, 150.0, 200.0, 999.0, 150.0]]], np.float32).repeat(3, axis=0)
    valid = np.array([[True] * 5 + [False]])
    shown = LinearStretch(((100, 200),) * 3).apply(values, valid)
    np.testing.assert_array_equal(shown[0, 0], [0, 0, 128, 255, 255, 0])
    assert shown.dtype == np.uint8


def test_a_constant_band_becomes_a_constant_grey(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", np.full((1, 9, 9), 4321, np.uint16))
    stretch = measure(path, StretchKind.PERCENTILES)
    shown = stretch.apply(np.full((3, 9, 9), 4321, np.float32), np.ones((9, 9), bool))
    assert len(np.unique(shown)) == 1


def test_a_raster_without_data_has_a_stretch(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", np.full((1, 9, 9), -1, np.int16), nodata=-1)
    assert measure(path, StretchKind.PERCENTILES).limits == ((0, 1),) * 3


@pytest.mark.slow
def test_large_rasters_are_sampled(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    values = np.tile(np.arange(4096, dtype=np.uint16), (4096, 1))[None]
    write(path, values, tiled=True, blockxsize=256, blockysize=256)
    sampled = measure(path, StretchKind.PERCENTILES).limits[0]
    with rasterio.open(path, "r+") as dataset:
        dataset.build_overviews([2, 4, 8], rasterio.enums.Resampling.nearest)
    from_overview = measure(path, StretchKind.PERCENTILES).limits[0]
    exact = np.percentile(np.arange(4096), (2, 98))
    np.testing.assert_allclose(from_overview, exact, atol=8)
    np.testing.assert_allclose(sampled, exact, atol=300)
