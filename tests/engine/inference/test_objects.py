"""Objects of hand-made masks: who wins an overlap, what is left out, facts over tile borders."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from affine import Affine
from numpy.typing import NDArray
from rasterio.windows import Window

from geoseg_qgis.engine.inference.objects import (
    ObjectRules,
    choose_objects,
    find_objects,
    paint_objects,
)
from geoseg_qgis.engine.inference.proposals import Sam2Proposer
from geoseg_qgis.engine.inference.region_map import RegionMap
from geoseg_qgis.engine.models.automatic_masks import AutomaticMasks
from geoseg_qgis.engine.raster.grid import Grid
from geoseg_qgis.engine.raster.scratch import ScratchFolder

SIDE = 16
BEST = ObjectRules()
SMALL = ObjectRules(smallest_first=True)
Box = tuple[int, int, int, int]


def masks(*boxes: Box, iou: tuple[float, ...] = (), side: int = SIDE) -> AutomaticMasks:
    """Masks of boxes (top, bottom, left, right)."""
    logits = torch.full((len(boxes), side, side), -5.0)
    for mask, (top, bottom, left, right) in zip(logits, boxes, strict=True):
        mask[top:bottom, left:right] = 5.0
    count = len(boxes)
    return AutomaticMasks(
        logits,
        torch.tensor(iou or (0.9,) * count),
        torch.ones(count),
        torch.zeros(count, 4),
        (logits > 0).flatten(1).sum(1).float(),
        torch.zeros(count, 2),
        (side, side),
    )


EVERYWHERE = np.ones((SIDE, SIDE), dtype=bool)


def test_the_better_mask_takes_the_overlap_and_keeps_its_outline() -> None:
    ids = np.zeros((SIDE, SIDE), np.int32)
    found = masks((0, 8, 0, 8), (0, 8, 6, 14), iou=(0.7, 0.9))
    chosen = paint_objects(found, ids, EVERYWHERE, None, BEST)
    assert chosen.tolist() == [1, 0]
    assert (ids[:8, 6:14] == 1).all()
    assert (ids[:8, :6] == 2).all()
    assert np.count_nonzero(ids) == 8 * 14


def test_a_mask_that_better_ones_cover_is_left_out() -> None:
    found = masks((0, 8, 0, 8), (0, 8, 0, 7), iou=(0.9, 0.8))
    assert choose_objects(found, EVERYWHERE, None, BEST) == ([0], [1])
    assert choose_objects(found, EVERYWHERE, None, SMALL) == ([1], [1])


def test_a_small_object_lies_on_the_large_one_below_it() -> None:
    ids = np.zeros((SIDE, SIDE), np.int32)
    found = masks((0, 12, 0, 12), (4, 7, 4, 7))
    assert paint_objects(found, ids, EVERYWHERE, None, SMALL).tolist() == [1, 0]
    assert np.bincount(ids.ravel()).tolist() == [256 - 144, 9, 135]


def test_ground_is_no_object() -> None:
    found = masks((0, 16, 0, 16), (0, 2, 0, 2))
    assert choose_objects(found, EVERYWHERE, None, BEST) == ([1], [1])
    whole = dataclasses.replace(BEST, largest_share=1.0)
    assert choose_objects(found, EVERYWHERE, None, whole)[0] == [0]


def test_objects_follow_the_class_raster() -> None:
    classes = np.zeros((SIDE, SIDE), np.uint8)
    classes[:8, :8] = 3
    ids = np.zeros((SIDE, SIDE), np.int32)
    # Seven of eight columns lie in class 3, then four, then none.
    found = masks((0, 8, 1, 9), (0, 8, 4, 12), (10, 14, 0, 4))
    assert choose_objects(found, EVERYWHERE, classes, BEST) == ([0], [3])
    assert paint_objects(found, ids, EVERYWHERE, classes, BEST).tolist() == [0]
    assert (ids[:8, 1:8] == 1).all()
    assert np.count_nonzero(ids) == 56


def test_only_the_largest_part_of_an_object_is_painted() -> None:
    ids = np.zeros((SIDE, SIDE), np.int32)
    found = masks((0, 4, 0, 16), (0, 4, 10, 12), iou=(0.8, 0.9))
    paint_objects(found, ids, EVERYWHERE, None, BEST)
    assert (ids[:4, :10] == 2).all()
    assert not ids[:4, 12:].any()


def test_ids_may_be_finer_than_the_masks() -> None:
    ids = np.zeros((64, 64), np.int32)
    valid = np.ones((64, 64), bool)
    valid[:, :4] = False
    paint_objects(masks((0, 8, 0, 8)), ids, valid, None, BEST)
    assert 28 <= np.count_nonzero(ids[:, 16]) <= 34
    assert not ids[:, :4].any()
    assert choose_objects(masks(), valid, None, BEST) == ([], [])


class Squares:
    """Proposes the parts of squares that lie in a tile, better the further down the tile is."""

    size, subdivision = 32, 1

    def __init__(self, squares: list[Box], pixels: NDArray[np.bool_]) -> None:
        self.squares = squares
        self.pixels = pixels
        self.asked: list[int] = []

    def chip(self, window: Window) -> Any:
        self.window = window
        return SimpleNamespace(valid=np.ones((32, 32), bool))

    def points(self, wanted: NDArray[np.bool_]) -> torch.Tensor:
        return torch.zeros(int(wanted.any()), 2)

    def masks(self, _chip: Any, points: torch.Tensor) -> AutomaticMasks:
        self.asked.append(len(points))
        top, left = int(self.window.row_off), int(self.window.col_off)
        inside = [
            (max(a - top, 0), min(b - top, 32), max(c - left, 0), min(d - left, 32))
            for a, b, c, d in self.squares
        ]
        seen = [box for box in inside if box[0] < box[1] and box[2] < box[3]]
        return masks(*seen, iou=tuple(0.5 + 0.004 * top for _ in seen), side=32)


@pytest.fixture
def large(tmp_path: Path) -> Any:
    with ScratchFolder(tmp_path) as folder:
        yield lambda: RegionMap(folder, Grid(Affine.identity(), 56, 60, ""), name="objects")


def test_an_object_on_a_tile_border_is_one_with_the_best_numbers(large: Any) -> None:
    # Tiles begin at rows and columns 0, 28 and at 24 and 28; the first square lies on all of them.
    squares = [(24, 36, 22, 34), (2, 8, 2, 8)]
    proposer = Squares(squares, np.ones((60, 56), bool))
    objects = large()
    facts = find_objects(objects, cast("Sam2Proposer", proposer), BEST, lambda _: None)
    ids = objects.read(Window(0, 0, 56, 60))
    (first,), (second,) = (np.unique(ids[a:b, c:d]) for a, b, c, d in squares)
    assert first != second
    assert np.count_nonzero(ids) == 12 * 12 + 6 * 6
    assert facts.iou[first] == pytest.approx(0.5 + 0.004 * 28)
    assert facts.iou[second] == pytest.approx(0.5)
    assert facts.stability[second] == 1.0
    assert facts.iou[0] == 0.0


def test_tiles_without_a_class_are_not_searched(large: Any) -> None:
    classes = np.zeros((60, 56), np.uint8)
    classes[:8, :8] = 1
    proposer = Squares([(0, 6, 0, 6), (40, 50, 40, 50)], classes > 0)
    objects = large()
    find_objects(
        objects,
        cast("Sam2Proposer", proposer),
        BEST,
        lambda _: None,
        lambda window: classes[window.toslices()],
    )
    assert proposer.asked == [1]
    assert np.count_nonzero(objects.read(Window(0, 0, 56, 60))) == 36
