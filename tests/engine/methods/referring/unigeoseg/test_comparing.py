"""Superlatives over extents whose overview is too coarse: measured on what the tiles found."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio
from colour_segmenter import ColourSegmenter
from numpy.typing import NDArray
from rasterio.windows import Window
from test_unigeoseg_surfaces import SIDE, disk, overlap, quiet, scene_of, write_image

from geoseg_qgis.engine.methods.referring.unigeoseg.comparing import (
    Compared,
    Comparison,
    comparison_of,
    keep_compared,
)
from geoseg_qgis.engine.methods.referring.unigeoseg.raster_inference import (
    Question,
    RasterPrediction,
    answer_raster,
)
from geoseg_qgis.engine.methods.referring.unigeoseg.tiling import ProbabilityFile
from geoseg_qgis.engine.methods.referring.unigeoseg.view_choice import View
from geoseg_qgis.engine.models.unigeoseg.tokenizer import ByteTokenizer
from geoseg_qgis.engine.raster.grid import Grid
from geoseg_qgis.engine.raster.scratch import ScratchFolder
from geoseg_qgis.engine.raster.source import open_raster
from geoseg_qgis.engine.vector import components
from geoseg_qgis.engine.vector.measure import pixel_areas
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
        ("the largest two buildings, please", "largest", "all buildings", 2),
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
        "the largest buildings",
        "the 0 largest buildings",
        "the \N{SUPERSCRIPT TWO} largest buildings",
        "the two largest three buildings",
        "the largest building and the smallest lake",
        "the largest building, the smallest lake",
        "the largest building except the church",
        "the largest building has a red roof",
        "the largest building visible",
        "the largest building [0.1,0.2]",
        "the largest building most likely to burn",
        "the largest red",
        "the largest grass",
        "the largest row",
        "Which is the largest building?",
    ],
)
def test_everything_else_is_not_measured(instruction: str) -> None:
    assert comparison_of(instruction) is None


def test_questions_are_not_measured_and_plurals_may_be_unknown() -> None:
    assert comparison_of("the largest lake", "reasoning") is None
    for words, everything in (
        ({"lake", "lakes"}, "all lakes"),
        ({"lake"}, "all lake"),
        (set(), "all lakes"),
    ):
        found = comparison_of("the largest lake", knows=words.__contains__)
        assert found == Comparison("largest", everything)


def answered(
    tmp_path: Path, tokenizer: ByteTokenizer, instruction: str, coarsest: float | None = 1.0
) -> tuple[RasterPrediction, NDArray[np.float32]]:
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


WHOLE = Window(0, 0, 100, 80)
SMALLEST, LARGEST = (Comparison(word, "all things") for word in ("smallest", "largest"))


def test_what_is_hardly_a_thing_is_not_compared(tiles: tuple[ProbabilityFile, Grid]) -> None:
    file, grid = tiles
    probability = np.full((80, 100), 0.1, np.float32)
    probability[5:15, 5:15] = 0.9
    probability[40:60, 40:60] = probability[5:30, 60:85] = 0.9
    # 8 pixels, and 20 of 5 square metres, which is little beside the others.
    probability[70, 80:88] = probability[50:54, 80:85] = 0.9
    probability[:, 99] = np.nan
    file.write(WHOLE, probability)
    assert keep_compared(file, grid, 0.5, SMALLEST, quiet) == Compared(1, 4)
    kept = file.read(WHOLE)
    assert np.count_nonzero(kept > 0.5) == 100
    assert (kept[5:15, 5:15] > 0.5).all()
    # Pixels around it draw its outline, all else is gone, and what is unknown stays so.
    assert kept[4, 10] == pytest.approx(0.1, abs=1e-4)
    assert not kept[20:, :99].any()
    assert np.isnan(kept[:, 99]).all()


def test_what_is_cut_is_not_the_smallest(tiles: tuple[ProbabilityFile, Grid]) -> None:
    file, grid = tiles
    probability = np.zeros((80, 100), np.float32)
    for rows, columns in (
        (slice(0, 5), slice(10, 20)),
        (slice(75, 80), slice(10, 20)),
        (slice(20, 30), slice(0, 5)),
        (slice(20, 30), slice(84, 89)),
        (slice(40, 60), slice(40, 60)),
    ):
        probability[rows, columns] = 0.9
    probability[:, 89:] = np.nan
    file.write(WHOLE, probability)
    assert keep_compared(file, grid, 0.5, SMALLEST, quiet) == Compared(1, 4)
    assert (file.read(WHOLE)[40:60, 40:60] > 0.5).all()
    # There is nothing but things that are cut: the smallest of them.
    probability[40:60, 40:60] = 0.0
    probability[75, 10] = 0.0
    file.write(WHOLE, probability)
    assert keep_compared(file, grid, 0.5, SMALLEST, quiet) == Compared(1, 3)
    assert np.count_nonzero(file.read(WHOLE)[75:80, 10:20] > 0.5) == 49


def test_specks_are_better_than_nothing(tiles: tuple[ProbabilityFile, Grid]) -> None:
    file, grid = tiles
    probability = np.zeros((80, 100), np.float32)
    probability[5, 5:8] = probability[50, 50] = 0.9
    file.write(WHOLE, probability)
    assert keep_compared(file, grid, 0.5, LARGEST, quiet) == Compared(1, 1)
    assert np.flatnonzero(np.nan_to_num(file.read(WHOLE)) > 0.5).tolist() == [505, 506, 507]


def test_nothing_found_stays_nothing_and_a_cancel_ends_it(
    tiles: tuple[ProbabilityFile, Grid],
) -> None:
    file, grid = tiles
    for comparison in (LARGEST, SMALLEST):
        assert keep_compared(file, grid, 0.5, comparison, quiet) == Compared(0, 0)
    assert not file.read(WHOLE).any()

    def cancel(_: float) -> None:
        raise CancelledError

    with pytest.raises(CancelledError):
        keep_compared(file, grid, 0.5, LARGEST, cancel)


def test_bands_of_rows_leave_no_trace(
    tiles: tuple[ProbabilityFile, Grid], monkeypatch: pytest.MonkeyPatch
) -> None:
    file, grid = tiles
    probability = np.full((80, 100), 0.2, np.float32)
    probability[12:29, 20:60] = 0.9
    probability[33:36, 20:60] = 0.8
    read = []
    for pixels in (8_000_000, 1000, 200):
        monkeypatch.setattr(components, "_BAND_PIXELS", pixels)
        file.write(WHOLE, probability)
        assert keep_compared(file, grid, 0.5, LARGEST, quiet) == Compared(1, 1)
        read.append(file.read(WHOLE))
    assert np.array_equal(read[0], read[1])
    assert np.array_equal(read[0], read[2])
    assert (read[0][30, 20:60] > 0.1).all()


def test_a_site_has_areas_in_its_own_units() -> None:
    site = (
        'ENGCRS["site",EDATUM["pegs"],CS[Cartesian,2],AXIS["x",east],AXIS["y",north],'
        'LENGTHUNIT["metre",1]]'
    )
    grid = Grid(rasterio.Affine(0.5, 0, 0, 0, -0.5, 0), 20, 20, site)
    areas = pixel_areas(grid, np.array([3.0]), np.array([4.0]))
    assert areas.tolist() == [0.25]
