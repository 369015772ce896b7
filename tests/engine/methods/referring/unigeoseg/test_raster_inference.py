"""Instructions on rasters larger than a chip, with a segmenter that goes by colour."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import rasterio
from colour_segmenter import GREEN, RED, ColourSegmenter
from numpy.typing import NDArray
from pyproj import CRS
from rasterio.windows import Window
from scipy import ndimage

from geoseg_qgis.engine.inference.chips import ChipReader, RasterScene
from geoseg_qgis.engine.methods.referring.unigeoseg.chip_predictor import ChipPredictor
from geoseg_qgis.engine.methods.referring.unigeoseg.raster_inference import (
    Instruction,
    RasterPrediction,
    choose_view,
    predict_raster,
)
from geoseg_qgis.engine.models.unigeoseg.tokenizer import ByteTokenizer
from geoseg_qgis.engine.raster.grid import Grid
from geoseg_qgis.engine.raster.resampling.arrays import sample_grid
from geoseg_qgis.engine.raster.scratch import ScratchFolder
from geoseg_qgis.engine.raster.source import open_raster
from geoseg_qgis.engine.raster.stretch import measure_stretch
from geoseg_qgis.protocol.errors import CancelledError, ErrorCode, JobError
from geoseg_qgis.protocol.source import RasterSource, Stretch, StretchKind
from geoseg_qgis.protocol.tasks.refer import View

SIDE = 64

Mask = NDArray[np.bool_]


def quiet(_: float) -> None:
    """Drop a progress report."""


@pytest.fixture
def colours(toy_tokenizer: ByteTokenizer) -> Callable[..., ColourSegmenter]:
    return lambda **options: ColourSegmenter(toy_tokenizer, SIDE, **options)


def disk(shape: tuple[int, int], centre: tuple[float, float], radius: float) -> Mask:
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return (rows + 0.5 - centre[0]) ** 2 + (columns + 0.5 - centre[1]) ** 2 <= radius**2


def write_image(path: Path, red: Mask, valid: Mask | None = None) -> Path:
    """Write red objects on green ground, at half a metre a pixel; 0 is nodata."""
    pixels = np.where(red[..., None], RED, GREEN).astype(np.uint8)
    if valid is not None:
        pixels[~valid] = 0
    with rasterio.open(
        path, "w", driver="GTiff", height=red.shape[0], width=red.shape[1], count=3,
        dtype="uint8", crs="EPSG:32633", nodata=0, tiled=True, blockxsize=256, blockysize=256,
        transform=rasterio.Affine(0.5, 0, 400000, 0, -0.5, 5000000),
    ) as dataset:  # fmt: skip
        dataset.write(pixels.transpose(2, 0, 1))
    return path


@contextmanager
def scene_of(image: Path, base: Grid | None = None) -> Iterator[RasterScene]:
    stretch = Stretch(StretchKind.NONE)
    with (
        open_raster(RasterSource(str(image), image.stem)) as raster,
        ScratchFolder(image.parent) as folder,
    ):
        reader = ChipReader(raster, measure_stretch(raster, raster.grid, stretch))
        yield RasterScene(reader, raster.grid, base or raster.grid, folder)


def predict(
    image: Path,
    segmenter: ColourSegmenter,
    view: View = View.WHOLE,
    progress: Callable[[float], None] = quiet,
    *,
    best_only: bool = False,
) -> tuple[RasterPrediction, NDArray[np.float32]]:
    """Return the prediction and its probability on the image's pixels."""
    instruction = Instruction("red objects", view=view, best_only=best_only)
    with scene_of(image) as scene:
        prediction = predict_raster(scene, segmenter, instruction, progress)
        assert prediction.raster is not None
        window = Window(0, 0, scene.output.width, scene.output.height)
        return prediction, prediction.raster.read(window)[0]


def overlap(found: Mask, truth: Mask) -> float:
    return float(np.count_nonzero(found & truth) / np.count_nonzero(found | truth))


def grid_of(height: int, width: int, crs: str = "EPSG:32633") -> Grid:
    """Return a grid of half a metre a pixel."""
    transform = rasterio.Affine(0.5, 0, 400000, 0, -0.5, 5000000)
    return Grid(transform, width, height, CRS.from_user_input(crs).to_wkt() if crs else "")


