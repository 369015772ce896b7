"""Connected areas and their outlines: exact, matched, valid."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from rasterio.features import rasterize
from rasterio.windows import Window
from scipy import ndimage

from geoseg_qgis.engine.raster.grid import Grid
from geoseg_qgis.engine.vector import components
from geoseg_qgis.engine.vector.areas import TracedAreas, trace_areas

Classes = NDArray[np.uint8]
patterns = arrays.arrays(
    np.uint8, st.tuples(st.integers(1, 14), st.integers(1, 14)), elements=st.integers(0, 3)
)


def trace(classes: Classes, minimum: float = 0.0, tolerance: float = 0.0) -> TracedAreas:
    grid = Grid(Affine.scale(1.0, -1.0), classes.shape[1], classes.shape[0])

    def read(window: Window) -> Classes:
        return classes[int(window.row_off) : int(window.row_off + window.height)]

    def scores(window: Window, part: Classes) -> NDArray[np.float32]:
        rows = np.arange(window.row_off, window.row_off + window.height, dtype=np.float32)
        return np.broadcast_to(rows[:, None], part.shape)

    return trace_areas(grid, read, scores, minimum, tolerance)


def burn(areas: TracedAreas, shape: tuple[int, int]) -> Classes:
    painted = np.zeros(shape, np.uint8)
    if len(areas.polygons):
        pairs = zip(areas.polygons, areas.class_ids.tolist(), strict=True)
        rasterize(pairs, out=painted, transform=Affine.identity())
    return painted


def smooth(size: int, sigma: float, seed: int = 0) -> Classes:
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(size, size)), sigma)
    return np.asarray(np.digitize(noise, np.quantile(noise, [0.25, 0.5, 0.75])), np.uint8)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(patterns, st.integers(1, 60))
def test_outlines_are_those_of_the_pixels(classes: Classes, band_pixels: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(components, "BAND_PIXELS", band_pixels)
        areas = trace(classes)
    np.testing.assert_array_equal(burn(areas, classes.shape), classes)
    assert shapely.is_valid(areas.polygons).all()
    assert shapely.area(areas.polygons).sum() == np.count_nonzero(classes)
    assert shapely.coverage_is_valid(areas.polygons)
    count = sum(ndimage.label(classes == value)[1] for value in (1, 2, 3))
    assert len(areas.polygons) == count


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(patterns, st.sampled_from([0.5, 1.0, 2.0]))
def test_simplified_outlines_stay_valid_and_apart(classes: Classes, tolerance: float) -> None:
    areas = trace(classes, tolerance=tolerance)
    assert shapely.is_valid(areas.polygons).all()
    assert not shapely.is_empty(areas.polygons).any()
    if len(areas.polygons):
        union = shapely.union_all(areas.polygons)
        assert shapely.area(areas.polygons).sum() == pytest.approx(union.area, abs=1e-6)


@pytest.mark.slow
def test_simplified_neighbours_share_their_edges() -> None:
    classes = smooth(256, 4.0) + 1
    exact, simple = trace(classes), trace(classes, tolerance=1.0)
    before, after = (shapely.get_num_coordinates(areas.polygons).sum() for areas in (exact, simple))
    assert after < 0.35 * before
    assert shapely.coverage_is_valid(simple.polygons)
    union = shapely.union_all(simple.polygons)
    assert len(shapely.get_rings(union)) == 1
    distance = shapely.hausdorff_distance(exact.polygons, simple.polygons)
    assert distance.max() <= 1.0 + 1e-9


def test_a_hole_stays_inside_of_an_outline_that_would_leave_it_out() -> None:
    classes = np.zeros((60, 60), np.uint8)
    classes[2:58, 10:55] = 1
    classes[28:33, 5:10] = 1
    classes[30, 7] = 2
    outer, inner = trace(classes, tolerance=8.0).polygons
    assert outer.is_valid
    assert len(outer.interiors) == 1
    assert inner.equals(shapely.Polygon(outer.interiors[0]))


@pytest.mark.parametrize("seed", [30, 56, 180, 208, 454])
def test_outlines_stay_valid_and_apart_at_a_large_tolerance(seed: int) -> None:
    # Here holes leave their shells, and arcs that are then simplified less cross others.
    classes = np.random.default_rng(seed).integers(0, 4, (24, 24)).astype(np.uint8)
    classes = ndimage.median_filter(classes, 3)
    for tolerance in (4.0, 8.0):
        areas = trace(classes, tolerance=tolerance)
        assert shapely.is_valid(areas.polygons).all()
        union = shapely.union_all(areas.polygons)
        assert shapely.area(areas.polygons).sum() == pytest.approx(union.area, abs=1e-6)


def test_a_corner_on_a_straight_edge_of_the_neighbour_is_a_vertex_there() -> None:
    classes = np.array([[1, 1, 1, 1], [2, 2, 3, 3]], np.uint8)
    areas = trace(classes)
    assert (2.0, 1.0) in areas.polygons[0].exterior.coords
    assert shapely.coverage_is_valid(areas.polygons)


def test_an_area_that_touches_itself_at_a_corner_has_a_hole() -> None:
    classes = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 0]], np.uint8)
    areas = trace(classes)
    assert len(areas.polygons) == 1
    assert len(areas.polygons[0].interiors) == 1
    assert areas.polygons[0].area == 7


def test_scores_are_means_over_the_area_across_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    classes = np.zeros((9, 4), np.uint8)
    classes[:, 0] = 1
    classes[6:8, 2:] = 2
    monkeypatch.setattr(components, "BAND_PIXELS", 8)
    areas = trace(classes)
    assert dict(zip(areas.class_ids.tolist(), areas.scores.tolist(), strict=True)) == {
        1: 4.0,
        2: 6.5,
    }


def test_small_areas_are_left_out() -> None:
    classes = np.zeros((20, 20), np.uint8)
    classes[:3, :3], classes[10, 10], classes[15:, 15:] = 1, 1, 2
    areas = trace(classes, minimum=9.0)
    assert sorted(shapely.area(areas.polygons)) == [9.0, 25.0]


def test_an_empty_raster_has_no_areas() -> None:
    areas = trace(np.zeros((5, 7), np.uint8), tolerance=1.0)
    assert len(areas.polygons) == len(areas.class_ids) == len(areas.scores) == 0


def test_progress_rises_to_one_and_may_stop() -> None:
    classes = smooth(64, 3.0)
    seen: list[float] = []
    grid = Grid(Affine.scale(1.0, -1.0), 64, 64)
    trace_areas(grid, lambda _: classes, None, progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 1.0

    def stop(done: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trace_areas(grid, lambda _: classes, None, progress=stop)
