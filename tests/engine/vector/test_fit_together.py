"""Squared houses among their neighbours."""

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
from geoseg_qgis.engine.vector.polygonize import square_outlines
from geoseg_qgis.engine.vector.right_angles import fit_together, square_polygon

SIDE = 200
GRID = Grid(Affine.scale(1.0, -1.0), SIDE, SIDE)
GROUND, HOUSE, ROAD = 1, 2, 3


def traced(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the outlines of a class raster and their classes."""

    def read(window: Window) -> np.ndarray:
        top = int(window.row_off)
        return np.asarray(labels[top : top + int(window.height)], np.uint8)

    areas = trace_areas(GRID, read, None, 0.0, 1.0)
    return areas.polygons, areas.class_ids


def fitted(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    outlines, classes = traced(labels)
    chosen = classes == HOUSE
    squared = outlines.copy()
    squared[chosen] = square_outlines(outlines[chosen], GRID, 1.0)
    return fit_together(squared, outlines, chosen, GRID.shape), classes


@pytest.mark.parametrize("seed", range(6))
def test_no_polygon_overlaps_another_or_leaves_the_raster(seed: int) -> None:
    chance = np.random.default_rng(seed)
    labels = np.full((SIDE, SIDE), GROUND, np.uint8)
    labels[:, 95:103] = ROAD
    shapes = []
    for _ in range(25):
        # Some reach over the edge, and some touch or cover each other.
        x, y = chance.uniform(-5, SIDE + 5, 2)
        width, height = chance.uniform(12, 40, 2)
        house = shapely.box(x, y, x + width, y + height)
        shapes.append(shapely.affinity.rotate(house, chance.uniform(0, 90)))
    burnt = rasterize([(each, HOUSE) for each in shapes], out=labels.copy())
    polygons, classes = fitted(burnt)
    assert all(isinstance(each, shapely.Polygon) and each.is_valid for each in polygons)
    assert shapely.union_all(polygons).area == pytest.approx(shapely.area(polygons).sum(), abs=1e-3)
    left, top, right, bottom = shapely.total_bounds(polygons)
    assert min(left, top) >= 0.0
    assert max(right, bottom) <= SIDE
    found = shapely.union_all(polygons[classes == HOUSE])
    truth = shapely.union_all(traced(burnt)[0][traced(burnt)[1] == HOUSE])
    assert found.intersection(truth).area / found.union(truth).area > 0.85


@pytest.mark.parametrize("angle", [0, 7, 15, 28, 40, 45, 52, 66, 81])
@pytest.mark.parametrize("size", [(10, 16), (14, 20), (24, 36)])
def test_a_house_that_lies_askew_has_four_corners(angle: float, size: tuple[int, int]) -> None:
    house = shapely.box(80, 80, 80 + size[0], 80 + size[1])
    truth = shapely.affinity.rotate(house, angle)
    labels = rasterize([(truth, HOUSE)], out_shape=(SIDE, SIDE))
    (outline,), _ = traced(labels.astype(np.uint8))
    squared = square_polygon(outline, 1.0)
    assert len(squared.exterior.coords) == 5
    assert squared.intersection(truth).area / squared.union(truth).area > 0.85
    corners = np.asarray(squared.exterior.coords)
    direction = np.degrees(np.arctan2(*(corners[1] - corners[0])[::-1]))
    assert (direction - angle + 45) % 90 - 45 == pytest.approx(0, abs=6)
