"""What features ask for: points, boxes and what becomes of lines and polygons."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import shapely
from prompt_cases import NORTH_UP, on_map, write_layer
from pyproj import CRS
from shapely.geometry.base import BaseGeometry

from geoseg_qgis.engine.methods.prompted.prompted_objects import (
    MOST_POINTS,
    ObjectPrompts,
    gather_objects,
    inner_points_of,
)
from geoseg_qgis.engine.raster.grid import Grid
from geoseg_qgis.engine.vector.prompt_layer import read_prompts

GRID = Grid(NORTH_UP, 500, 400, CRS.from_user_input("EPSG:32633").to_wkt())
ELL = shapely.Polygon([(0, 0), (100, 0), (100, 20), (20, 20), (20, 100), (0, 100)])


def gather(
    folder: Path,
    shapes: list[BaseGeometry],
    labels: list[int] | None = None,
    groups: list[str] | None = None,
) -> ObjectPrompts:
    fields = {
        "label": np.array(labels or [1] * len(shapes), dtype=np.int32),
        "house": np.array(groups or [str(n) for n in range(len(shapes))], dtype=object),
    }
    source = write_layer(folder / "prompts.gpkg", on_map(shapes, NORTH_UP), fields)
    layer = read_prompts(source, GRID, "label", "house")
    return gather_objects(layer, (0.0, 0.0, 500.0, 400.0))


def test_lines_become_points_along_them(tmp_path: Path) -> None:
    (item,) = gather(tmp_path, [shapely.LineString([(10, 50), (60, 50)])]).objects
    assert np.allclose(item.positive, [(15, 50), (25, 50), (35, 50), (45, 50), (55, 50)], atol=1e-5)
    assert item.box is None
    assert item.limits is None


def test_boxes_have_no_points_and_a_narrow_margin(tmp_path: Path) -> None:
    (item,) = gather(tmp_path, [shapely.box(100, 50, 140, 60)]).objects
    assert len(item.positive) == 0
    assert item.box == pytest.approx((100, 50, 140, 60))
    assert item.limits is not None
    assert item.limits.bounds == pytest.approx((99.2, 49.2, 140.8, 60.8))
    assert shapely.area(item.limits) == pytest.approx(41.6 * 11.6)


def test_other_polygons_are_a_box_with_points_inside(tmp_path: Path) -> None:
    (item,) = gather(tmp_path, [ELL]).objects
    assert item.box == pytest.approx((0, 0, 100, 100), abs=1e-5)
    assert len(item.positive) == 3
    assert item.limits is not None
    assert shapely.contains_xy(item.limits, [-8, 108, 60], [50, 10, 27]).all()
    assert not shapely.contains_xy(item.limits, [-10, 60], [50, 60]).any()
    assert shapely.contains_xy(ELL, item.positive).all()


def test_inner_points_lie_deep_and_apart() -> None:
    points = inner_points_of(ELL, 3)
    depth = shapely.distance(shapely.points(points), ELL.exterior)
    assert depth[0] == pytest.approx(11.7, abs=0.5)
    assert (depth[1:] > 8).all()
    apart = np.hypot(*(points[:, None] - points[None]).transpose(2, 0, 1))
    assert apart[np.triu_indices(3, 1)].min() > 15
    assert len(inner_points_of(shapely.Point(0, 0).buffer(10), 3)) == 1


def test_parts_of_a_feature_are_one_object(tmp_path: Path) -> None:
    points = shapely.MultiPoint([(10, 10), (20, 10)])
    boxes = shapely.MultiPolygon([shapely.box(50, 50, 60, 60), shapely.box(90, 80, 99, 99)])
    first, second = gather(tmp_path, [points, boxes]).objects
    assert first.positive.round(4).tolist() == [[10, 10], [20, 10]]
    assert first.features == 1
    assert second.box == pytest.approx((50, 50, 99, 99))
    assert len(second.areas) == 2


def test_groups_mix_positive_and_negative_features(tmp_path: Path) -> None:
    found = gather(
        tmp_path,
        [
            shapely.Point(30, 30),
            shapely.Point(10, 10),
            shapely.box(200, 200, 220, 240),
            shapely.Point(12, 11),
            shapely.Point(300, 300),
        ],
        [0, 1, 0, 1, 0],
        ["a", "a", "a", "a", "b"],
    )
    (item,) = found.objects
    assert item.on_object.tolist() == [False, True, False, True]
    assert item.points[[0, 1, 3]].round(4).tolist() == [[30, 30], [10, 10], [12, 11]]
    assert 205 < item.points[2][0] < 215
    assert (item.first, item.features, item.areas) == (1, 4, ())
    assert (found.count, found.without_positive) == (2, 1)


def test_what_lies_outside_is_counted_and_cut_off(tmp_path: Path) -> None:
    found = gather(
        tmp_path,
        [shapely.Point(-5, 10), shapely.box(480, 380, 530, 430), shapely.Point(500.5, 1)],
    )
    (item,) = found.objects
    assert found.outside == 2
    assert item.box == pytest.approx((480, 380, 500, 400))


def test_the_points_of_a_feature_keep_the_order_of_their_clicks(tmp_path: Path) -> None:
    clicks = [(90, 10), (10, 50), (50, 30), (20, 20)]
    for places in (clicks, [*clicks[:2], (-5, 3), *clicks[2:]]):
        (item,) = gather(tmp_path, [shapely.MultiPoint(places)]).objects
        assert item.points.round(4).tolist() == [list(place) for place in clicks]


def test_many_points_are_thinned_evenly(tmp_path: Path) -> None:
    crowd = shapely.MultiPoint([(x, 7) for x in range(1, 101)])
    found = gather(tmp_path, [crowd])
    assert found.thinned == 1
    places = found.objects[0].points[:, 0].round(4)
    assert len(places) == MOST_POINTS
    assert (places[0], places[-1]) == (1.0, 100.0)
    assert np.diff(places).max() <= 4.0
