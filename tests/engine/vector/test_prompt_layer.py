"""Features of any kind and CRS on the pixels of a raster, with all of their fields."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from pathlib import Path

import numpy as np
import pytest
import shapely
from affine import Affine
from prompt_cases import NORTH_UP, UTM, on_map, write_layer
from pyproj import CRS, Transformer

from geoseg_qgis.engine.raster.grid import Grid
from geoseg_qgis.engine.vector.attributes import free_names
from geoseg_qgis.engine.vector.prompt_layer import read_prompts
from geoseg_qgis.protocol.errors import ErrorCode, JobError
from geoseg_qgis.protocol.source import VectorSource

UTM_WKT = CRS.from_user_input(UTM).to_wkt()
GRID = Grid(NORTH_UP, 500, 400, UTM_WKT)
TURNED = Affine.translation(400000, 5000000) @ Affine.rotation(30) @ Affine.scale(0.2, -0.2)


def test_points_of_another_crs_come_to_their_pixels(tmp_path: Path) -> None:
    pixels = shapely.points([[10.25, 20.75], [499.5, 0.5], [250.0, 200.0]])
    for crs in ("EPSG:4326", "EPSG:3857", "EPSG:32632"):
        transformer = Transformer.from_crs(UTM, crs, always_xy=True)
        moved = shapely.transform(
            on_map(pixels, TURNED),
            lambda p, t=transformer: np.stack(t.transform(p[:, 0], p[:, 1]), axis=1),
        )
        path = tmp_path / f"{crs[5:]}.gpkg"
        source = write_layer(path, moved, crs=crs)
        layer = read_prompts(source, Grid(TURNED, 500, 400, UTM_WKT))
        assert shapely.equals_exact(layer.shapes, pixels, tolerance=1e-4).all()
        assert layer.notes == ()


def test_the_crs_of_the_source_goes_before_that_of_the_file(tmp_path: Path) -> None:
    pixels = shapely.points([[10.25, 20.75]])
    path = write_layer(tmp_path / "a.gpkg", on_map(pixels, NORTH_UP), crs="EPSG:4326").path
    layer = read_prompts(VectorSource(path, "prompts", UTM_WKT), GRID)
    assert shapely.equals_exact(layer.shapes, pixels, tolerance=1e-6).all()


@pytest.mark.parametrize("side", ["prompts", "raster"])
def test_a_missing_crs_is_told(side: str, tmp_path: Path) -> None:
    pixels = shapely.points([[10.0, 20.0]])
    source = write_layer(
        tmp_path / "a.gpkg", on_map(pixels, NORTH_UP), crs=None if side == "prompts" else UTM
    )
    layer = read_prompts(source, GRID if side == "prompts" else Grid(NORTH_UP, 500, 400))
    assert shapely.equals_exact(layer.shapes, pixels, tolerance=1e-6).all()
    (note,) = layer.notes
    assert note.startswith("The layer of prompts has no CRS" if side == "prompts" else "The raster")


@pytest.mark.slow
def test_a_crs_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    source = write_layer(tmp_path / "a.gpkg", [shapely.Point(1, 2)])
    with pytest.raises(JobError) as caught:
        read_prompts(VectorSource(source.path, "prompts", "no CRS at all"), GRID)
    assert caught.value.code is ErrorCode.SOURCE_UNREADABLE
    assert caught.value.hint == "Save the prompts in the raster's CRS."


def test_long_lines_are_bent_as_the_map_bends_them(tmp_path: Path) -> None:
    """A parallel of latitude is a curve in UTM: its middle must not be cut short."""
    grid = Grid(Affine(100.0, 0, 200000, 0, -100.0, 5600000), 6000, 3000, UTM_WKT)
    line = shapely.LineString([(12.0, 50.0), (18.0, 50.0)])
    layer = read_prompts(write_layer(tmp_path / "a.gpkg", [line], crs="EPSG:4326"), grid)
    to_utm = Transformer.from_crs("EPSG:4326", UTM, always_xy=True)
    middle = shapely.Point(grid.pixel_point(*to_utm.transform(15.0, 50.0)))
    assert shapely.distance(layer.shapes[0], middle) < 0.2
    ends = [grid.pixel_point(*to_utm.transform(x, 50.0)) for x in (12.0, 18.0)]
    assert shapely.distance(shapely.LineString(ends), middle) > 40


@pytest.mark.parametrize(
    ("name", "ring", "transform", "is_box"),
    [
        ("along pixels", [(10, 20), (60, 20), (60, 90), (10, 90)], NORTH_UP, True),
        ("five corners", [(10, 20), (60, 20), (60, 90), (35, 91), (10, 90)], NORTH_UP, True),
        ("a little turned", [(10, 20), (60, 20.5), (59.6, 90.5), (9.6, 90)], NORTH_UP, True),
        ("turned", [(50, 20), (80, 50), (50, 80), (20, 50)], NORTH_UP, False),
        ("triangle", [(10, 20), (60, 20), (60, 90)], NORTH_UP, False),
        ("along turned pixels", [(10, 20), (60, 20), (60, 90), (10, 90)], TURNED, True),
    ],
)
def test_rectangles_are_boxes(
    name: str, ring: list[tuple[float, float]], transform: Affine, is_box: bool, tmp_path: Path
) -> None:
    source = write_layer(tmp_path / "a.gpkg", on_map([shapely.Polygon(ring)], transform))
    layer = read_prompts(source, Grid(transform, 500, 400, UTM_WKT))
    assert layer.boxes.tolist() == [is_box], name


def test_a_rectangle_of_the_map_is_a_box_on_a_turned_raster(tmp_path: Path) -> None:
    centre = TURNED @ (250.0, 200.0)
    shape = shapely.box(centre[0] - 10, centre[1] - 5, centre[0] + 10, centre[1] + 5)
    layer = read_prompts(write_layer(tmp_path / "a.gpkg", [shape]), Grid(TURNED, 500, 400, UTM_WKT))
    assert layer.boxes.tolist() == [True]
    assert shapely.area(layer.shapes[0]) == pytest.approx(100 * 50, rel=1e-6)


def test_curves_parts_and_missing_geometries_are_read(tmp_path: Path) -> None:
    table = (
        'n;wkt\n1;"CURVEPOLYGON (CIRCULARSTRING (0 0, 2 0, 2 2, 0 2, 0 0))"\n'
        '2;"CIRCULARSTRING (0 0, 1 1, 2 0)"\n3;"MULTISURFACE (((0 0, 1 0, 1 1, 0 0)))"\n'
        '4;"POINT ZM (1 2 3 4)"\n5;"GEOMETRYCOLLECTION (POINT (1 2), LINESTRING (0 0, 1 1))"\n'
        "6;\n7;POLYGON EMPTY\n"
    )
    path = tmp_path / "curves.csv"
    path.write_text(table, encoding="utf-8")
    grid = Grid(Affine.scale(0.01, 0.01), 500, 500)
    layer = read_prompts(VectorSource(str(path)), grid)
    assert shapely.area(layer.shapes[0]) == pytest.approx(np.pi * 2 * 1e4, rel=1e-3)
    assert shapely.length(layer.shapes[1]) == pytest.approx(np.pi * 100, rel=1e-3)
    assert shapely.area(layer.shapes[2]) == pytest.approx(0.5e4)
    assert shapely.get_coordinates(layer.shapes[3]).tolist() == [[100.0, 200.0]]
    assert shapely.get_num_geometries(layer.shapes[4]) == 2
    assert shapely.is_empty(layer.shapes).tolist() == [False] * 5 + [True] * 2


def test_broken_outlines_are_repaired(tmp_path: Path) -> None:
    bow = shapely.Polygon([(10, 10), (30, 30), (30, 10), (10, 30)])
    layer = read_prompts(write_layer(tmp_path / "a.gpkg", on_map([bow], NORTH_UP)), GRID)
    assert shapely.is_valid(layer.shapes[0])
    assert shapely.area(layer.shapes[0]) == pytest.approx(200.0)


def test_shapes_without_a_size_become_points(tmp_path: Path) -> None:
    shapes = [
        shapely.LineString([(9, 9), (9, 9)]),
        shapely.Polygon([(5, 5), (5, 5), (5, 5)]),
        shapely.Polygon([(5, 5), (7, 5), (5, 5)]),
    ]
    layer = read_prompts(write_layer(tmp_path / "a.gpkg", on_map(shapes, NORTH_UP)), GRID)
    assert [shape.geom_type for shape in layer.shapes] == ["Point", "Point", "LineString"]
    assert shapely.get_coordinates(layer.shapes[0]).tolist() == pytest.approx(np.array([[9, 9]]))


def points(count: int) -> np.ndarray:
    return on_map(shapely.points([[x + 0.5, 5.5] for x in range(count)]), NORTH_UP)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([1, 0, 2, -1], dtype=np.int32), [True, False, True, False]),
        (np.array([1.0, 0.0, np.nan, 0.5]), [True, False, True, True]),
        (np.array([True, False, True, False]), [True, False, True, False]),
        (np.array(["1", "0", None, " Negative "], dtype=object), [True, False, True, False]),
    ],
)
def test_labels_of_any_type(values: np.ndarray, expected: list[bool], tmp_path: Path) -> None:
    source = write_layer(tmp_path / "a.gpkg", points(4), {"label": values})
    assert read_prompts(source, GRID, "label").positive.tolist() == expected


def test_a_null_label_is_positive(tmp_path: Path) -> None:
    labels = np.array([0, 0, 1], dtype=np.int32)
    source = write_layer(
        tmp_path / "a.gpkg", points(3), {"label": labels},
        empty={"label": np.array([False, True, False])},
    )  # fmt: skip
    assert read_prompts(source, GRID, "label").positive.tolist() == [False, True, True]


def test_labels_without_meaning_are_refused(tmp_path: Path) -> None:
    values = np.array(["1", "roof"], dtype=object)
    source = write_layer(tmp_path / "a.gpkg", points(2), {"label": values})
    with pytest.raises(JobError) as caught:
        read_prompts(source, GRID, "label")
    assert caught.value.code is ErrorCode.INVALID_JOB
    assert "'roof'" in caught.value.message


def test_a_date_is_no_label(tmp_path: Path) -> None:
    dates = np.array(["2020-05-01"], dtype="datetime64[D]")
    source = write_layer(tmp_path / "a.gpkg", points(1), {"label": dates})
    with pytest.raises(JobError, match="holds '2020-05-01', which is neither"):
        read_prompts(source, GRID, "label")


def test_equal_values_of_the_group_field_make_an_object(tmp_path: Path) -> None:
    groups = np.array(["b", "a", None, "b", None, "a"], dtype=object)
    source = write_layer(tmp_path / "a.gpkg", points(6), {"house": groups})
    assert read_prompts(source, GRID, "", "house").objects.tolist() == [0, 1, 2, 0, 3, 1]
    assert read_prompts(source, GRID).objects.tolist() == [0, 1, 2, 3, 4, 5]


def test_an_unknown_field_is_named(tmp_path: Path) -> None:
    source = write_layer(tmp_path / "a.gpkg", points(1), {"label": [1]})
    with pytest.raises(JobError, match="no field called 'lable'"):
        read_prompts(source, GRID, "lable")


def test_a_layer_without_fields_is_read(tmp_path: Path) -> None:
    layer = read_prompts(write_layer(tmp_path / "a.gpkg", points(2)), GRID)
    assert layer.positive.tolist() == [True, True]
    assert layer.attributes.names == ()


def test_an_empty_layer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(JobError) as caught:
        read_prompts(write_layer(tmp_path / "a.gpkg", [], {"n": np.zeros(0, np.int32)}), GRID)
    assert caught.value.code is ErrorCode.INVALID_JOB
    assert caught.value.message == "The layer of prompts is empty."


def test_a_file_that_is_no_layer_is_told(tmp_path: Path) -> None:
    path = tmp_path / "prompts.gpkg"
    path.write_bytes(b"not a database")
    with pytest.raises(JobError) as caught:
        read_prompts(VectorSource(str(path)), GRID)
    assert caught.value.code is ErrorCode.SOURCE_UNREADABLE


def test_fields_keep_their_types_beside_nulls(tmp_path: Path) -> None:
    values = {
        "small": 7, "flag": True, "large": 2**53 + 1, "share": 0.5, "name": "Zürich 日本",
        "day": "2024-01-02", "moment": "2024-01-02T03:04:05", "list": [1, 2],
    }  # fmt: skip
    features = [
        {"type": "Feature", "properties": row, "geometry": {"type": "Point", "coordinates": [1, 2]}}
        for row in (values, dict.fromkeys(values))
    ]
    path = tmp_path / "a.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}), "utf-8")
    table = read_prompts(VectorSource(str(path)), Grid(NORTH_UP, 500, 400)).attributes
    kinds = dict(zip(table.names, (column.dtype.str[1:] for column in table.values), strict=True))
    assert kinds == {
        "small": "i4", "flag": "b1", "large": "i8", "share": "f8", "name": "O",
        "day": "M8[D]", "moment": "M8[ms]", "list": "O",
    }  # fmt: skip
    assert table.column("large") == [2**53 + 1, None]
    assert table.column("flag") == [True, None]
    assert table.column("name") == ["Zürich 日本", None]
    assert table.column("list") == ["[1, 2]", None]


def test_names_that_are_taken_get_a_number() -> None:
    assert free_names(["score", "area_m2"], ["Score", "SCORE_1"]) == ("score_2", "area_m2")
    assert free_names(["a", "A"], []) == ("a", "A_1")


def test_longitudes_beyond_the_date_line_come_to_their_pixels(tmp_path: Path) -> None:
    grid = Grid(
        Affine(2e-6, 0.0, 179.9995, 0.0, -2e-6, -16.5), 500, 500, CRS.from_epsg(4326).to_wkt()
    )
    points = shapely.points([[-179.9997, -16.5005], [179.9996, -16.5005]])
    layer = read_prompts(write_layer(tmp_path / "a.gpkg", points, crs="EPSG:4326"), grid)
    placed = shapely.points([[400.0, 250.0], [50.0, 250.0]])
    assert shapely.equals_exact(layer.shapes, placed, tolerance=1e-3).all()


def test_an_exclamation_mark_in_a_path_is_a_letter(tmp_path: Path) -> None:
    folder = tmp_path / "hey!"
    folder.mkdir()
    source = write_layer(tmp_path / "a.gpkg", points(2))
    moved = (tmp_path / "a.gpkg").rename(folder / "a.gpkg")
    layer = read_prompts(VectorSource(str(moved), source.layer, source.crs_wkt), GRID)
    assert len(layer.shapes) == 2


def test_places_from_qgis_are_taken_as_they_are(tmp_path: Path) -> None:
    pixels = shapely.points([[10.25, 20.75]])
    placed = shapely.to_wkb(on_map(pixels, NORTH_UP))
    source = write_layer(tmp_path / "a.gpkg", shapely.points([[1.0, 2.0]]), crs="EPSG:5514")
    with contextlib.closing(sqlite3.connect(source.path)) as database, database:
        for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'"):
            database.execute(f'DROP TRIGGER "{name}"')
        database.execute("ALTER TABLE prompts ADD COLUMN placed BLOB")
        database.execute("UPDATE prompts SET placed = ?", (placed[0],))
    source = VectorSource(source.path, source.layer, source.crs_wkt, placed_field="placed")
    layer = read_prompts(source, GRID)
    assert shapely.equals_exact(layer.shapes, pixels, tolerance=1e-6).all()
    assert "placed" not in layer.attributes.names
