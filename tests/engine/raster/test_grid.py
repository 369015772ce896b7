"""Grids: where pixels lie, for any axes, CRS and resolution."""

from __future__ import annotations

import math

import numpy as np
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from pyproj import CRS, Geod
from rasterio.windows import Window

from geoseg_qgis.engine.raster.grid import Grid, model_grid, output_grid, with_margin
from geoseg_qgis.protocol.errors import ErrorCode, JobError
from geoseg_qgis.protocol.source import Extent, GridRequest

UTM = CRS.from_epsg(32633).to_wkt()
HALF_METRE = Grid(Affine(0.5, 0, 300000, 0, -0.5, 5000000), 400, 200, UTM)


def rotated(degrees: float, size: float = 0.5) -> Grid:
    transform = Affine.translation(300000, 5000000) @ Affine.rotation(degrees)
    return Grid(transform @ Affine.scale(size, -size), 400, 200, UTM)


def test_bounds_and_pixel_size_of_a_rotated_grid() -> None:
    grid = rotated(30)
    assert grid.pixel_size == pytest.approx((0.5, 0.5))
    angle = math.radians(30)
    width, height = 200 * math.cos(angle) + 100 * math.sin(angle), 0.0
    assert grid.bounds[2] - grid.bounds[0] == pytest.approx(width)
    assert grid.bounds[3] - grid.bounds[1] > height


@pytest.mark.parametrize(
    ("epsg", "transform", "expected", "tolerance"),
    [
        (32633, Affine(0.5, 0, 500000, 0, -0.5, 5800000), (0.5, 0.5), 1e-9),
        (2249, Affine(0.33, 0, 770000, 0, -0.33, 2950000), (0.33 * 1200 / 3937,) * 2, 1e-9),
        (3857, Affine(1, 0, 1494000, 0, -1, 6894000), (0.609, 0.609), 2e-3),
    ],
)
def test_ground_pixel_size_of_projected_systems(
    epsg: int, transform: Affine, expected: tuple[float, float], tolerance: float
) -> None:
    grid = Grid(transform, 300, 300, CRS.from_epsg(epsg).to_wkt())
    assert grid.ground_pixel_size() == pytest.approx(expected, abs=tolerance)


def test_ground_pixel_size_of_a_geographic_grid_is_geodesic() -> None:
    grid = Grid(Affine(1e-5, 0, 13, 0, -1e-5, 60), 300, 300, CRS.from_epsg(4326).to_wkt())
    geod, latitude = Geod(ellps="WGS84"), 60 - 150e-5
    _, _, across = geod.inv(13, latitude, 13 + 1e-5, latitude)
    _, _, down = geod.inv(13, latitude, 13, latitude + 1e-5)
    assert grid.ground_pixel_size() == pytest.approx((across, down), rel=1e-6)


def test_ground_pixel_size_in_grads_and_without_a_crs() -> None:
    grads = Grid(Affine(1e-5, 0, 0.3, 0, -1e-5, 55), 9, 9, CRS.from_epsg(4807).to_wkt())
    size = grads.ground_pixel_size()
    assert size is not None
    assert size[1] == pytest.approx(1.0, abs=0.01)
    assert Grid(Affine.identity(), 9, 9, "").ground_pixel_size() is None


def test_the_source_itself_is_the_default() -> None:
    assert output_grid(HALF_METRE, GridRequest()) == HALF_METRE


def test_an_extent_snaps_outward_to_source_pixels() -> None:
    grid = output_grid(HALF_METRE, GridRequest(Extent(300010.2, 4999950.1, 300020.0, 4999960.0)))
    assert (grid.width, grid.height) == (20, 20)
    assert grid.bounds == pytest.approx((300010.0, 4999950.0, 300020.0, 4999960.0))


def test_an_extent_of_a_rotated_grid_stays_on_its_pixels() -> None:
    source = rotated(30)
    x, y = source.map_point(200, 100)
    grid = output_grid(source, GridRequest(Extent(x - 5, y - 5, x + 5, y + 5)))
    column, row = source.pixel_point(grid.transform.c, grid.transform.f)
    assert column == pytest.approx(round(column), abs=1e-6)
    assert row == pytest.approx(round(row), abs=1e-6)
    half = 10 * (math.cos(math.radians(30)) + math.sin(math.radians(30)))
    assert grid.width == math.ceil(200 + half) - math.floor(200 - half)


@pytest.mark.parametrize(
    "extent",
    [
        Extent(0, 0, 10, 10),
        Extent(300010, 4999950, 300010, 4999960),
        Extent(math.nan, 4999950, 300020, 4999960),
    ],
)
def test_an_extent_without_pixels_is_refused(extent: Extent) -> None:
    with pytest.raises(JobError) as caught:
        output_grid(HALF_METRE, GridRequest(extent))
    assert caught.value.code is ErrorCode.EXTENT_OUTSIDE


def test_a_resolution_keeps_corner_and_axes() -> None:
    grid = output_grid(rotated(30), GridRequest(resolution=1.5))
    assert grid.pixel_size == pytest.approx((1.5, 1.5))
    assert (grid.transform.c, grid.transform.f) == (300000, 5000000)
    assert (grid.width, grid.height) == (134, 67)


