"""Class raster to GeoPackage: place, attributes, style, options, and nothing half-written."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
import shapely.affinity
from affine import Affine
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.features import rasterize
from rasterio.windows import Window

from geoseg_qgis.engine.raster.grid import Grid
from geoseg_qgis.engine.raster.write import ClassRasterWriter, ScoresWriter
from geoseg_qgis.engine.vector.polygon_layer import rasterize_regions
from geoseg_qgis.engine.vector.polygonize import LAYER, write_polygons
from geoseg_qgis.protocol.errors import ErrorCode, JobError
from geoseg_qgis.protocol.legend import parse_classes
from geoseg_qgis.protocol.polygons import PolygonOptions
from geoseg_qgis.protocol.source import VectorSource

LEGEND = parse_classes("building =#ff0000; R&D <park> =#00ff00; water =#0000ff")
UTM = rasterio.crs.CRS.from_epsg(32633).to_wkt()
GRIDS = {
    "north up": Grid(Affine(0.5, 0, 300000, 0, -0.5, 5000000), 60, 40, UTM),
    "south up": Grid(Affine(0.5, 0, 300000, 0, 0.5, 5000000), 60, 40, UTM),
    "rotated": Grid(
        Affine.translation(3e5, 5e6) @ Affine.rotation(30) @ Affine.scale(0.5, -0.5), 60, 40, UTM
    ),
    "geographic": Grid(
        Affine(1e-5, 0, 13, 0, -1e-5, 52), 60, 40, rasterio.crs.CRS.from_epsg(4326).to_wkt()
    ),
    "feet": Grid(
        Affine(2, 0, 770000, 0, -2, 2950000), 60, 40, rasterio.crs.CRS.from_epsg(2249).to_wkt()
    ),
    "nowhere": Grid(Affine(1, 0, 0, 0, -1, 0), 60, 40, ""),
}
NORTH_UP = GRIDS["north up"]
Table = tuple[NDArray[np.object_], dict[str, NDArray[Any]]]


def pattern() -> NDArray[np.uint8]:
    classes = np.zeros((40, 60), np.uint8)
    classes[2:20, 3:30] = 1
    classes[8:12, 10:15] = 3
    classes[2:20, 30:50] = 2
    classes[30, 30] = 3
    return classes


def convert(
    folder: Path,
    classes: NDArray[np.uint8],
    grid: Grid = NORTH_UP,
    options: PolygonOptions | None = None,
    progress: Any = lambda _: None,
) -> dict[int, int]:
    whole = Window(0, 0, grid.width, grid.height)
    scores = np.where(classes == 1, 0.25, 0.75).astype(np.float32)[None]
    with ClassRasterWriter(folder / "c.tif", grid, LEGEND, {}) as writer:
        writer.write(whole, classes)
    with ScoresWriter(folder / "s.tif", grid, LEGEND[:1], {}) as confidence:
        confidence.write(whole, scores, np.ones(grid.shape, bool))
    return write_polygons(
        folder / "c.tif",
        grid,
        LEGEND,
        options or PolygonOptions(simplify=0.0),
        destination=folder / "p.gpkg",
        provenance={"method": "gumix", "model": "tiny"},
        confidence=folder / "s.tif",
        progress=progress,
    )


def table(path: Path) -> Table:
    meta, _, geometry, columns = pyogrio.raw.read(path, layer=LAYER)
    return shapely.from_wkb(geometry), dict(zip(meta["fields"], columns, strict=True))


@pytest.mark.parametrize("name", GRIDS)
def test_polygons_lie_on_their_pixels(name: str, tmp_path: Path) -> None:
    grid = GRIDS[name]
    counts = convert(tmp_path, pattern(), grid)
    polygons, fields = table(tmp_path / "p.gpkg")
    pairs = zip(polygons, fields["class_id"].tolist(), strict=True)
    painted = rasterize(pairs, out_shape=grid.shape, transform=grid.transform)
    np.testing.assert_array_equal(painted, pattern())
    assert {item: count for item, count in counts.items() if count} == {1: 1, 2: 1, 3: 2}
    crs = pyogrio.read_info(tmp_path / "p.gpkg", layer=LAYER)["crs"]
    if grid.crs_wkt:
        assert rasterio.crs.CRS.from_user_input(crs) == rasterio.crs.CRS.from_wkt(grid.crs_wkt)


def test_attributes(tmp_path: Path) -> None:
    convert(tmp_path, pattern())
    _, fields = table(tmp_path / "p.gpkg")
    expected = ["class", "class_id", "score", "area_m2", "perimeter_m", "method", "model"]
    assert list(fields) == expected
    building = int(np.flatnonzero(fields["class_id"] == 1)[0])
    park = int(np.flatnonzero(fields["class_id"] == 2)[0])
    assert fields["class"][park] == "R&D <park>"
    assert fields["score"][building] == pytest.approx(0.25, abs=0.003)
    assert fields["score"][park] == pytest.approx(0.75, abs=0.003)
    # UTM stretches the ground by about a thousandth this far from its meridian.
    assert fields["area_m2"][building] == pytest.approx((18 * 27 - 20) * 0.25, rel=2e-3)
    assert fields["perimeter_m"][park] == pytest.approx((18 + 20) * 2 * 0.5, rel=2e-3)
    assert set(fields["method"]) == {"gumix"}
    assert set(fields["model"]) == {"tiny"}


def test_the_layer_opens_styled(tmp_path: Path) -> None:
    convert(tmp_path, pattern())
    with sqlite3.connect(tmp_path / "p.gpkg") as database:
        rows = database.execute(
            "SELECT f_table_name, f_geometry_column, useAsDefault, styleQML FROM layer_styles"
        ).fetchall()
        kind = database.execute(
            "SELECT data_type FROM gpkg_contents WHERE table_name = 'layer_styles'"
        ).fetchone()
        column = database.execute("SELECT column_name FROM gpkg_geometry_columns").fetchone()
    assert len(rows) == 1
    assert (rows[0][1], rows[0][2]) == (column[0], 1)
    assert rows[0][0] == pyogrio.list_layers(tmp_path / "p.gpkg")[0][0]
    assert rows[0][3].count("<category ") == 3
    assert 'value="R&amp;D &lt;park&gt;"' in rows[0][3]
    assert kind == ("attributes",)


def test_nothing_found_gives_an_empty_layer(tmp_path: Path) -> None:
    counts = convert(tmp_path, np.zeros((40, 60), np.uint8))
    polygons, fields = table(tmp_path / "p.gpkg")
    assert len(polygons) == 0
    assert list(fields)[:2] == ["class", "class_id"]
    assert sum(counts.values()) == 0


def test_small_areas_go_in_square_metres(tmp_path: Path) -> None:
    counts = convert(tmp_path, pattern(), options=PolygonOptions(minimum_area=0.3, simplify=0.0))
    assert counts.get(3) == 1


def test_small_holes_are_filled_but_not_over_a_polygon(tmp_path: Path) -> None:
    classes = pattern()
    classes[14:16, 5:7] = 0
    options = PolygonOptions(minimum_hole=10.0, simplify=0.0)
    convert(tmp_path, classes, options=options)
    polygons, fields = table(tmp_path / "p.gpkg")
    building = polygons[fields["class_id"] == 1][0]
    assert len(shapely.get_rings(shapely.get_parts(building))) == 2
    assert shapely.area(polygons).sum() == pytest.approx(shapely.union_all(polygons).area)


def test_simplified_polygons_are_valid_and_do_not_overlap(tmp_path: Path) -> None:
    rows, columns = np.mgrid[0:40, 0:60]
    classes = (1 + (rows * 1.3 + columns > 55) + (columns - rows > 20)).astype(np.uint8)
    convert(tmp_path, classes)
    exact, _ = table(tmp_path / "p.gpkg")
    convert(tmp_path, classes, options=PolygonOptions(simplify=1.0))
    polygons, _ = table(tmp_path / "p.gpkg")
    assert shapely.is_valid(polygons).all()
    union = shapely.union_all(polygons)
    assert shapely.area(polygons).sum() == pytest.approx(union.area, rel=1e-9)
    assert union.area == pytest.approx(600.0, abs=1.0)
    before, after = (shapely.get_num_coordinates(part).sum() for part in (exact, polygons))
    assert after < before / 2


def test_right_angles_for_the_classes_that_ask_for_them(tmp_path: Path) -> None:
    house = shapely.affinity.rotate(shapely.box(15, 10, 45, 28), 25)
    classes = rasterize([(house, 1)], out_shape=(40, 60)).astype(np.uint8)
    options = PolygonOptions(simplify=1.0, right_angles=("building",))
    convert(tmp_path, classes, options=options)
    polygons, _ = table(tmp_path / "p.gpkg")
    corners = shapely.get_coordinates(polygons[0])
    assert len(corners) == 5
    steps = np.diff(corners, axis=0)
    assert np.abs((steps[:-1] * steps[1:]).sum(axis=1)).max() < 1e-6
    assert polygons[0].area == pytest.approx(house.area * 0.25, rel=0.05)


def test_a_cancel_keeps_the_earlier_file(tmp_path: Path) -> None:
    (tmp_path / "p.gpkg").write_text("precious")

    def stop(done: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(tmp_path, pattern(), progress=stop)
    assert (tmp_path / "p.gpkg").read_text() == "precious"
    assert not [file for file in tmp_path.iterdir() if file.name.startswith(".")]


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "p.gpkg").mkdir()
    (tmp_path / "p.gpkg" / "kept").write_text("")
    with pytest.raises(JobError) as caught:
        convert(tmp_path, pattern())
    assert caught.value.code is ErrorCode.OUTPUT_UNWRITABLE


def regions(source: VectorSource, grid: Grid = NORTH_UP) -> NDArray[np.int32]:
    windows = [Window(0, 0, 60, 15), Window(0, 15, 60, 25)]
    return np.concatenate([ids for _, ids in rasterize_regions(source, grid, windows)])


def write_layer(path: Path, shapes: list[Any], crs: str = "EPSG:32633") -> VectorSource:
    pyogrio.raw.write(
        path,
        geometry=shapely.to_wkb(np.array(shapes, object)),
        field_data=[],
        fields=[],
        geometry_type="Unknown",
        crs=crs,
        driver="GPKG",
    )
    return VectorSource(str(path))


def box(grid: Grid, left: int, top: int, right: int, bottom: int) -> shapely.Polygon:
    corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
    return shapely.Polygon([grid.map_point(*corner) for corner in corners])


def test_regions_of_a_layer_become_numbers(tmp_path: Path) -> None:
    shapes = [box(NORTH_UP, 0, 0, 10, 20), box(NORTH_UP, 20, 10, 30, 30)]
    ids = regions(write_layer(tmp_path / "r.gpkg", shapes))
    expected = np.zeros((40, 60), np.int32)
    expected[:20, :10], expected[10:30, 20:30] = 1, 2
    np.testing.assert_array_equal(ids, expected)


def test_regions_in_another_crs_are_brought_over(tmp_path: Path) -> None:
    move = Transformer.from_crs(32633, 4326, always_xy=True).transform
    shape = shapely.transform(
        box(NORTH_UP, 5, 5, 25, 35), lambda xy: np.stack(move(xy[:, 0], xy[:, 1]), axis=1)
    )
    ids = regions(write_layer(tmp_path / "r.gpkg", [shape], "EPSG:4326"))
    expected = np.zeros((40, 60), np.int32)
    expected[5:35, 5:25] = 1
    assert (ids != expected).mean() < 0.002


def test_broken_and_odd_shapes_are_mended_or_left_out(tmp_path: Path) -> None:
    x, y = NORTH_UP.map_point(0, 0)
    bow = shapely.Polygon([(x, y), (x + 10, y - 10), (x + 10, y), (x, y - 10)])
    two = shapely.MultiPolygon([box(NORTH_UP, 30, 0, 35, 5), box(NORTH_UP, 50, 30, 55, 35)])
    ids = regions(write_layer(tmp_path / "r.gpkg", [bow, shapely.Point(x, y), two]))
    numbers = np.unique(ids[ids > 0])
    assert len(numbers) == 2
    assert ids[10, 1] == ids[10, 18] == numbers[0]
    assert ids[2, 32] == ids[32, 52] == numbers[1]


def test_curves_become_lines(tmp_path: Path) -> None:
    x, y = NORTH_UP.map_point(30, 20)
    path = tmp_path / "curve.csv"
    arc = f"CIRCULARSTRING({x - 5} {y},{x} {y + 5},{x + 5} {y},{x} {y - 5},{x - 5} {y})"
    path.write_text(f'WKT\n"CURVEPOLYGON({arc})"\n')
    ids = regions(VectorSource(str(path), crs_wkt=UTM))
    assert np.count_nonzero(ids) == pytest.approx(np.pi * 100, rel=0.03)


def test_a_layer_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    with pytest.raises(JobError) as caught:
        regions(VectorSource(str(tmp_path / "none.gpkg")))
    assert caught.value.code is ErrorCode.SOURCE_UNREADABLE
