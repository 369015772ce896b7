"""Right angles for buildings."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
import shapely.affinity
from affine import Affine
from rasterio.features import rasterize
from rasterio.windows import Window

from geoseg_qgis.engine.raster.grid import Grid
from geoseg_qgis.engine.vector.areas import trace_areas
from geoseg_qgis.engine.vector.right_angles import square_polygon

L_SHAPE = shapely.union(shapely.box(30, 40, 90, 75), shapely.box(30, 40, 55, 100))


def outline_of_pixels(shape: shapely.Polygon) -> shapely.Polygon:
    burnt = rasterize([(shape, 1)], out_shape=(160, 160), transform=Affine.identity())

    def read(window: Window) -> np.ndarray:
        top = int(window.row_off)
        return np.asarray(burnt[top : top + int(window.height)], np.uint8)

    grid = Grid(Affine.scale(1.0, -1.0), 160, 160)
    return trace_areas(grid, read, None, 0.0, 1.0).polygons[0]


def turns(polygon: shapely.Polygon) -> np.ndarray:
    steps = np.diff(np.asarray(polygon.exterior.coords), axis=0)
    angles = np.degrees(np.arctan2(steps[:, 1], steps[:, 0]))
    return np.abs(np.diff(np.append(angles, angles[0]))) % 180


@pytest.mark.parametrize("angle", [0, 12, 30, 45, 73])
def test_an_l_shaped_building_is_found_again(angle: float) -> None:
    truth = shapely.affinity.rotate(L_SHAPE, angle)
    squared = square_polygon(outline_of_pixels(truth), 1.5)
    assert len(squared.exterior.coords) == 7
    np.testing.assert_allclose(turns(squared), 90.0, atol=1e-6)
    overlap = squared.intersection(truth).area / squared.union(truth).area
    assert overlap > 0.96


def test_a_courtyard_stays() -> None:
    house = shapely.box(20, 20, 100, 100).difference(shapely.box(45, 45, 75, 75))
    squared = square_polygon(outline_of_pixels(shapely.affinity.rotate(house, 20)), 1.5)
    assert len(squared.interiors) == 1
    assert squared.area == pytest.approx(house.area, rel=0.03)


def test_what_is_not_square_stays_as_it_is() -> None:
    ring = shapely.Point(80, 80).buffer(60).difference(shapely.Point(80, 80).buffer(52))
    star = ring.difference(shapely.box(80, 20, 160, 80))
    assert square_polygon(star, 1.5) is star


def test_the_result_covers_nearly_the_same_ground() -> None:
    generator = np.random.default_rng(0)
    for _ in range(40):
        corners = generator.random((12, 2)) * 100
        polygon = shapely.convex_hull(shapely.multipoints(corners))
        squared = square_polygon(polygon, 1.5)
        overlap = squared.intersection(polygon).area / squared.union(polygon).area
        assert squared.is_valid
        assert overlap >= 0.8