@pytest.mark.parametrize("resolution", [0.0, -1.0, math.nan, 1e9, 0.01, 30.0])
def test_unusable_resolutions_are_refused(resolution: float) -> None:
    with pytest.raises(JobError) as caught:
        output_grid(HALF_METRE, GridRequest(resolution=resolution))
    assert caught.value.code is ErrorCode.RESOLUTION_UNUSABLE


def test_too_many_pixels_are_refused() -> None:
    huge = Grid(HALF_METRE.transform, 200_000, 200_000, UTM)
    with pytest.raises(JobError) as caught:
        output_grid(huge, GridRequest())
    assert caught.value.code is ErrorCode.RESOLUTION_UNUSABLE


def test_a_tiny_raster_is_usable_as_it_is() -> None:
    tiny = Grid(HALF_METRE.transform, 3, 2, UTM)
    assert output_grid(tiny, GridRequest(resolution=0.5)).shape == (2, 3)


def test_a_network_reads_coarser_pixels_but_never_finer_ones() -> None:
    assert model_grid(HALF_METRE, HALF_METRE, 1.0).shape == (100, 200)
    assert model_grid(HALF_METRE, HALF_METRE, 0.1) is HALF_METRE
    assert model_grid(HALF_METRE, HALF_METRE, None) is HALF_METRE


def test_sizes_within_two_percent_spare_a_resampling() -> None:
    assert model_grid(HALF_METRE, HALF_METRE, 0.509) is HALF_METRE


def test_a_network_reads_square_pixels_of_geographic_rasters() -> None:
    grid = Grid(Affine(1e-5, 0, 13, 0, -1e-5, 60), 600, 300, CRS.from_epsg(4326).to_wkt())
    model = model_grid(grid, grid, 0.3)
    size = model.ground_pixel_size()
    assert size is not None
    assert size[0] == pytest.approx(size[1], rel=0.01)
    assert size[0] == pytest.approx(1.114, abs=0.01)
    assert model.bounds == pytest.approx(grid.bounds)


def test_without_a_crs_pixels_stay_as_they_are() -> None:
    grid = Grid(Affine(2.0, 0, 0, 0, -1.0, 0), 40, 80, "")
    assert model_grid(grid, grid, 0.3) is grid


def test_enlarged_results_are_read_from_source_pixels() -> None:
    output = output_grid(HALF_METRE, GridRequest(resolution=0.25))
    assert model_grid(output, HALF_METRE, 0.3).shape == HALF_METRE.shape


def test_other_axes_are_refused() -> None:
    with pytest.raises(ValueError, match="axes"):
        rotated(30).axes_to(HALF_METRE)


windows = st.tuples(
    st.integers(0, 300), st.integers(0, 150), st.integers(1, 100), st.integers(1, 50)
).map(lambda numbers: Window(*numbers))


@given(windows, st.floats(0, 360), st.integers(20, 900), st.integers(20, 900))
def test_positions_come_back_from_another_grid(
    window: Window, degrees: float, width: int, height: int
) -> None:
    grid = rotated(degrees)
    other = grid.rescaled(width, height)
    column, row = window.col_off, window.row_off
    for start, end in ((grid, other), (other, grid)):
        scale_x, offset_x, scale_y, offset_y = start.axes_to(end)
        column, row = column * scale_x + offset_x, row * scale_y + offset_y
    assert (column, row) == pytest.approx((window.col_off, window.row_off), abs=1e-3)


@given(windows, st.floats(0, 360))
def test_many_points_are_mapped_as_one_is(window: Window, degrees: float) -> None:
    grid = rotated(degrees)
    corners = np.array([[window.col_off, window.row_off], [window.width, window.height]], float)
    mapped = grid.map_points(corners)
    assert mapped.tolist() == [list(grid.map_point(*corner)) for corner in corners.tolist()]
    assert grid.pixel_points(mapped) == pytest.approx(corners, abs=1e-6)


@given(windows, st.integers(0, 50))
def test_margins_stay_inside_of_the_grid(window: Window, margin: int) -> None:
    grid = HALF_METRE
    outer, (rows, columns) = with_margin(window, margin, grid)
    inner = outer.row_off + rows.start, outer.col_off + columns.start
    assert inner == (window.row_off, window.col_off)
    assert (rows.stop - rows.start, columns.stop - columns.start) == (window.height, window.width)
    assert min(outer.row_off, outer.col_off) >= 0
    assert rows.start == min(margin, window.row_off)
    assert outer.col_off + outer.width == min(window.col_off + window.width + margin, grid.width)


@given(windows, st.floats(0, 360))
def test_the_grid_of_a_window_lies_on_the_same_ground(window: Window, degrees: float) -> None:
    grid = rotated(degrees)
    part = grid.window_grid(window)
    assert part.map_point(3, 4) == pytest.approx(
        grid.map_point(window.col_off + 3, window.row_off + 4), abs=1e-6
    )
    assert part.map_point(0, 0) == pytest.approx(
        part.map_point(*part.pixel_point(*part.map_point(0, 0)))
    )
