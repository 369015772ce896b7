"""Instructions over rasters larger than a look, with a segmenter that answers by colour."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import rasterio
from colour_segmenter import GREEN, RED, ColourSegmenter
from numpy.typing import NDArray
from rasterio.windows import Window
from scipy import ndimage

from geoseg_qgis.engine.inference.chips import ChipReader, RasterScene
from geoseg_qgis.engine.methods.referring.unigeoseg.composite import sample
from geoseg_qgis.engine.methods.referring.unigeoseg.raster_inference import (
    ONE_LOOK,
    Question,
    RasterPrediction,
    answer_raster,
)
from geoseg_qgis.engine.methods.referring.unigeoseg.view_choice import View, choose_view
from geoseg_qgis.engine.methods.referring.unigeoseg.zoom_in import Looker
from geoseg_qgis.engine.models.unigeoseg.tokenizer import ByteTokenizer
from geoseg_qgis.engine.raster.grid import Grid
from geoseg_qgis.engine.raster.scratch import ScratchFolder
from geoseg_qgis.engine.raster.source import open_raster
from geoseg_qgis.engine.raster.stretch import measure_stretch
from geoseg_qgis.protocol.errors import CancelledError, ErrorCode, JobError
from geoseg_qgis.protocol.source import RasterSource, Stretch, StretchKind

SIDE = 64
THE = "the largest red thing"
THESE = "the largest red things"
ALL = "all red things"

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
    """Write red things on green ground, at half a metre a pixel; 0 is nodata."""
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


def ask(
    image: Path,
    segmenter: ColourSegmenter,
    instruction: str,
    progress: Callable[[float], None] = quiet,
) -> tuple[RasterPrediction, NDArray[np.float32]]:
    """Return the answer and its probability on the image's pixels."""
    with scene_of(image) as scene:
        answer = answer_raster(scene, segmenter, Question(instruction), progress)
        assert answer.surface is not None
        whole = Window(0, 0, scene.output.width, scene.output.height)
        return answer, answer.surface.read(whole)[0]


def overlap(found: Mask, truth: Mask) -> float:
    return float(np.count_nonzero(found & truth) / np.count_nonzero(found | truth))


@pytest.mark.parametrize(
    ("instruction", "view"),
    [
        ("all buildings", View.TILES),
        ("every swimming pool", View.TILES),
        ("buildings", View.TILES),
        ("red roofs", View.TILES),
        ("forest", View.TILES),
        ("all water", View.TILES),
        ("show me all roads", View.TILES),
        ("map", View.TILES),
        ("the lake", View.WHOLE),
        ("Find the lake", View.WHOLE),
        ("please segment a plane", View.WHOLE),
        ("a plane", View.WHOLE),
        ("the largest roof", View.WHOLE),
        ("smallest car", View.WHOLE),
        ("buildings on the left", View.WHOLE),
        ("all cars next to the road", View.WHOLE),
        ("three cars", View.WHOLE),
        ("2 cars", View.WHOLE),
        ("Where could a boat float?", View.WHOLE),
        ("red things at [0.5,0.5]", View.WHOLE),
    ],
)
def test_words_tell_the_view(instruction: str, view: View) -> None:
    assert choose_view(instruction).view is view


def test_reasoning_asks_of_the_whole_scene() -> None:
    assert choose_view("all buildings", "reasoning").view is View.WHOLE
    assert "question" in choose_view("all buildings", "reasoning").reason


def test_an_extent_of_one_look_is_asked_once(
    tmp_path: Path, colours: Callable[..., ColourSegmenter]
) -> None:
    red = disk((40, 60), (20, 40), 11)
    segmenter = colours()
    for instruction in (ALL, THE):
        answer, probability = ask(write_image(tmp_path / "a.tif", red), segmenter, instruction)
        assert answer.view.reason == ONE_LOOK
        assert answer.looks == 1
        assert overlap(probability > 0.5, red) > 0.93
    assert segmenter.views == [(40, 60)] * 2


@pytest.mark.parametrize("shape", [(150, 260), (300, 70), (64, 65)])
def test_tiles_find_everything_in_its_place(
    shape: tuple[int, int], tmp_path: Path, colours: Callable[..., ColourSegmenter]
) -> None:
    red = disk(shape, (shape[0] * 0.4, shape[1] * 0.5), 25) | disk(shape, (40, 20), 6)
    answer, probability = ask(write_image(tmp_path / "a.tif", red), colours(), ALL)
    assert answer.view.view is View.TILES
    assert answer.shrink == 1.0
    assert np.array_equal(probability > 0.5, red)


