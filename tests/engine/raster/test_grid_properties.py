"""Grids under any transform: the ground stays where it is."""

from __future__ import annotations

import math

import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from rasterio.windows import Window

from geoseg_qgis.engine.raster.grid import Grid

SIZES = st.integers(1, 5000)


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    """Return a grid: any place, pixel size and rotation, rows down or up."""
    place = Affine.translation(draw(st.floats(-1e7, 1e7)), draw(st.floats(-1e7, 1e7)))
    turned = Affine.rotation(draw(st.floats(-180, 180)))
    across = draw(st.floats(1e-3, 1e3))
    down = across * draw(st.floats(0.2, 5.0)) * draw(st.sampled_from([-1.0, 1.0]))
    return Grid(place @ turned @ Affine.scale(across, down), draw(SIZES), draw(SIZES), "")


@given(grids(), SIZES, SIZES)
def test_a_grid_of_another_size_covers_the_same_ground(grid: Grid, width: int, height: int) -> None:
    other = grid.rescaled(width, height)
    assert other.shape == (height, width)
    reach = max(abs(value) for value in grid.bounds) * 1e-9 + 1e-9
    assert other.bounds == pytest.approx(grid.bounds, abs=reach, rel=1e-9)
    scale_x, offset_x, scale_y, offset_y = other.axes_to(grid)
    assert scale_x * width == pytest.approx(grid.width, rel=1e-6)
    assert scale_y * height == pytest.approx(grid.height, rel=1e-6)
    # Rounding of coordinates of 10,000 km, in pixels of a millimetre.
    assert math.hypot(offset_x, offset_y) < 1e-4 + 1e-8 / min(grid.pixel_size)


@given(grids(), st.data())
def test_a_window_keeps_its_pixels_in_place(grid: Grid, data: st.DataObject) -> None:
    left = data.draw(st.integers(0, grid.width - 1))
    top = data.draw(st.integers(0, grid.height - 1))
    width = data.draw(st.integers(1, grid.width - left))
    height = data.draw(st.integers(1, grid.height - top))
    part = grid.window_grid(Window(left, top, width, height))
    column = data.draw(st.integers(0, width))
    row = data.draw(st.integers(0, height))
    expected = grid.map_point(left + column, top + row)
    assert part.map_point(column, row) == pytest.approx(expected, rel=1e-9, abs=1e-6)
