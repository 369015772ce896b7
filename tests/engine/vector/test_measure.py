"""Sizes on the ground."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from affine import Affine
from pyproj import CRS, Geod

from geoseg_qgis.engine.raster.grid import Grid
from geoseg_qgis.engine.vector.measure import measure_polygons, pixel_areas

GEOGRAPHIC = CRS.from_epsg(4326).to_wkt()


def test_geographic_pixels_shrink_towards_the_pole() -> None:
    grid = Grid(Affine(0.01, 0, 10, 0, -0.01, 61), 100, 200, GEOGRAPHIC)
    areas = pixel_areas(grid, np.array([0.5, 0.5]), np.array([0.5, 199.5]))
    expected = [
        abs(
            Geod(ellps="WGS84").geometry_area_perimeter(
                shapely.box(10, south, 10.01, south + 0.01)
            )[0]
        )
        for south in (60.99, 59.0)
    ]
    np.testing.assert_allclose(areas, expected, rtol=1e-5)


def test_feet_and_rotation() -> None:
    transform = Affine.translation(770000, 2950000) @ Affine.rotation(30) @ Affine.scale(2, -3)
    grid = Grid(transform, 100, 100, CRS.from_epsg(2249).to_wkt())
    area = pixel_areas(grid, np.array([50.0]), np.array([50.0]))[0]
    assert area == pytest.approx(6 * (1200 / 3937) ** 2, rel=1e-3)


def test_without_a_crs_sizes_are_in_map_units() -> None:
    grid = Grid(Affine(2, 0, 0, 0, -3, 0), 10, 10, "")
    np.testing.assert_array_equal(pixel_areas(grid, np.array([1.0]), np.array([1.0])), [6.0])
    areas, lengths = measure_polygons(np.array([shapely.box(0, 0, 4, 5)], object), "")
    assert (areas[0], lengths[0]) == (20.0, 18.0)


def test_a_local_site_has_areas_in_its_own_units() -> None:
    site = (
        'ENGCRS["site",EDATUM["pegs"],CS[Cartesian,2],AXIS["x",east],AXIS["y",north],'
        'LENGTHUNIT["metre",1]]'
    )
    grid = Grid(Affine(0.5, 0, 0, 0, -0.5, 0), 20, 20, site)
    assert pixel_areas(grid, np.array([3.0]), np.array([4.0])).tolist() == [0.25]


def test_polygons_are_geodesic_with_holes() -> None:
    ring = shapely.box(10, 60, 11, 61)
    hole = shapely.box(10.25, 60.25, 10.75, 60.75)
    island = shapely.box(12, 60, 12.5, 60.5)
    polygons = np.array([ring.difference(hole), island], object)
    areas, lengths = measure_polygons(polygons, GEOGRAPHIC)
    geod = Geod(ellps="WGS84")
    for polygon, area, length in zip(polygons, areas, lengths, strict=True):
        exact, _ = geod.geometry_area_perimeter(shapely.orient_polygons(polygon))
        perimeter = sum(geod.geometry_length(ring) for ring in shapely.get_rings(polygon))
        assert area == pytest.approx(abs(exact), rel=1e-12)
        assert length == pytest.approx(perimeter, rel=1e-12)


def test_web_mercator_is_not_taken_at_its_word() -> None:
    square = shapely.box(1494000, 6894000, 1495000, 6895000)
    areas, _ = measure_polygons(np.array([square], object), CRS.from_epsg(3857).to_wkt())
    assert areas[0] == pytest.approx(0.6094 * 0.6079 * 1e6, rel=0.01)


def test_nothing_measures_nothing() -> None:
    areas, lengths = measure_polygons(np.zeros(0, object), GEOGRAPHIC)
    assert len(areas) == len(lengths) == 0
