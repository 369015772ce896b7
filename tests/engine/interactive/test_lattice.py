"""Tiles on a lattice: the same for places near each other, never near an edge."""

from __future__ import annotations

import numpy as np
import pytest
from affine import Affine
from prompt_cases import NORTH_UP, UTM, prompted

from geoseg_qgis.engine.interactive.lattice import interactive_pyramid, shrink_for, tile_of
from geoseg_qgis.engine.raster.grid import Grid

GRID = Grid(NORTH_UP, 5000, 4000, UTM)
TILE = 512


@pytest.mark.parametrize("x", [300.0, 1000.0, 2047.9, 2048.1, 4700.0])
@pytest.mark.parametrize("y", [260.0, 1999.0, 3740.0])
def test_a_point_lies_in_the_middle_of_its_tile(x: float, y: float) -> None:
    pyramid = interactive_pyramid(GRID, 1, None, TILE)
    tile = tile_of(prompted(np.array([[x, y]])), pyramid, 1)
    assert tile.level == 0
    for place, first, length in ((x, tile.left, GRID.width), (y, tile.top, GRID.height)):
        on_edge = first in (0, length - TILE)
        assert first % (TILE // 2) == 0 or on_edge
        assert on_edge or TILE / 4 <= place - first <= 3 * TILE / 4


def test_points_beside_each_other_share_a_tile() -> None:
    pyramid = interactive_pyramid(GRID, 1, None, TILE)
    places = [(1100.0 + dx, 1100.0 + dy) for dx in (0, 9, 40) for dy in (0, 9, 40)]
    tiles = {tile_of(prompted(np.array([place])), pyramid, 1) for place in places}
    assert len(tiles) == 1


def test_more_points_keep_the_tile_of_the_first() -> None:
    pyramid = interactive_pyramid(GRID, 1, None, TILE)
    first = tile_of(prompted(np.array([[1150.0, 1150.0]])), pyramid, 1)
    both = np.array([[1150.0, 1150.0], [1180.0, 1150.0]])
    assert tile_of(prompted(both), pyramid, 1) == first
    far = np.array([[1150.0, 1150.0], [1340.0, 1150.0]])
    moved = tile_of(prompted(far), pyramid, 1)
    assert moved.left <= 1150 - TILE / 8
    assert moved.left + TILE >= 1340 + TILE / 8


def test_a_large_box_is_read_from_a_coarser_level() -> None:
    pyramid = interactive_pyramid(GRID, 1, None, TILE)
    tile = tile_of(prompted(areas=[(1000.0, 1000.0, 1700.0, 1400.0)]), pyramid, 1)
    assert tile.level == 2
    assert tile.left <= 1000 / 4
    assert tile.left + TILE >= 1700 / 4


@pytest.mark.parametrize(
    ("pixel_size", "shrink"), [(0.0, 1), (0.1, 1), (0.39, 1), (0.4, 2), (0.79, 2), (3.3, 16)]
)
def test_coarse_views_are_read_in_coarse_pixels(pixel_size: float, shrink: int) -> None:
    assert shrink_for(GRID, pixel_size) == shrink
    pyramid = interactive_pyramid(GRID, shrink, None, TILE)
    assert pyramid.output.pixel_size[0] == pytest.approx(0.2 * shrink, rel=0.01)


def test_a_raster_is_never_shrunk_to_nothing() -> None:
    small = Grid(Affine(1.0, 0, 0, 0, -1.0, 0), 8, 3, "")
    assert shrink_for(small, 1e9) == 2
