"""Windows spread over devices: the same numbers, one clear error, nothing begun after it."""

import threading
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from numpy.typing import NDArray
from rasterio.windows import Window
from torch import Tensor

from geoseg_qgis.engine.inference.blending import (
    DeviceNetwork,
    ScoreRaster,
    WindowNetwork,
    WindowPlan,
    match_windows,
)
from geoseg_qgis.engine.inference.chips import Chip, ChipReader
from geoseg_qgis.engine.inference.multi_gpu import Worker, spread
from geoseg_qgis.engine.models.oom_fallback import OutOfMemoryFallback
from geoseg_qgis.engine.raster.scratch import ScratchFolder
from geoseg_qgis.engine.raster.source import open_raster
from geoseg_qgis.engine.raster.stretch import measure_stretch
from geoseg_qgis.protocol.errors import ErrorCode, JobError
from geoseg_qgis.protocol.source import RasterSource, Stretch, StretchKind

CPU = torch.device("cpu")
HEIGHT, WIDTH = 90, 150


@pytest.fixture
def image(tmp_path: Path) -> RasterSource:
    pixels = np.random.default_rng(5).integers(1, 255, (3, HEIGHT, WIDTH), dtype=np.uint8)
    profile = {"driver": "GTiff", "height": HEIGHT, "width": WIDTH, "count": 3, "dtype": "uint8"}
    transform = Affine(1, 0, 500, 0, -1, 900)
    path = tmp_path / "image.tif"
    with rasterio.open(path, "w", transform=transform, crs="EPSG:32633", **profile) as dataset:
        dataset.write(pixels)
    return RasterSource(str(path), stretch=Stretch(StretchKind.NONE))


def convolve(chips: list[Chip], windows: list[Window]) -> Tensor:
    """Return two filtered channels, each window's by its own surroundings alone."""
    pixels = torch.from_numpy(np.stack([chip.pixels for chip in chips])).float()
    kernel = torch.linspace(-1, 1, 2 * 3 * 5 * 5).reshape(2, 3, 5, 5)
    return torch.nn.functional.conv2d(pixels, kernel, padding=2) * 0.37


def blended(
    source: RasterSource,
    networks: WindowNetwork | list[DeviceNetwork],
    plan: WindowPlan = WindowPlan(48, 30, 3),  # noqa: B008 - it is frozen
) -> NDArray[np.float32]:
    with open_raster(source) as raster, ScratchFolder(Path(source.uri).parent) as folder:
        reader = ChipReader(raster, measure_stretch(raster, raster.grid, source.stretch))
        scores = ScoreRaster(folder, "scores", raster.grid, 2)
        match_windows(reader, scores, networks, plan, lambda _: None)
        return scores.read_bands(Window(0, 0, WIDTH, HEIGHT)).numpy()


def test_two_devices_give_the_numbers_of_one(image: RasterSource) -> None:
    together = threading.Barrier(2)
    met: list[int] = []

    def slow(chips: list[Chip], windows: list[Window]) -> Tensor:
        if not met:
            met.append(together.wait(timeout=60))
        return convolve(chips, windows)

    two = [
        DeviceNetwork(slow, OutOfMemoryFallback(CPU)),
        DeviceNetwork(slow, OutOfMemoryFallback(CPU)),
    ]
    assert np.array_equal(blended(image, two), blended(image, convolve))
    assert met, "both computed at the same time"


def test_results_keep_the_order_of_the_work() -> None:
    first_may_end = threading.Event()

    def compute(item: int) -> int:
        if item == 0:
            assert first_may_end.wait(timeout=60)
        if item == 2:
            first_may_end.set()
        return item * item

    workers = [Worker("one", compute), Worker("two", compute)]
    assert list(spread(workers, iter(range(9)))) == [(item, item * item) for item in range(9)]


def test_a_device_that_dies_ends_the_run_with_its_name() -> None:
    begun: list[int] = []

    def healthy(item: int) -> int:
        return item

    def dying(item: int) -> int:
        begun.append(item)
        raise RuntimeError("CUDA error: device-side assert triggered\nmore")

    items = iter(range(1000))
    with pytest.raises(JobError) as caught:
        list(spread([Worker("cuda:0", healthy), Worker("cuda:1", dying)], items))
    assert caught.value.code is ErrorCode.DEVICE_UNAVAILABLE
    assert caught.value.message == (
        "The device cuda:1 failed in the middle of the run: "
        "RuntimeError: CUDA error: device-side assert triggered."
    )
    assert caught.value.hint == "Run again on one of the other devices."
    assert next(items) < 999, "nothing more was drawn"


@pytest.mark.slow
def test_a_device_without_memory_says_so_itself(image: RasterSource) -> None:
    def full(chips: list[Chip], windows: list[Window]) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    networks = [
        DeviceNetwork(full, OutOfMemoryFallback(CPU)),
        DeviceNetwork(full, OutOfMemoryFallback(CPU)),
    ]
    with pytest.raises(JobError, match="does not fit into the memory of cpu") as caught:
        blended(image, networks)
    assert caught.value.code is ErrorCode.OUT_OF_MEMORY


def test_a_cancel_ends_all_devices() -> None:
    drawn = iter(range(1000))
    results = spread([Worker("one", abs), Worker("two", abs)], drawn)
    assert next(results) == (0, 0)
    results.close()
    assert next(drawn) < 10
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("device")]


@pytest.mark.slow
def test_smaller_windows_blend_to_the_same_where_only_pixels_count(image: RasterSource) -> None:
    sides: list[int] = []

    def limited(chips: list[Chip], windows: list[Window]) -> Tensor:
        side = chips[0].pixels.shape[-1]
        if len(chips) * side**2 > 30**2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        sides.append(side)
        places = torch.tensor([[window.col_off, window.row_off] for window in windows])
        columns = torch.arange(side) + places[:, :1]
        rows = torch.arange(side) + places[:, 1:]
        return torch.stack(
            [columns[:, None].expand(-1, side, -1), rows[:, :, None].expand(-1, -1, side)], dim=1
        ).float()

    fallback = OutOfMemoryFallback(CPU, warn=lambda _: None)
    bands = blended(image, [DeviceNetwork(limited, fallback)], WindowPlan(48, 30, 3, 8))
    rows, columns = np.indices((HEIGHT, WIDTH))
    assert np.allclose(bands[0], columns, atol=1e-3)
    assert np.allclose(bands[1], rows, atol=1e-3)
    assert set(sides) == {24}
    with pytest.raises(JobError, match="One window of the image does not fit"):
        blended(image, [DeviceNetwork(limited, OutOfMemoryFallback(CPU))], WindowPlan(48, 30, 3))


@pytest.mark.parametrize(
    ("size", "multiple", "sides"),
    [(224, 16, [112, 64]), (336, 56, [168, 112]), (224, 14, [112, 56]), (48, 32, []), (48, 0, [])],
)
def test_windows_shrink_to_whole_multiples(size: int, multiple: int, sides: list[int]) -> None:
    plan = WindowPlan(size, size, 1, multiple)
    assert [plan.side(level + 1) for level in range(plan.levels)] == sides