@pytest.mark.parametrize(
    ("instruction", "expected"),
    [
        # An overview of 256 pixels in 64 has pixels of 2 m.
        (Instruction("all buildings", coarsest=1.9), View.TILES),
        (Instruction("the largest building", coarsest=1.9), View.TILES),
        (Instruction("all buildings", coarsest=2.0), View.WHOLE),
        (Instruction("all buildings"), View.WHOLE),
        (Instruction("Where could a boat float?", coarsest=1.9), View.WHOLE),
        (Instruction("all buildings", "reasoning", coarsest=1.9), View.WHOLE),
        (Instruction("Where could a boat float?", "referring", coarsest=1.9), View.TILES),
        (Instruction("the building at [0.5,0.25]", coarsest=1.9), View.WHOLE),
        (Instruction("all buildings", view=View.WHOLE, coarsest=1.9), View.WHOLE),
        (Instruction("all buildings", view=View.TILES), View.TILES),
        (Instruction("Where could a boat float?", view=View.TILES), View.TILES),
    ],
)
def test_auto_goes_by_task_and_pixel_size(instruction: Instruction, expected: View) -> None:
    assert choose_view(grid_of(200, 256), SIDE, instruction) is expected


def test_one_chip_is_always_whole_and_unknown_sizes_count_as_fine() -> None:
    for view in View:
        tiny = Instruction("all buildings", view=view, coarsest=0.1)
        assert choose_view(grid_of(64, 50), SIDE, tiny) is View.WHOLE
    unknown = Instruction("all buildings", coarsest=0.1)
    assert choose_view(grid_of(200, 256, crs=""), SIDE, unknown) is View.WHOLE


def test_coordinates_are_refused_on_tiles() -> None:
    instruction = Instruction("the building at [0.5,0.25]", view=View.TILES)
    with pytest.raises(JobError, match="fractions of the whole extent") as caught:
        choose_view(grid_of(200, 256), SIDE, instruction)
    assert caught.value.code is ErrorCode.INVALID_JOB


def test_an_extent_of_one_chip_is_predicted_once(
    tmp_path: Path, colours: Callable[..., ColourSegmenter]
) -> None:
    red = disk((40, 60), (20, 40), 11)
    segmenter = colours()
    for view in View:
        found, probability = predict(write_image(tmp_path / "a.tif", red), segmenter, view)
        assert (found.view, found.one_chip, found.chips) == (View.WHOLE, True, 1)
        assert overlap(probability > 0.5, red) > 0.93
    assert segmenter.images == [(40, 60)] * 3


@pytest.mark.parametrize("shape", [(150, 260), (300, 70), (64, 65)])
def test_tiles_find_everything_in_its_place(
    shape: tuple[int, int], tmp_path: Path, colours: Callable[..., ColourSegmenter]
) -> None:
    red = disk(shape, (shape[0] * 0.4, shape[1] * 0.5), 25) | disk(shape, (40, 20), 6)
    found, probability = predict(write_image(tmp_path / "a.tif", red), colours(), View.TILES)
    assert (found.view, found.one_chip, found.shrink) == (View.TILES, False, 1.0)
    assert np.array_equal(probability > 0.5, red)


def test_tiles_give_what_one_chip_gives(
    tmp_path: Path, colours: Callable[..., ColourSegmenter]
) -> None:
    red = disk((64, 64), (30, 40), 15)
    image = write_image(tmp_path / "a.tif", red)
    _, once = predict(image, colours())
    wide = np.zeros((64, 100), np.bool_)
    wide[:, :64] = red
    _, tiled = predict(write_image(tmp_path / "b.tif", wide), colours(), View.TILES)
    np.testing.assert_allclose(tiled[:, :64], once, atol=2e-4)


def test_an_overview_has_one_largest_object_of_the_extent(
    tmp_path: Path, colours: Callable[..., ColourSegmenter]
) -> None:
    """Tiles would each have a largest object of their own."""
    shape = (400, 640)
    largest = disk(shape, (260, 450), 60)
    red = largest | disk(shape, (60, 60), 30) | disk(shape, (330, 80), 25)
    image = write_image(tmp_path / "a.tif", red)
    prediction, probability = predict(image, colours(only_largest=True))
    assert (prediction.view, prediction.shrink) == (View.WHOLE, 10.0)
    found = probability > 0.5
    assert not (found & ~ndimage.binary_dilation(largest, iterations=12)).any()
    assert overlap(found, largest) > 0.97


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "view"),
    [((512, 512), View.WHOLE), ((SIDE, SIDE), View.WHOLE), ((200, 240), View.TILES)],
)
def test_the_best_area_is_kept(
    shape: tuple[int, int], view: View, tmp_path: Path, colours: Callable[..., ColourSegmenter]
) -> None:
    height, width = shape
    large = disk(shape, (0.3 * height, 0.3 * width), 0.2 * height)
    small = disk(shape, (0.7 * height, 0.8 * width), 0.1 * height)
    image = write_image(tmp_path / "a.tif", large | small)
    for best_only, wanted, left_out in ((True, large, 1), (False, large | small, 0)):
        prediction, probability = predict(image, colours(), view, best_only=best_only)
        assert (prediction.view, prediction.left_out) == (view, left_out)
        assert overlap(probability > 0.5, wanted) > 0.95


