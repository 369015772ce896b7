"""Whole evaluations on small rasters and polygons, against independent arithmetic."""

from __future__ import annotations

import csv
import math
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from rasterio.windows import Window
from scipy import ndimage
from sklearn import metrics

from geoseg_qgis.engine.jobs.registry import run_job
from geoseg_qgis.engine.methods.assessment.raster_output import QUALITY_LEGEND
from geoseg_qgis.engine.progress import JobContext
from geoseg_qgis.engine.raster.grid import Grid
from geoseg_qgis.engine.raster.write import ClassRasterWriter
from geoseg_qgis.protocol.errors import CancelledError, ErrorCode, JobError
from geoseg_qgis.protocol.job import Job
from geoseg_qgis.protocol.legend import parse_classes
from geoseg_qgis.protocol.result import Result
from geoseg_qgis.protocol.source import Extent, GridRequest, LayerSource, RasterSource, VectorSource
from geoseg_qgis.protocol.tasks.evaluate import EvaluateTask, LengthUnit

SHARED = Path(__file__).parents[3].parent / "shared" / "data"
PLACE = Affine(2.0, 0.0, 500000.0, 0.0, -2.0, 5600000.0)
CRS_WKT = CRS.from_epsg(32632).to_wkt()
Classes = NDArray[np.integer[Any]]


def write(
    path: Path,
    classes: Classes,
    transform: Affine = PLACE,
    crs: str | None = "EPSG:32632",
    nodata: float | None = None,
) -> RasterSource:
    """Write a class raster without names."""
    height, width = classes.shape
    with rasterio.open(
        path, "w", driver="GTiff", height=height, width=width, count=1, dtype=classes.dtype.name,
        transform=transform, crs=crs, nodata=nodata,
    ) as dataset:  # fmt: skip
        dataset.write(classes, 1)
    return RasterSource(str(path), path.stem)


def patches(seed: int, classes: int, shape: tuple[int, int]) -> Classes:
    """Return a patchy map of classes from 1."""
    generator = np.random.default_rng(seed)
    noise = ndimage.gaussian_filter(generator.normal(size=(classes, *shape)), (0, 3, 3))
    drawn: Classes = (noise.argmax(axis=0) + 1).astype(np.uint8)
    return drawn


def evaluate(
    tmp_path: Path, source: LayerSource, grid: GridRequest | None = None, **task: Any
) -> tuple[Result, dict[str, dict[str, str]], JobContext]:
    """Return the result, the rows of the table by class, and the context."""
    context = JobContext()
    table, report = tmp_path / "table.csv", tmp_path / "report.html"
    whole = EvaluateTask(source, table=str(table), report=str(report), **task)
    job = Job(None, whole, grid or GridRequest())
    result = run_job(Job.from_json(job.to_json()), context)
    with table.open(encoding="utf-8", newline="") as file:
        return result, {row["class"]: row for row in csv.DictReader(file)}, context


@pytest.mark.slow
def test_several_blocks_agree_with_scikit_learn(tmp_path: Path) -> None:
    truth = patches(1, 4, (300, 1300))
    found = np.where(np.random.default_rng(2).random(truth.shape) < 0.2, 2, truth)
    result, rows, _ = evaluate(
        tmp_path,
        write(tmp_path / "found.tif", found.astype(np.uint8)),
        reference=write(tmp_path / "truth.tif", truth),
    )
    first, second = truth.ravel(), found.ravel()
    assert result.numbers["ACCURACY"] == pytest.approx(metrics.accuracy_score(first, second))
    assert result.numbers["KAPPA"] == pytest.approx(metrics.cohen_kappa_score(first, second))
    assert result.numbers["MEAN_IOU"] == pytest.approx(
        metrics.jaccard_score(first, second, average="macro")
    )
    assert "FOREGROUND_IOU" not in result.numbers
    matrix = metrics.confusion_matrix(first, second)
    names = ["1", "2", "3", "4"]
    table = [[int(rows[row][f"as {column}"]) for column in names] for row in names]
    assert table == matrix.tolist()
    assert int(rows["3"]["reference_objects"]) == ndimage.label(truth == 3)[1]
    assert int(rows["3"]["result_objects"]) == ndimage.label(found == 3)[1]
    assert float(rows["(all)"]["f1"]) == pytest.approx(result.numbers["MEAN_F1"], abs=1e-6)
    assert result.provenance["source"] == "found"


