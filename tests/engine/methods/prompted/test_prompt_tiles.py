"""Tiles around objects: each object well inside of one, many on one, whatever the number."""

from __future__ import annotations

import numpy as np
import pytest
from affine import Affine
from prompt_cases import prompted

from geoseg_qgis.engine.methods.prompted.prompt_tiles import (
    GridPyramid,
    PromptTile,
    plan_prompt_tiles,
)
from geoseg_qgis.engine.methods.prompted.prompted_objects import ObjectPrompt, Rectangle
from geoseg_qgis.engine.raster.grid import Grid


def pyramid(width: int, height: int, tile: int = 512, shrink: int = 1) -> GridPyramid:
    output = Grid(Affine(0.2, 0, 0, 0, -0.2, 0), width, height)
    finest = output if shrink == 1 else output.rescaled(width // shrink, height // shrink)
    return GridPyramid(output, finest, tile, (0.0, 0.0, float(width), float(height)))


def point(number: int, x: float, y: float) -> ObjectPrompt:
    return prompted(np.array([[x, y]]), number=number)


def box(number: int, *area: float) -> ObjectPrompt:
    left, top, right, bottom = area
    return prompted(areas=((left, top, right, bottom),), number=number)


def on_tile(item: ObjectPrompt, tile: PromptTile, steps: GridPyramid) -> Rectangle:
    return item.rescaled(steps.scale(tile.level), (-tile.left, -tile.top)).bounds


def test_a_lone_point_lies_in_the_middle() -> None:
    (tile,) = plan_prompt_tiles([point(0, 3000.5, 2000.0)], pyramid(8000, 8000))
    assert (tile.level, tile.left, tile.top) == (0, 2744, 1744)


def test_tiles_stay_on_the_raster() -> None:
    corners = [point(0, 2, 3), point(1, 7999, 7998)]
    first, second = plan_prompt_tiles(corners, pyramid(8000, 8000))
    assert (first.left, first.top) == (0, 0)
    assert (second.left, second.top) == (7488, 7488)
    (small,) = plan_prompt_tiles([point(0, 90, 40)], pyramid(100, 50))
    assert (small.left, small.top) == (0, 0)


def test_tiles_of_an_extent_read_the_raster_around_it() -> None:
    output = Grid(Affine(0.2, 0, 0, 0, -0.2, 0), 100, 100)
    steps = GridPyramid(output, output, 512, (-1000.0, -80.0, 5000.0, 4000.0))
    (tile,) = plan_prompt_tiles([point(0, 50, 50)], steps)
    assert (tile.left, tile.top) == (-206, -80)


@pytest.mark.parametrize(
    ("side", "level"), [(10, 0), (230, 0), (231, 1), (460, 1), (461, 2), (3600, 4)]
)
def test_large_boxes_are_read_from_coarse_grids(side: int, level: int) -> None:
    steps = pyramid(8000, 8000)
    item = box(0, 1000, 1000, 1000 + side, 1010)
    (tile,) = plan_prompt_tiles([item], steps)
    assert tile.level == level
    left, _, right, _ = on_tile(item, tile, steps)
    assert right - left <= 0.46 * 512
    assert left >= 0.12 * 512
    assert right <= 0.88 * 512


def test_the_finest_grid_may_be_coarser_than_the_result() -> None:
    steps = pyramid(8000, 8000, shrink=4)
    item = box(0, 4000, 4000, 4900, 4100)
    (tile,) = plan_prompt_tiles([item], steps)
    assert tile.level == 0
    assert on_tile(item, tile, steps)[0] == pytest.approx((512 - 225) / 2, abs=1)


@pytest.mark.slow
@pytest.mark.parametrize(("width", "count"), [(2000, 10_000), (40_000, 10_000), (700, 300)])
def test_every_object_lies_well_inside_of_one_tile(width: int, count: int) -> None:
    rng = np.random.default_rng(7)
    places = rng.uniform(0, width, (count, 2))
    sizes = rng.uniform(5, 600, (count, 2))
    objects = [
        point(n, *place) if n % 3 else box(n, *place, *np.minimum(place + size, width))
        for n, (place, size) in enumerate(zip(places, sizes, strict=True))
    ]
    steps = pyramid(width, width)
    tiles = plan_prompt_tiles(objects, steps)
    seen = [item.number for tile in tiles for item in tile.objects]
    assert sorted(seen) == list(range(count))
    for tile in tiles:
        grid = steps.grid(tile.level)
        for item in tile.objects:
            left, top, right, bottom = on_tile(item, tile, steps)
            margin = 512 * (0.125 if item.areas else 0.25) - 1
            assert left >= min(margin, tile.left + left) - 1e-6
            assert top >= min(margin, tile.top + top) - 1e-6
            assert right <= max(512 - margin, 512 - (grid.width - tile.left - right)) + 1e-6
            assert bottom <= max(512 - margin, 512 - (grid.height - tile.top - bottom)) + 1e-6


@pytest.mark.slow
def test_tiles_are_shared() -> None:
    """Points as dense as pixels of 8 x 8 need no more tiles than cover the raster."""
    rng = np.random.default_rng(7)
    objects = [point(n, *place) for n, place in enumerate(rng.uniform(0, 2000, (10_000, 2)))]
    tiles = plan_prompt_tiles(objects, pyramid(2000, 2000))
    assert len(tiles) <= 81
    assert places_of(tiles) == places_of(plan_prompt_tiles(objects[::-1], pyramid(2000, 2000)))


def places_of(tiles: list[PromptTile]) -> list[tuple[int, int, list[int]]]:
    return [(tile.left, tile.top, [item.number for item in tile.objects]) for tile in tiles]