def test_zoom_ins_sharpen_small_objects(
    tmp_path: Path, colours: Callable[..., ColourSegmenter]
) -> None:
    """At an eighth of the pixels the overview alone cannot draw disks of 20 pixels across."""
    shape = (512, 512)
    centres = [(100, 100), (140, 400), (400, 250)]
    red = np.any([disk(shape, centre, 20) for centre in centres], axis=0)
    image = write_image(tmp_path / "a.tif", red)
    segmenter = colours()
    prediction, probability = predict(image, segmenter)
    overview = prediction.overview
    assert overview is not None
    assert (overview.instances, overview.chips) == (3, 3)
    assert (overview.refined, overview.refused, overview.coarse) == (3, 0, 0)
    assert segmenter.images == [(64, 64)] * 4
    with scene_of(image) as scene:
        grid = scene.base.rescaled(64, 64)
        chip = ChipPredictor(scene.reader, segmenter).encode(grid)
        assert chip is not None
        coarse = next(segmenter.predict(chip.embedding, [segmenter.asked[0]])).probability
        alone = overlap(sample_grid(coarse, grid, scene.base) > 0.5, red)
    assert overlap(probability > 0.5, red) > 0.97 > alone


@pytest.mark.slow
def test_a_long_object_is_refined_along_its_outline(
    tmp_path: Path, colours: Callable[..., ColourSegmenter]
) -> None:
    rows, columns = np.mgrid[:1024, :1024]
    river = np.abs(rows - 500 - 300 * np.sin(columns / 250)) < 40
    prediction, probability = predict(write_image(tmp_path / "a.tif", river), colours())
    assert prediction.overview is not None
    assert prediction.overview.refused == 0
    assert prediction.overview.chips > 8
    assert overlap(probability > 0.5, river) > 0.97


def test_a_zoom_in_on_another_object_is_not_used(
    tmp_path: Path, colours: Callable[..., ColourSegmenter]
) -> None:
    red = disk((512, 512), (100, 100), 40)
    image = write_image(tmp_path / "a.tif", red)
    prediction, probability = predict(image, colours(blind_boxes=True))
    assert prediction.overview is not None
    assert (prediction.overview.refined, prediction.overview.refused) == (0, 1)
    assert overlap(probability > 0.5, red) > 0.85


def test_neighbours_of_an_object_survive_its_zoom_in(
    tmp_path: Path, colours: Callable[..., ColourSegmenter]
) -> None:
    shape = (640, 640)
    red = disk(shape, (300, 300), 60) | disk(shape, (300, 395), 20)
    _, probability = predict(write_image(tmp_path / "a.tif", red), colours())
    labels, count = ndimage.label(probability > 0.5)
    assert count == 2
    assert overlap(labels > 0, red) > 0.96


def test_objects_close_together_share_a_zoom_in(
    tmp_path: Path, colours: Callable[..., ColourSegmenter]
) -> None:
    shape = (256, 256)
    places = [(100, 100), (100, 118), (118, 104), (220, 40)]
    red = np.any([disk(shape, place, 6) for place in places], axis=0)
    segmenter = colours()
    prediction, probability = predict(write_image(tmp_path / "a.tif", red), segmenter)
    overview = prediction.overview
    assert overview is not None
    assert overview.refined == overview.instances >= 3
    assert (overview.chips, len(segmenter.images)) == (2, 3)
    assert overlap(probability > 0.5, red) > 0.97