def sample(truth: Classes, pixels: Affine, x: Any, y: Any) -> tuple[Classes, NDArray[np.bool_]]:
    """Return the nearest pixels of ``truth``, and which points lie on it."""
    columns, rows = (np.floor(part).astype(int) for part in ~pixels @ (x, y))
    inside = (rows >= 0) & (rows < truth.shape[0]) & (columns >= 0) & (columns < truth.shape[1])
    values = np.zeros(rows.shape, np.int64)
    values[inside] = truth[rows[inside], columns[inside]]
    return values, inside


def centres(shape: tuple[int, int], transform: Affine) -> tuple[Any, Any]:
    rows, columns = np.mgrid[: shape[0], : shape[1]] + 0.5
    x, y = transform @ (columns, rows)
    return x, y


@pytest.mark.parametrize(
    "pixels",
    [
        PLACE @ Affine.translation(13.2, 7.7) @ Affine.rotation(30) @ Affine.scale(0.6),
        PLACE @ Affine.translation(20.0, 10.0) @ Affine.scale(3.0),
        PLACE @ Affine.translation(5.0, 90.0) @ Affine.scale(0.5, -0.5),
    ],
    ids=["rotated", "coarser", "south-up"],
)
def test_reference_on_other_pixels(tmp_path: Path, pixels: Affine) -> None:
    found, truth = patches(3, 3, (90, 110)), patches(4, 3, (80, 100))
    _, rows, _ = evaluate(
        tmp_path,
        write(tmp_path / "found.tif", found),
        reference=write(tmp_path / "truth.tif", truth, pixels),
    )
    expected, inside = sample(truth, pixels, *centres(found.shape, PLACE))
    matrix = metrics.confusion_matrix(expected[inside], found[inside], labels=[1, 2, 3])
    table = [[int(rows[row][f"as {column}"]) for column in "123"] for row in "123"]
    assert table == matrix.tolist()
    assert 0 < matrix.sum() < found.size


def test_reference_in_another_crs(tmp_path: Path) -> None:
    found, truth = patches(5, 3, (90, 110)), patches(6, 3, (300, 300))
    to_degrees = Transformer.from_crs(32632, 4326, always_xy=True)
    left, top = to_degrees.transform(500020.0, 5599990.0)
    pixels = Affine(8e-6, 0.0, left, 0.0, -5e-6, top)
    _, rows, _ = evaluate(
        tmp_path,
        write(tmp_path / "found.tif", found),
        reference=write(tmp_path / "truth.tif", truth, pixels, "EPSG:4326"),
    )
    points = to_degrees.transform(*centres(found.shape, PLACE))
    expected, inside = sample(truth, pixels, *points)
    matrix = metrics.confusion_matrix(expected[inside], found[inside], labels=[1, 2, 3])
    table = np.array([[int(rows[row][f"as {column}"]) for column in "123"] for row in "123"])
    # GDAL interpolates positions to an eighth of a pixel.
    assert np.abs(table - matrix).sum() <= 0.01 * matrix.sum()
    assert matrix.sum() > 1000


