"""Windows are read where they say, blended to one, and halved when memory runs out."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from rasterio.windows import Window
from torch import Tensor

from geoseg_qgis.engine.inference.blending import ScoreRaster, WindowPlan, match_windows
from geoseg_qgis.engine.inference.chips import Chip, ChipReader
from geoseg_qgis.engine.raster.scratch import ScratchFolder
from geoseg_qgis.engine.raster.source import open_raster
from geoseg_qgis.engine.raster.stretch import measure_stretch
from geoseg_qgis.protocol.errors import CancelledError, ErrorCode, JobError
from geoseg_qgis.protocol.source import RasterSource, Stretch, StretchKind


def write_image(path: Path, height: int, width: int, hole: tuple[slice, slice]) -> RasterSource:
    rng = np.random.default_rng(3)
    pixels = rng.integers(1, 255, (3, height, width), dtype=np.uint8)
    pixels[(slice(None), *hole)] = 0
    profile = {"driver": "GTiff", "height": height, "width": width, "count": 3, "dtype": "uint8"}
    with rasterio.open(
        path, "w", nodata=0, transform=Affine(1, 0, 500, 0, -1, 900), crs="EPSG:32633", **profile
    ) as dataset:
        dataset.write(pixels)
    return RasterSource(str(path), stretch=Stretch(StretchKind.NONE))


def pixel_and_place(chips: list[Chip], windows: list[Window]) -> Tensor:
    """Return the red channel, the column and the row of every pixel of the raster."""
    scores = []
    for chip, window in zip(chips, windows, strict=True):
        rows, columns = np.indices(chip.valid.shape)
        red = chip.pixels[0].astype(np.float32)
        scores.append(np.stack([red, columns + window.col_off, rows + window.row_off]))
    return torch.from_numpy(np.stack(scores)).float()


@pytest.mark.parametrize(("height", "width"), [(100, 130), (20, 45), (32, 32)])
def test_blended_scores_lie_where_their_pixels_lie(tmp_path: Path, height: int, width: int) -> None:
    source = write_image(tmp_path / "image.tif", height, width, (slice(0, 3), slice(0, 4)))
    fractions: list[float] = []
    with open_raster(source) as raster, ScratchFolder(tmp_path) as folder:
        reader = ChipReader(raster, measure_stretch(raster, raster.grid, source.stretch))
        scores = ScoreRaster(folder, "scores", raster.grid, 3)
        match_windows(reader, scores, pixel_and_place, WindowPlan(32, 20, 3), fractions.append)
        bands = scores.read_bands(Window(0, 0, width, height)).numpy()
        red = raster.read(raster.grid, Window(0, 0, width, height)).values[0]
    rows, columns = np.indices((height, width))
    assert np.all(bands[3] == 1)
    assert np.allclose(bands[0], red, atol=1e-3)
    assert np.allclose(bands[1], columns, atol=1e-3)
    assert np.allclose(bands[2], rows, atol=1e-3)
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0


def test_windows_without_data_are_skipped_and_unknown(tmp_path: Path) -> None:
    source = write_image(tmp_path / "image.tif", 96, 96, (slice(0, 96), slice(32, 96)))
    seen: list[Window] = []

    def network(chips: list[Chip], windows: list[Window]) -> Tensor:
        seen.extend(windows)
        return pixel_and_place(chips, windows)

    with open_raster(source) as raster, ScratchFolder(tmp_path) as folder:
        reader = ChipReader(raster, measure_stretch(raster, raster.grid, source.stretch))
        scores = ScoreRaster(folder, "scores", raster.grid, 3)
        match_windows(reader, scores, network, WindowPlan(32, 32, 4), lambda _: None)
        known = scores.read_bands(Window(0, 0, 96, 96))[-1].numpy()
    assert {int(window.col_off) for window in seen} == {0}
    assert known[:, :32].all()
    assert not known[:, 32:].any()


@pytest.mark.slow
def test_a_batch_that_does_not_fit_is_halved(tmp_path: Path) -> None:
    source = write_image(tmp_path / "image.tif", 32, 160, (slice(0, 1), slice(0, 1)))
    sizes: list[int] = []

    def network(chips: list[Chip], windows: list[Window]) -> Tensor:
        sizes.append(len(chips))
        if len(chips) > limit:
            raise torch.OutOfMemoryError("out of memory")
        return pixel_and_place(chips, windows)

    with open_raster(source) as raster, ScratchFolder(tmp_path) as folder:
        reader = ChipReader(raster, measure_stretch(raster, raster.grid, source.stretch))
        limit = 1
        scores = ScoreRaster(folder, "scores", raster.grid, 3)
        match_windows(reader, scores, network, WindowPlan(32, 32, 4), lambda _: None)
        assert sizes == [4, 2, 1, 1, 1, 1, 1]
        limit = 0
        with pytest.raises(JobError, match="does not fit") as caught:
            match_windows(reader, scores, network, WindowPlan(32, 32, 4), lambda _: None)
    assert caught.value.code is ErrorCode.OUT_OF_MEMORY


def test_a_cancel_ends_the_loop(tmp_path: Path) -> None:
    source = write_image(tmp_path / "image.tif", 64, 64, (slice(0, 1), slice(0, 1)))

    def cancel(_: float) -> None:
        raise CancelledError

    with open_raster(source) as raster, ScratchFolder(tmp_path) as folder:
        reader = ChipReader(raster, measure_stretch(raster, raster.grid, source.stretch))
        scores = ScoreRaster(folder, "scores", raster.grid, 3)
        with pytest.raises(CancelledError):
            match_windows(reader, scores, pixel_and_place, WindowPlan(32, 32, 1), cancel)
    assert [path.name for path in tmp_path.iterdir()] == ["image.tif"]