@pytest.mark.slow
def test_a_huge_raster_takes_a_bounded_number_of_chips(
    tmp_path: Path, colours: Callable[..., ColourSegmenter]
) -> None:
    """94 x 94 tiles at full detail; zoom-ins read only what is around the object."""
    path = tmp_path / "huge.tif"
    with rasterio.open(
        path, "w", driver="GTiff", height=6000, width=6000, count=3, dtype="uint8",
        crs="EPSG:32633", tiled=True, blockxsize=256, blockysize=256, sparse_ok=True,
        transform=rasterio.Affine(0.5, 0, 400000, 0, -0.5, 5000000),
    ) as dataset:  # fmt: skip
        red = disk((1024, 1024), (500, 500), 300)
        pixels = np.where(red[..., None], RED, GREEN).astype(np.uint8).transpose(2, 0, 1)
        dataset.write(pixels, window=Window(2048, 1024, 1024, 1024))
    with scene_of(path) as scene:
        prediction = predict_raster(scene, colours(), Instruction("a red disk"), quiet)
        assert prediction.raster is not None
        found = prediction.raster.read(Window(2048, 1024, 1024, 1024))[0] > 0.5
        away = prediction.raster.read(Window(4000, 4000, 1024, 1024))[0]
    assert 2 <= prediction.chips <= 129
    assert overlap(found, red) > 0.97
    assert away.max() < 0.1


def test_tiles_without_data_are_skipped(
    tmp_path: Path, colours: Callable[..., ColourSegmenter]
) -> None:
    red = np.ones((100, 200), np.bool_)
    valid = np.zeros((100, 200), np.bool_)
    valid[:, :60] = True
    segmenter = colours()
    with scene_of(write_image(tmp_path / "a.tif", red, valid)) as scene:
        instruction = Instruction("red objects", view=View.TILES)
        prediction = predict_raster(scene, segmenter, instruction, quiet)
        assert prediction.raster is not None
        probability, known = prediction.raster.read(Window(0, 0, 200, 100))
    assert np.array_equal(known, valid)
    assert (probability[valid] > 0.9).all()
    assert len(segmenter.images) == 4


@pytest.mark.parametrize("view", [View.TILES, View.WHOLE])
@pytest.mark.parametrize("best_only", [False, True])
def test_a_raster_without_data_has_no_prediction(
    view: View, best_only: bool, tmp_path: Path, colours: Callable[..., ColourSegmenter]
) -> None:
    nothing = np.zeros((80, 90), np.bool_)
    instruction = Instruction("red objects", view=view, best_only=best_only)
    with scene_of(write_image(tmp_path / "a.tif", nothing, nothing)) as scene:
        prediction = predict_raster(scene, colours(), instruction, quiet)
    assert prediction.raster is None
    assert prediction.chips == 0


@pytest.mark.slow
@pytest.mark.parametrize("view", [View.TILES, View.WHOLE])
@pytest.mark.parametrize("best_only", [False, True])
def test_progress_rises_and_a_cancel_ends_the_run(
    view: View, best_only: bool, tmp_path: Path, colours: Callable[..., ColourSegmenter]
) -> None:
    red = disk((300, 300), (100, 100), 20)
    image = write_image(tmp_path / "a.tif", red)
    reported: list[float] = []
    predict(image, colours(), view, reported.append, best_only=best_only)
    assert reported == sorted(reported)
    assert reported[-1] == 1.0
    assert len(reported) >= 4

    def stop(done: float) -> None:
        if done > 0.2:
            raise CancelledError

    segmenter = colours()
    with pytest.raises(CancelledError):
        predict(image, segmenter, view, stop, best_only=best_only)
    assert len(segmenter.images) < 10
    assert not list(tmp_path.glob(".geoseg-scratch-*"))


@pytest.mark.slow
def test_requests_are_halved_when_memory_does_not_suffice(
    tmp_path: Path, colours: Callable[..., ColourSegmenter]
) -> None:
    segmenter = colours(requests_that_fit=2)
    with scene_of(write_image(tmp_path / "a.tif", disk((40, 40), (20, 20), 9))) as scene:
        predictor = ChipPredictor(scene.reader, segmenter)
        chip = predictor.encode(scene.base)
        assert chip is not None
        requests = [segmenter.request(40, 40, instruction=f"object {n}") for n in range(7)]
        assert len(predictor.predict(chip, requests)) == 7
        assert segmenter.asked == requests
        segmenter.requests_that_fit = 0
        with pytest.raises(JobError) as caught:
            predictor.predict(chip, requests)
    assert caught.value.code is ErrorCode.OUT_OF_MEMORY
