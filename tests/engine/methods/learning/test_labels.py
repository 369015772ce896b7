"""Labels as pixels: points, lines, polygons, rasters, and labels that cannot be right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
from labelled_scene import LEFT, PIXEL, SIDE, TOP, on_map, square, three_classes, write_labels
from pyproj import Transformer

from geoseg_qgis.engine.methods.learning.labels import (
    PIXELS_A_CLASS,
    PIXELS_A_PLACE,
    Labels,
    read_labels,
)
from geoseg_qgis.engine.raster.grid import Grid
from geoseg_qgis.protocol.errors import ErrorCode, JobError
from geoseg_qgis.protocol.legend import EVERYTHING_ELSE
from geoseg_qgis.protocol.source import LayerSource, RasterSource

GRID = Grid(
    rasterio.Affine(PIXEL, 0, LEFT, 0, -PIXEL, TOP), SIDE, SIDE,
    rasterio.CRS.from_epsg(32633).to_wkt(),
)  # fmt: skip


def read(source: LayerSource, area: LayerSource | None = None, field: str = "kind") -> Labels:
    return read_labels(source, field, area, GRID, 0, lambda _: None)


def pixels(labels: Labels, name: str) -> set[tuple[int, int]]:
    chosen = labels.take(labels.classes == labels.names.index(name))
    return set(zip(chosen.rows.tolist(), chosen.columns.tolist(), strict=True))


def test_points_lines_and_polygons_mark_their_pixels(tmp_path: Path) -> None:
    line = shapely.LineString([on_map(30.5, 50.5), on_map(34.5, 50.5)])
    source = write_labels(
        tmp_path / "labels.gpkg",
        [shapely.Point(on_map(3.2, 7.9)), line, square(10, 20, 3)],
        ["water", "road", "grass"],
    )
    labels = read(source)
    assert labels.names == ("grass", "road", "water")
    assert pixels(labels, "water") == {(7, 3)}
    assert pixels(labels, "road") == {(50, column) for column in range(30, 35)}
    assert pixels(labels, "grass") == {(r, c) for r in range(20, 23) for c in range(10, 13)}
    assert labels.counts() == [(1, 9), (1, 5), (1, 1)]


def test_a_polygon_smaller_than_a_pixel_marks_it(tmp_path: Path) -> None:
    tiny = shapely.box(*on_map(40.1, 60.3), *on_map(40.3, 60.1))
    labels = read(write_labels(tmp_path / "l.gpkg", [tiny, square(0, 0, 2)], ["a", "b"]))
    assert pixels(labels, "a") == {(60, 40)}


def test_labels_of_another_crs_lie_where_they_were_drawn(tmp_path: Path) -> None:
    to_degrees = Transformer.from_crs(32633, 4326, always_xy=True)
    points = [shapely.Point(to_degrees.transform(*on_map(c + 0.5, 12.5))) for c in (5, 90)]
    labels = read(write_labels(tmp_path / "l.gpkg", points, ["a", "b"], "EPSG:4326"))
    assert (pixels(labels, "a"), pixels(labels, "b")) == ({(12, 5)}, {(12, 90)})


def test_a_large_polygon_gives_few_pixels_and_all_of_its_own(tmp_path: Path) -> None:
    labels = read(
        write_labels(tmp_path / "l.gpkg", [square(0, 0, 100), square(120, 120, 4)], [7, 9])
    )
    assert labels.names == ("7", "9")
    assert len(pixels(labels, "7")) == PIXELS_A_PLACE
    assert all(row < 100 and column < 100 for row, column in pixels(labels, "7"))
    again = read(
        write_labels(tmp_path / "m.gpkg", [square(0, 0, 100), square(120, 120, 4)], [7, 9])
    )
    assert labels.digest == again.digest


def test_labels_that_disagree_are_left_out_and_named(tmp_path: Path) -> None:
    shapes = [square(0, 0, 4), square(2, 0, 4), square(2, 0, 1)]
    labels = read(write_labels(tmp_path / "l.gpkg", shapes, ["water", "road", "road"]))
    assert pixels(labels, "water") == {(r, c) for r in range(4) for c in range(2)}
    assert pixels(labels, "road") == {(r, c) for r in range(4) for c in range(4, 6)}
    (note,) = labels.notes
    assert note.startswith("Pixels with labels of different classes, which were left out: 8, ")
    assert "road and water" in note


def test_every_pixel_in_disagreement_is_an_error(tmp_path: Path) -> None:
    source = write_labels(tmp_path / "l.gpkg", [square(0, 0, 3)] * 2, ["water", "road"])
    with pytest.raises(JobError, match="has labels of different classes") as caught:
        read(source)
    assert caught.value.code is ErrorCode.INVALID_CLASSES


def test_one_class_needs_an_area(tmp_path: Path) -> None:
    source = write_labels(tmp_path / "l.gpkg", [square(0, 0, 3), square(9, 9, 3)], ["roof"] * 2)
    with pytest.raises(JobError, match="only one class on the imagery: roof") as caught:
        read(source)
    assert "an area that is fully labelled" in caught.value.hint
    area = write_labels(tmp_path / "area.gpkg", [square(0, 0, 20)], [1])
    labels = read(source, area)
    assert labels.names == ("roof", EVERYTHING_ELSE)
    others = pixels(labels, EVERYTHING_ELSE)
    assert len(others) == 400 - 18
    assert not others & pixels(labels, "roof")
    assert all(row < 20 and column < 20 for row, column in others)


def test_labels_elsewhere_are_an_error(tmp_path: Path) -> None:
    source = write_labels(tmp_path / "l.gpkg", [square(900, 0, 3), square(990, 0, 3)], ["a", "b"])
    with pytest.raises(JobError, match="No label of 'l' lies on the imagery") as caught:
        read(source)
    assert caught.value.code is ErrorCode.EXTENT_OUTSIDE


def test_the_wrong_field_is_an_error(tmp_path: Path) -> None:
    shapes = [square(x % 80 * 2, x // 80 * 2, 1) for x in range(200)]
    source = write_labels(tmp_path / "l.gpkg", shapes, list(range(200)))
    with pytest.raises(JobError, match="200 different values in the field 'kind'"):
        read(source)
    with pytest.raises(JobError, match="have no field called 'class'") as caught:
        read(source, field="class")
    assert "kind" in caught.value.hint


def test_an_empty_layer_and_labels_without_a_class(tmp_path: Path) -> None:
    empty = write_labels(tmp_path / "e.gpkg", [], [])
    with pytest.raises(JobError, match="The layer of labels 'e' is empty"):
        read(empty)
    shapes = [square(0, 0, 2), square(5, 0, 2), square(10, 0, 2)]
    labels = read(write_labels(tmp_path / "l.gpkg", shapes, ["a", "", "b"]))
    assert labels.names == ("a", "b")
    assert labels.notes == (
        "Labels without a value in the field of the class, which were left out: 1.",
    )


def test_a_class_raster_is_read_on_its_own_pixels(tmp_path: Path) -> None:
    classes = three_classes().astype(np.uint8)
    with rasterio.open(
        tmp_path / "labels.tif", "w", driver="GTiff", height=SIDE, width=SIDE, count=1,
        dtype="uint8", crs="EPSG:32633", transform=GRID.transform,
    ) as dataset:  # fmt: skip
        dataset.write(classes, 1)
    labels = read(RasterSource(str(tmp_path / "labels.tif")), field="")
    assert labels.names == ("1", "2")
    for number, name in enumerate(labels.names, start=1):
        found = pixels(labels, name)
        assert len(found) == PIXELS_A_CLASS
        assert all(classes[place] == number for place in found)