def test_nodata_of_either_is_left_out(tmp_path: Path) -> None:
    found, truth = np.ones((20, 20), np.uint8), np.ones((20, 20), np.uint8)
    found[:5] = 9
    truth[:, :5] = 7
    truth[10:, 10:] = 2
    result, _, _ = evaluate(
        tmp_path,
        write(tmp_path / "found.tif", found, nodata=9),
        reference=write(tmp_path / "truth.tif", truth, nodata=7),
    )
    assert result.numbers["COMPARED_PIXELS"] == 15 * 15
    assert result.numbers["ACCURACY"] == pytest.approx(125 / 225)


def test_0_is_unclassified_even_when_it_is_nodata(tmp_path: Path) -> None:
    found, truth = np.ones((20, 20), np.uint8), np.ones((20, 20), np.uint8)
    found[:10] = 0
    truth[:, 10:] = 0
    result, rows, _ = evaluate(
        tmp_path,
        write(tmp_path / "found.tif", found, nodata=0),
        reference=write(tmp_path / "truth.tif", truth, nodata=0),
    )
    assert result.numbers["COMPARED_PIXELS"] == 400
    assert result.numbers["FOREGROUND_IOU"] == pytest.approx(1 / 3)
    assert rows["1"]["as (no class)"] == "100"
    limited, _, _ = evaluate(
        tmp_path,
        RasterSource(str(tmp_path / "found.tif")),
        reference=RasterSource(str(tmp_path / "truth.tif")),
        ignore="0",
    )
    assert limited.numbers["COMPARED_PIXELS"] == 200
    assert limited.numbers["ACCURACY"] == 0.5


def test_names_of_geoseg_rasters_match_by_word(tmp_path: Path) -> None:
    grid = Grid(PLACE, 30, 20, rasterio.CRS.from_epsg(32632).to_wkt())
    found, truth = np.ones((20, 30), np.uint8), np.full((20, 30), 3, np.uint8)
    found[:, 20:] = 2
    truth[:, 20:] = 1
    truth[:, :5] = 2
    for name, classes, legend in (
        ("found", found, "building, house; water; tree"),
        ("truth", truth, "Water; grass; house"),
    ):
        with ClassRasterWriter(tmp_path / f"{name}.tif", grid, parse_classes(legend), {}) as file:
            file.write(rasterio.windows.Window(0, 0, 30, 20), classes)
    result, rows, context = evaluate(
        tmp_path,
        RasterSource(str(tmp_path / "found.tif")),
        reference=RasterSource(str(tmp_path / "truth.tif")),
    )
    assert rows["water"]["iou"] == "1.000000"
    assert float(rows["building"]["iou"]) == pytest.approx(0.75)
    assert rows["building"]["reference_values"] == "3 (house)"
    assert rows["grass"]["recall"] == "0.000000"
    assert "tree" not in rows
    assert result.numbers["MEAN_IOU"] == pytest.approx((1.0 + 0.75 + 0.0) / 3)
    assert len(context.warnings) == 1
    assert context.warnings[0].startswith("The result has no grass, so ")


def write_polygons(path: Path, boxes: list[Any], kinds: list[Any], crs: str) -> VectorSource:
    fields = [np.array(kinds, dtype=object)]
    pyogrio.raw.write(
        path, shapely.to_wkb(boxes), fields, ["kind"], crs=crs, geometry_type="Polygon"
    )
    return VectorSource(str(path))


def test_polygons_with_a_class_field(tmp_path: Path) -> None:
    found = np.zeros((50, 50), np.uint8)
    found[0:10, 0:10] = 1
    found[20:30, 20:30] = 2
    found[40:50, 40:50] = 1
    boxes = [
        shapely.box(500000, 5599980, 500020, 5600000),
        shapely.box(500040, 5599940, 500060, 5599950),
        shapely.box(500080, 5599900, 500100, 5599920),
    ]
    polygons = write_polygons(
        tmp_path / "truth.gpkg", boxes, ["house", "water", None], "EPSG:32632"
    )
    result, rows, _ = evaluate(
        tmp_path,
        replace(write(tmp_path / "found.tif", found), class_names={"1": "House", "2": "Water"}),
        reference=polygons,
        reference_field="kind",
    )
    # The polygon without a class is left out: 100 pixels that count for nobody.
    assert result.numbers["COMPARED_PIXELS"] == 2400
    assert rows["House"]["iou"] == "1.000000"
    assert float(rows["Water"]["iou"]) == pytest.approx(0.5)
    assert float(rows["(no class)"]["iou"]) == pytest.approx(2200 / 2250, abs=1e-6)
    assert rows["Water"]["result_objects"] == rows["Water"]["reference_objects"] == "1"
    assert rows["Water"]["object_recall"] == "1.000000"