def test_tiles_give_what_one_look_gives(
    tmp_path: Path, colours: Callable[..., ColourSegmenter]
) -> None:
    red = disk((64, 64), (30, 40), 15)
    image = write_image(tmp_path / "a.tif", red)
    _, once = ask(image, colours(), ALL)
    wide = np.zeros((64, 100), np.bool_)
    wide[:, :64] = red
    _, tiled = ask(write_image(tmp_path / "b.tif", wide), colours(), ALL)
    np.testing.assert_allclose(tiled[:, :64], once, atol=2e-4)


def test_a_whole_view_means_one_thing_of_the_extent(
    tmp_path: Path, colours: Callable[..., ColourSegmenter]
) -> None:
    """Tiles would each have a largest thing of their own."""
    shape = (400, 640)
    largest = disk(shape, (260, 450), 60)
    red = largest | disk(shape, (60, 60), 30) | disk(shape, (330, 80), 25)
    answer, probability = ask(write_image(tmp_path / "a.tif", red), colours(only_largest=True), THE)
    assert answer.view.view is View.WHOLE
    assert answer.shrink == 10.0
    found = probability > 0.5
    assert not (found & ~ndimage.binary_dilation(largest, iterations=12)).any()
    assert overlap(found, largest) > 0.97


@pytest.mark.parametrize("shape", [(512, 512), (SIDE, SIDE)])
def test_words_that_mean_one_thing_get_one(
    shape: tuple[int, int], tmp_path: Path, colours: Callable[..., ColourSegmenter]
) -> None:
    height, width = shape
    large = disk(shape, (0.3 * height, 0.3 * width), 0.2 * height)
    small = disk(shape, (0.7 * height, 0.8 * width), 0.1 * height)
    image = write_image(tmp_path / "a.tif", large | small)
    for words, wanted, left_out in ((THE, large, 1), (THESE, large | small, 0)):
        answer, probability = ask(image, colours(), words)
        assert answer.closer is not None
        assert answer.closer.left_out == left_out
        assert overlap(probability > 0.5, wanted) > 0.95


def test_closer_looks_sharpen_small_things(
    tmp_path: Path, colours: Callable[..., ColourSegmenter]
) -> None:
    """At an eighth of the pixels the overview alone cannot draw disks of 20 pixels across."""
    shape = (512, 512)
    centres = [(100, 100), (140, 400), (400, 250)]
    red = np.any([disk(shape, centre, 20) for centre in centres], axis=0)
    image = write_image(tmp_path / "a.tif", red)
    segmenter = colours()
    answer, probability = ask(image, segmenter, THESE)
    assert answer.closer is not None
    assert (answer.closer.things, answer.closer.looks) == (3, 3)
    assert (answer.closer.drawn, answer.closer.refused, answer.closer.left) == (3, 0, 0)
    assert segmenter.views == [(64, 64)] * 4
    with scene_of(image) as scene:
        overview = scene.base.rescaled(64, 64)
        look = Looker(scene.reader, segmenter).look(overview)
        assert look is not None
        coarse = next(segmenter.answer(look.embedding, [segmenter.asked[0]])).probability
        alone = overlap(sample(coarse, overview, scene.base) > 0.5, red)
    assert overlap(probability > 0.5, red) > 0.97 > alone


def test_a_long_thing_is_followed_along_its_outline(
    tmp_path: Path, colours: Callable[..., ColourSegmenter]
) -> None:
    rows, columns = np.mgrid[:1024, :1024]
    river = np.abs(rows - 500 - 300 * np.sin(columns / 250)) < 40
    answer, probability = ask(write_image(tmp_path / "a.tif", river), colours(), THE)
    assert answer.closer is not None
    assert answer.closer.refused == 0
    assert answer.closer.looks > 8
    assert overlap(probability > 0.5, river) > 0.97


def test_a_look_that_finds_something_else_is_not_used(
    tmp_path: Path, colours: Callable[..., ColourSegmenter]
) -> None:
    red = disk((512, 512), (100, 100), 40)
    answer, probability = ask(write_image(tmp_path / "a.tif", red), colours(blind_boxes=True), THE)
    assert answer.closer is not None
    assert (answer.closer.drawn, answer.closer.refused) == (0, 1)
    assert overlap(probability > 0.5, red) > 0.85


