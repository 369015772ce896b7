"""Superlatives over extents whose overview is too coarse: measured on what the tiles found."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from colour_segmenter import ColourSegmenter
from numpy.typing import NDArray
from rasterio.windows import Window
from test_unigeoseg_surfaces import SIDE, disk, overlap, quiet, scene_of, write_image

from geoseg_qgis.engine.methods.unigeoseg.comparing import Comparison, comparison_of, keep_compared
from geoseg_qgis.engine.methods.unigeoseg.surfaces import Question, RasterAnswer, answer_raster
from geoseg_qgis.engine.methods.unigeoseg.tiling import ProbabilityFile
from geoseg_qgis.engine.methods.unigeoseg.view_choice import View
from geoseg_qgis.engine.models.unigeoseg.tokenizer import ByteTokenizer
from geoseg_qgis.engine.raster.grid import Grid
from geoseg_qgis.engine.raster.scratch import ScratchFolder
from geoseg_qgis.engine.raster.source import open_raster
from geoseg_qgis.protocol.errors import CancelledError
from geoseg_qgis.protocol.source import RasterSource

SHAPE = (640, 640)
LARGE, SMALL, LEFT, RIGHT, TOP, BOTTOM = (
    disk(SHAPE, centre, radius)
    for centre, radius in (
        ((300, 330), 60.0), ((420, 480), 9.0), ((330, 60), 20.0),
        ((330, 590), 20.0), ((40, 300), 20.0), ((600, 300), 20.0),
    )
)  # fmt: skip
ALL = LARGE | SMALL | LEFT | RIGHT | TOP | BOTTOM


@pytest.mark.parametrize(
    ("instruction", "word", "everything", "count"),
    [
        ("the largest building", "largest", "all buildings", 1),
        ("Find the smallest swimming pool", "smallest", "all swimming pools", 1),
        ("leftmost red car", "leftmost", "all red cars", 1),
        ("the two largest lakes in the image", "largest", "all lakes", 2),
        ("the 3 biggest bus of the map", "largest", "all buses", 3),
        ("the rightmost property", "rightmost", "all properties", 1),
        ("the topmost quay", "topmost", "all quays", 1),
        ("the lowermost tennis court", "bottommost", "all tennis courts", 1),
    ],
)
def test_a_plain_superlative_can_be_measured(
    instruction: str, word: str, everything: str, count: int
) -> None:
    assert comparison_of(instruction) == Comparison(word, everything, count)


@pytest.mark.parametrize(
    "instruction",
    [
        "",
        "the largest",
        "all buildings",
        "the building",
        "the largest building with a red roof",
        "the largest building in the left half of the image",
        "the building closest to the lake",
        "the closest building",
        "the longest road",
        "the northernmost building",
        "the 0 largest buildings",
        "Which is the largest building?",
    ],
)
def test_everything_else_is_not_measured(instruction: str) -> None:
    assert comparison_of(instruction) is None


def answered(
    tmp_path: Path, tokenizer: ByteTokenizer, instruction: str, coarsest: float | None = 1.0
) -> tuple[RasterAnswer, NDArray[np.float32]]:
    """Ask about disks at half a metre a pixel; an overview has 5 metres."""
    image = write_image(tmp_path / "a.tif", ALL)
    with scene_of(image) as scene:
        question = Question(instruction, coarsest=coarsest)
        answer = answer_raster(scene, ColourSegmenter(tokenizer, SIDE), question, quiet)
        assert answer.surface is not None
        return answer, answer.surface.read(Window(0, 0, *SHAPE))[0]


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("the largest disk", LARGE),
        ("the smallest disk", SMALL),
        ("the leftmost disk", LEFT),
        ("the rightmost disk", RIGHT),
        ("the topmost disk", TOP),
        ("the bottommost disk", BOTTOM),
    ],
)
def test_the_thing_that_is_meant_is_kept(
    words: str, wanted: NDArray[np.bool_], tmp_path: Path, toy_tokenizer: ByteTokenizer
) -> None:
    answer, probability = answered(tmp_path, toy_tokenizer, words)
    assert answer.view.view is View.TILES
    assert answer.comparison == Comparison(words.split()[1], "all disks")
    assert answer.left_out == 5
    assert answer.shrink == 1.0
    assert overlap(probability > 0.5, wanted) > 0.97
    assert not probability[ALL & ~wanted].any()


def test_several_may_be_meant(tmp_path: Path, toy_tokenizer: ByteTokenizer) -> None:
    answer, probability = answered(tmp_path, toy_tokenizer, "the five largest disks")
    assert answer.left_out == 1
    assert overlap(probability > 0.5, ALL & ~SMALL) > 0.97


def test_an_overview_that_is_fine_enough_is_asked_itself(
    tmp_path: Path, toy_tokenizer: ByteTokenizer
) -> None:
    for coarsest in (5.0, None):
        answer, _ = answered(tmp_path, toy_tokenizer, "the largest disk", coarsest)
        assert answer.view.view is View.WHOLE
        assert answer.comparison is None
    answer, _ = answered(tmp_path, toy_tokenizer, "the disk closest to the lake")
    assert answer.view.view is View.WHOLE


@pytest.fixture
def tiles(tmp_path: Path) -> Iterator[tuple[ProbabilityFile, Grid]]:
    image = write_image(tmp_path / "a.tif", np.zeros((80, 100), bool))
    with open_raster(RasterSource(str(image), "a")) as raster, ScratchFolder(tmp_path) as folder:
        yield ProbabilityFile(folder, "p", (80, 100)), raster.grid


def test_specks_are_not_compared(tiles: tuple[ProbabilityFile, Grid]) -> None:
    file, grid = tiles
    probability = np.full((80, 100), 0.1, np.float32)
    probability[5:15, 5:15] = 0.9
    probability[40:60, 40:60] = 0.9
    probability[70, 90] = 0.9
    probability[:, 99] = np.nan
    whole = Window(0, 0, 100, 80)
    file.write(whole, probability)
    left_out = keep_compared(file, grid, 0.5, Comparison("smallest", "all things"), quiet)
    kept = file.read(whole)
    assert left_out == 1
    assert np.count_nonzero(kept > 0.5) == 100
    assert (kept[5:15, 5:15] > 0.5).all()
    # Pixels around it draw its outline, all else is gone, and what is unknown stays so.
    assert kept[4, 10] == pytest.approx(0.1, abs=1e-4)
    assert not kept[20:, :99].any()
    assert np.isnan(kept[:, 99]).all()


def test_specks_alone_are_better_than_nothing(tiles: tuple[ProbabilityFile, Grid]) -> None:
    file, grid = tiles
    probability = np.zeros((80, 100), np.float32)
    probability[5, 5:8] = probability[50, 50] = 0.9
    whole = Window(0, 0, 100, 80)
    file.write(whole, probability)
    assert keep_compared(file, grid, 0.5, Comparison("largest", "all things"), quiet) == 1
    assert np.flatnonzero(file.read(whole) > 0.5).tolist() == [505, 506, 507]


def test_nothing_found_stays_nothing_and_a_cancel_ends_it(
    tiles: tuple[ProbabilityFile, Grid],
) -> None:
    file, grid = tiles
    comparison = Comparison("largest", "all things")
    assert keep_compared(file, grid, 0.5, comparison, quiet) == 0
    assert not file.read(Window(0, 0, 100, 80)).any()

    def cancel(_: float) -> None:
        raise CancelledError

    with pytest.raises(CancelledError):
        keep_compared(file, grid, 0.5, comparison, cancel)
