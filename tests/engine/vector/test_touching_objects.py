"""Touching objects become areas of their own; rests join the object with the longest border."""

import numpy as np
import pytest
import shapely
from affine import Affine
from numpy.typing import NDArray

from geoseg_qgis.engine.raster.grid import Grid
from geoseg_qgis.engine.vector import components
from geoseg_qgis.engine.vector.areas import TracedAreas, trace_areas


def trace(classes: NDArray[np.uint8], objects: NDArray[np.int32]) -> TracedAreas:
    height, width = classes.shape
    grid = Grid(Affine(1, 0, 0, 0, -1, 0), width, height, "")
    return trace_areas(
        grid,
        lambda window: classes[window.toslices()],
        lambda window, _: np.full((int(window.height), int(window.width)), 0.5, np.float32),
        read_objects=lambda window: objects[window.toslices()],
    )


def row(*parts: tuple[int, int]) -> NDArray[np.int32]:
    """Two equal rows with (value, count) one beside the other."""
    line = np.concatenate([np.full(count, value, np.int32) for value, count in parts])
    return np.stack([line, line])


def bounds(areas: TracedAreas) -> list[tuple[float, ...]]:
    return sorted(tuple(float(v) for v in polygon.bounds) for polygon in areas.polygons)


def test_objects_that_touch_are_apart_and_share_their_border() -> None:
    areas = trace(row((1, 8)).astype(np.uint8), row((7, 5), (9, 3)))
    assert bounds(areas) == [(0, 0, 5, 2), (5, 0, 8, 2)]
    assert areas.class_ids.tolist() == [1, 1]
    assert areas.scores.tolist() == [0.5, 0.5]


def test_small_rests_join_the_object_with_the_longest_border() -> None:
    classes = np.ones((4, 6), np.uint8)
    objects = np.zeros((4, 6), np.int32)
    objects[:, :3] = 1
    objects[0, 5] = 2
    # The rest has four pixels of border with object 1, and two with object 2.
    areas = trace(classes, objects)
    assert sorted(polygon.area for polygon in areas.polygons) == [1, 23]


def test_an_area_that_its_objects_hardly_cover_stays_whole() -> None:
    ones = row((1, 9)).astype(np.uint8)
    assert bounds(trace(ones, row((4, 2), (0, 5), (7, 2)))) == [(0, 0, 9, 2)]
    assert bounds(trace(ones, row((4, 3), (0, 4), (7, 2)))) == [(0, 0, 7, 2), (7, 0, 9, 2)]


def test_a_single_object_cuts_nothing_off() -> None:
    ones = row((1, 9)).astype(np.uint8)
    assert bounds(trace(ones, row((4, 7), (0, 2)))) == [(0, 0, 9, 2)]


def test_the_smaller_piece_of_an_object_is_no_second_polygon() -> None:
    areas = trace(row((1, 12)).astype(np.uint8), row((4, 5), (6, 4), (4, 3)))
    assert bounds(areas) == [(0, 0, 5, 2), (5, 0, 12, 2)]


def test_objects_never_take_pixels_of_another_class() -> None:
    areas = trace(row((1, 4), (2, 2), (0, 1), (2, 1)).astype(np.uint8), row((3, 8)))
    found = dict(zip(bounds(areas), [1, 2, 2], strict=True))
    assert found == {(0, 0, 4, 2): 1, (4, 0, 6, 2): 2, (7, 0, 8, 2): 2}
    assert sorted(areas.class_ids.tolist()) == [1, 2, 2]


def test_without_objects_areas_are_connected_as_before() -> None:
    classes = row((1, 4), (0, 1), (1, 2)).astype(np.uint8)
    assert bounds(trace(classes, row((0, 7)))) == [(0, 0, 4, 2), (5, 0, 7, 2)]
    assert not len(trace(row((0, 3)).astype(np.uint8), row((1, 3))).polygons)


def test_bands_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(3)
    classes = np.kron(random.integers(0, 3, (10, 10)), np.ones((3, 3))).astype(np.uint8)
    objects = np.kron(random.integers(0, 9, (6, 6)), np.ones((5, 5))).astype(np.int32)
    whole = trace(classes, objects)
    monkeypatch.setattr(components, "BAND_PIXELS", 120)
    banded = trace(classes, objects)
    assert shapely.equals(
        shapely.normalize(shapely.multipolygons(whole.polygons)),
        shapely.normalize(shapely.multipolygons(banded.polygons)),
    )
    assert len(whole.polygons) == len(banded.polygons) > 20
    assert sum(polygon.area for polygon in whole.polygons) == np.count_nonzero(classes)