def test_polygons_of_one_class_in_degrees(tmp_path: Path) -> None:
    found = np.zeros((50, 50), np.uint8)
    found[10:30, 10:30] = 1
    corners = [(500020, 5599980), (500060, 5599980), (500060, 5599940), (500020, 5599940)]
    transformer = Transformer.from_crs(32632, 4326, always_xy=True)
    box = shapely.Polygon([transformer.transform(*corner) for corner in corners])
    result, _, _ = evaluate(
        tmp_path,
        write(tmp_path / "found.tif", found),
        reference=write_polygons(tmp_path / "t.gpkg", [box], ["a"], "EPSG:4326"),
        boundary_tolerance=1.0,
        boundary_unit=LengthUnit.METRES,
    )
    assert result.numbers["FOREGROUND_IOU"] == 1.0
    assert result.numbers["BOUNDARY_F1"] == 1.0
    assert result.numbers["OBJECT_F1"] == 1.0


def test_polygons_against_a_raster_and_polygons(tmp_path: Path) -> None:
    truth = np.zeros((50, 50), np.uint8)
    truth[10:30, 10:30] = 255
    box = shapely.box(500020, 5599940, 500060, 5599970)
    polygons = write_polygons(tmp_path / "found.gpkg", [box], ["a"], "EPSG:32632")
    result, _, _ = evaluate(
        tmp_path, polygons, reference=write(tmp_path / "truth.tif", truth, nodata=None)
    )
    assert result.numbers["FOREGROUND_IOU"] == pytest.approx(0.75)
    with pytest.raises(JobError, match="both polygons") as caught:
        evaluate(tmp_path, polygons, reference=polygons)
    assert caught.value.code is ErrorCode.RESOLUTION_UNUSABLE
    result, _, _ = evaluate(tmp_path, polygons, GridRequest(resolution=1.0), reference=polygons)
    assert result.numbers["COMPARED_PIXELS"] == 40 * 30


def test_extent_and_sparse_polygons(tmp_path: Path) -> None:
    found = np.zeros((50, 50), np.uint8)
    found[0:10] = 1
    box = shapely.box(500000, 5599980, 500020, 5600000)
    polygons = write_polygons(tmp_path / "truth.gpkg", [box], ["a"], "EPSG:32632")
    source = write(tmp_path / "found.tif", found)
    result, _, context = evaluate(tmp_path, source, reference=polygons)
    assert result.numbers["FOREGROUND_IOU"] == pytest.approx(0.2)
    assert "covers 4% of the compared area" in context.warnings[0]
    part = GridRequest(Extent(500000, 5599980, 500020, 5600000))
    result, _, context = evaluate(tmp_path, source, part, reference=polygons)
    assert result.numbers["COMPARED_PIXELS"] == 100
    # Without any pixel of no class there is no foreground and background.
    assert "FOREGROUND_IOU" not in result.numbers
    assert result.numbers["ACCURACY"] == 1.0
    assert context.warnings == []