def test_neighbours_of_a_thing_survive_its_closer_look(
    tmp_path: Path, colours: Callable[..., ColourSegmenter]
) -> None:
    shape = (640, 640)
    red = disk(shape, (300, 300), 60) | disk(shape, (300, 395), 20)
    _, probability = ask(write_image(tmp_path / "a.tif", red), colours(), THESE)
    labels, count = ndimage.label(probability > 0.5)
    assert count == 2
    assert overlap(labels > 0, red) > 0.96


def test_things_close_together_share_a_look(
    tmp_path: Path, colours: Callable[..., ColourSegmenter]
) -> None:
    shape = (256, 256)
    places = [(100, 100), (100, 118), (118, 104), (220, 40)]
    red = np.any([disk(shape, place, 6) for place in places], axis=0)
    segmenter = colours()
    answer, probability = ask(write_image(tmp_path / "a.tif", red), segmenter, THESE)
    assert answer.closer is not None
    assert answer.closer.drawn == answer.closer.things >= 3
    assert (answer.closer.looks, len(segmenter.views)) == (2, 3)
    assert overlap(probability > 0.5, red) > 0.97


def test_a_huge_raster_takes_a_bounded_number_of_looks(
    tmp_path: Path, colours: Callable[..., ColourSegmenter]
) -> None:
    """94 x 94 tiles at full detail; only the ground of the answer is looked at closer."""
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
        answer = answer_raster(scene, colours(), Question(THE), quiet)
        assert answer.surface is not None
        found = answer.surface.read(Window(2048, 1024, 1024, 1024))[0] > 0.5
        away = answer.surface.read(Window(4000, 4000, 1024, 1024))[0]
    assert 2 <= answer.looks <= 129
    assert overlap(found, red) > 0.97
    assert away.max() < 0.1


def test_nodata_is_not_asked_about(tmp_path: Path, colours: Callable[..., ColourSegmenter]) -> None:
    red = np.ones((100, 200), np.bool_)
    valid = np.zeros((100, 200), np.bool_)
    valid[:, :60] = True
    segmenter = colours()
    with scene_of(write_image(tmp_path / "a.tif", red, valid)) as scene:
        answer = answer_raster(scene, segmenter, Question(ALL), quiet)
        assert answer.surface is not None
        probability, known = answer.surface.read(Window(0, 0, 200, 100))
    assert np.array_equal(known, valid)
    assert (probability[valid] > 0.9).all()
    assert len(segmenter.views) == 4, "tiles without any data are not shown"


@pytest.mark.parametrize("instruction", [ALL, THE])
def test_a_raster_without_data_has_no_answer(
    instruction: str, tmp_path: Path, colours: Callable[..., ColourSegmenter]
) -> None:
    nothing = np.zeros((80, 90), np.bool_)
    with scene_of(write_image(tmp_path / "a.tif", nothing, nothing)) as scene:
        answer = answer_raster(scene, colours(), Question(instruction), quiet)
    assert answer.surface is None
    assert answer.looks == 0


@pytest.mark.parametrize("instruction", [ALL, THE])
def test_progress_rises_and_a_cancel_ends_the_run(
    instruction: str, tmp_path: Path, colours: Callable[..., ColourSegmenter]
) -> None:
    red = disk((300, 300), (100, 100), 20)
    image = write_image(tmp_path / "a.tif", red)
    told: list[float] = []
    ask(image, colours(), instruction, told.append)
    assert told == sorted(told)
    assert told[-1] == 1.0
    assert len(told) >= 4

    def stop(done: float) -> None:
        if done > 0.2:
            raise CancelledError

    segmenter = colours()
    with pytest.raises(CancelledError):
        ask(image, segmenter, instruction, stop)
    assert len(segmenter.views) < 10
    assert not list(tmp_path.glob(".geoseg-scratch-*"))


def test_requests_are_halved_when_memory_does_not_suffice(
    tmp_path: Path, colours: Callable[..., ColourSegmenter]
) -> None:
    segmenter = colours(requests_that_fit=2)
    with scene_of(write_image(tmp_path / "a.tif", disk((40, 40), (20, 20), 9))) as scene:
        looker = Looker(scene.reader, segmenter)
        look = looker.look(scene.base)
        assert look is not None
        requests = [segmenter.request(40, 40, instruction=f"thing {n}") for n in range(7)]
        answers = looker.ask(look, requests)
        assert len(answers) == 7
        assert segmenter.asked == requests
        segmenter.requests_that_fit = 0
        with pytest.raises(JobError) as caught:
            looker.ask(look, requests)
    assert caught.value.code is ErrorCode.OUT_OF_MEMORY