@pytest.mark.parametrize(
    ("classes", "task", "sentence"),
    [
        (np.arange(400).reshape(20, 20).astype(np.uint16), {}, "more than 255 different values"),
        (np.full((20, 20), 0.5, np.float32), {}, "holds fractions, not whole numbers"),
        (np.ones((20, 20), np.uint8), {"ignore": "1"}, "Every pixel of the reference is left out"),
        (np.ones((20, 20), np.uint8), {"boundary_tolerance": -1.0}, "0 and 1,000,000; it is -1."),
        (np.ones((20, 20), np.uint8), {"boundary_tolerance": math.inf}, "it is inf."),
    ],
)
def test_bad_input_is_answered(
    tmp_path: Path, classes: Classes, task: dict[str, Any], sentence: str
) -> None:
    found = write(tmp_path / "found.tif", np.ones((20, 20), np.uint8))
    with pytest.raises(JobError) as caught:
        evaluate(tmp_path, found, reference=write(tmp_path / "truth.tif", classes), **task)
    assert sentence in caught.value.message
    assert caught.value.hint
    assert {path.name for path in tmp_path.iterdir()} == {"found.tif", "truth.tif"}


def test_metres_need_a_crs(tmp_path: Path) -> None:
    source = write(tmp_path / "found.tif", np.ones((20, 20), np.uint8), crs=None)
    with pytest.raises(JobError, match="metres mean nothing there"):
        evaluate(tmp_path, source, reference=source, boundary_unit=LengthUnit.METRES)
    result, _, _ = evaluate(tmp_path, source, reference=source)
    assert result.numbers["ACCURACY"] == 1.0


def test_cancel_leaves_nothing(tmp_path: Path) -> None:
    source = write(tmp_path / "found.tif", np.ones((20, 20), np.uint8))
    task = EvaluateTask(source, source, table=str(tmp_path / "table.csv"))
    context = JobContext(is_cancelled=lambda: True)
    with pytest.raises(CancelledError):
        run_job(Job(None, task), context)
    assert [path.name for path in tmp_path.iterdir()] == ["found.tif"]


class PageReader(HTMLParser):
    """Checks that elements are closed in order, and collects what a page refers to."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [
            value or "" for name, value in attrs if name in ("src", "href", "xlink:href")
        ]
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del tag, attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_page_stands_alone_and_escapes_names(tmp_path: Path) -> None:
    truth = patches(7, 3, (40, 40))
    names = {"1": "<b>roof</b>", "2": "'road\"", "3": "$\\frac{water"}
    evaluate(
        tmp_path,
        RasterSource(
            write(tmp_path / "found.tif", truth).uri,
            "<script>alert(1)</script>",
            class_names=names,
        ),
        reference=RasterSource(write(tmp_path / "truth.tif", truth).uri, "A & B"),
    )
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    page = PageReader()
    page.feed(text)
    assert page.open == []
    assert page.links == []
    assert "url(" not in text
    assert "@import" not in text
    assert "<script" not in text
    assert "<b>roof" not in text
    # In three tables and along both axes of the matrix.
    assert min(page.text.count(name) for name in names.values()) >= 5
    assert "A & B" in page.text


def test_real_patches_that_overlap(tmp_path: Path) -> None:
    folder = SHARED / "s2_korea_10m" / "labels"
    if not folder.is_dir():
        pytest.skip("the Sentinel-2 labels (shared/data/s2_korea_10m) are not beside the checkout")
    result, rows, _ = evaluate(
        tmp_path,
        RasterSource(str(folder / "s2kr_202309_00.tif")),
        reference=RasterSource(str(folder / "s2kr_202412_00.tif")),
        mapping="10 = 10; 30 = 30",
    )
    # The two patches share 178 x 133 pixels of one label map.
    assert result.numbers["COMPARED_PIXELS"] == 178 * 133
    assert result.numbers["ACCURACY"] == 1.0
    assert set(rows) == {"(no class)", "10", "30", "(all)"}


@pytest.mark.slow
def test_real_buildings_and_what_a_shift_costs(tmp_path: Path) -> None:
    folder = SHARED / "oam_buildings"
    outlines = sorted((folder / "labels").glob("*.geojson"))
    if not outlines:
        pytest.skip("the building samples (shared/data/oam_buildings) are not beside the checkout")
    name = outlines[2].stem
    with rasterio.open(folder / "images" / f"{name}.tif") as image:
        transform, crs = image.transform, image.crs.to_wkt()
    with rasterio.open(folder / "labels" / f"{name}.png") as dataset:
        mask = (dataset.read(1) > 0).astype(np.uint8)
    scores = []
    for shift in (0, 4, 12):
        moved = np.roll(mask, (shift, shift), (0, 1))
        result, _, _ = evaluate(
            tmp_path,
            write(tmp_path / "found.tif", moved, transform, crs),
            reference=VectorSource(str(outlines[2])),
        )
        scores.append(result.numbers)
    ious = [numbers["FOREGROUND_IOU"] for numbers in scores]
    boundaries = [numbers["BOUNDARY_F1"] for numbers in scores]
    assert ious[0] > 0.999
    assert boundaries[0] > 0.999
    assert ious[0] > ious[1] > ious[2]
    assert boundaries[0] > boundaries[1] > boundaries[2]


@pytest.mark.parametrize("drawn_as", ["raster", "polygons"])
def test_quality_map_is_held_against_its_truth(tmp_path: Path, drawn_as: str) -> None:
    objects = np.zeros((80, 120), dtype=np.uint8)
    objects[10:40, 10:50] = 255 if drawn_as == "polygons" else 1
    objects[50:70, 60:100] = objects.max()
    mask = np.zeros(objects.shape, dtype=bool)
    mask[10:40, 20:60] = True
    true_quality = np.where(objects > 0, np.where(mask, 1, 4), np.where(mask, 2, 3))
    said = true_quality.copy()
    said[10:40, 50:55] = 1
    said[50:60, 60:100] = 3
    said[:5] = 0
    path = tmp_path / "quality.tif"
    with ClassRasterWriter(path, Grid(PLACE, 120, 80, CRS_WKT), QUALITY_LEGEND, {}) as writer:
        writer.write(Window(0, 0, 120, 80), said.astype(np.uint8))
    if drawn_as == "raster":
        task: dict[str, Any] = {"reference": write(tmp_path / "truth.tif", objects)}
    else:
        boxes = [shapely.box(10, 10, 50, 40), shapely.box(60, 50, 100, 70)]
        places = [
            shapely.transform(box, lambda xy: np.array([PLACE @ tuple(point) for point in xy]))
            for box in boxes
        ]
        layer = tmp_path / "truth.gpkg"
        pyogrio.raw.write(
            layer, np.array(shapely.to_wkb(places)), [], [], geometry_type="Polygon",
            crs="EPSG:32632", layer="truth",
        )  # fmt: skip
        task = {"reference": VectorSource(str(layer), "truth")}
    result, rows, _ = evaluate(tmp_path, RasterSource(str(path), "quality"), **task)
    kept = said > 0
    expected = metrics.f1_score(true_quality[kept], said[kept], labels=[1, 2, 3, 4], average=None)
    names = [item.name for item in QUALITY_LEGEND]
    assert [float(rows[name]["f1"]) for name in names] == pytest.approx(expected, abs=1e-4)
    assert result.numbers["MEAN_F1"] == pytest.approx(expected.mean(), abs=1e-6)


def test_quality_map_of_a_perfect_mask(tmp_path: Path) -> None:
    objects = np.ones((20, 20), dtype=np.uint8)
    path = tmp_path / "quality.tif"
    with ClassRasterWriter(path, Grid(PLACE, 20, 20, CRS_WKT), QUALITY_LEGEND, {}) as writer:
        writer.write(Window(0, 0, 20, 20), objects)
    truth = write(tmp_path / "truth.tif", objects)
    result, _, _ = evaluate(tmp_path, RasterSource(str(path), "quality"), reference=truth)
    assert result.numbers["ACCURACY"] == 1.0
