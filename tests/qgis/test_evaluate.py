"""``geoseg:evaluate`` on the real QGIS with the real engine process."""

from __future__ import annotations

import csv
import math
import re
from pathlib import Path
from typing import Any, Callable

import numpy as np
import pytest
from engine_runs import LEFT, TOP, needs_engine, write_raster
from osgeo import gdal
from places import SHARED
from qgis.core import (
    QgsApplication,
    QgsFeature,
    QgsGeometry,
    QgsPalettedRasterRenderer,
    QgsProcessingException,
    QgsProcessingOutputHtml,
    QgsRasterLayer,
    QgsRectangle,
    QgsVectorLayer,
)
from qgis.PyQt.QtGui import QColor

pytestmark = needs_engine

IDENTIFIER = "geoseg:evaluate"
PIXEL, SIZE = 0.5, 40
Box = tuple[int, int, int, int]


@pytest.fixture
def make_classes(tmp_path: Path) -> Callable[..., str]:
    """Return a function that writes a class raster from boxes (top, bottom, left, right)."""

    def make(name: str, boxes: dict[int, list[Box]], epsg: int = 32632) -> str:
        classes = np.zeros((SIZE, SIZE), np.uint8)
        for value, places in boxes.items():
            for top, bottom, left, right in places:
                classes[top:bottom, left:right] = value
        return write_raster(tmp_path / name, classes[None], PIXEL, epsg)

    return make


def make_polygons(boxes: dict[Any, list[Box]], kind: str = "string") -> QgsVectorLayer:
    """Return a layer in memory with a field ``fid`` that holds classes, not numbers of features."""
    layer = QgsVectorLayer(f"Polygon?crs=EPSG:32632&field=fid:{kind}", "parcels", "memory")
    features = []
    for value, places in boxes.items():
        for top, bottom, left, right in places:
            feature = QgsFeature(layer.fields())
            feature.setAttribute("fid", value)
            x, y = LEFT + left * PIXEL, TOP - top * PIXEL
            size = (right - left) * PIXEL, (bottom - top) * PIXEL
            box = QgsRectangle(x, y - size[1], x + size[0], y)
            feature.setGeometry(QgsGeometry.fromRect(box))
            features.append(feature)
    layer.dataProvider().addFeatures(features)
    return layer


def run(parameters: dict[str, Any]) -> dict[str, Any]:
    """Run the algorithm as scripts do."""
    import processing

    results: dict[str, Any] = processing.run(IDENTIFIER, parameters)
    return results


def rows(path: str) -> dict[str, dict[str, str]]:
    """Return the rows of a table by class."""
    with Path(path).open(encoding="utf-8", newline="") as file:
        return {row["class"]: row for row in csv.DictReader(file)}


def test_every_number_is_declared(provider) -> None:
    algorithm = provider.algorithm("evaluate")
    names = {output.name() for output in algorithm.outputDefinitions()}
    assert names == {
        "REPORT", "TABLE", "ACCURACY", "KAPPA", "MEAN_IOU", "FOREGROUND_IOU", "MEAN_PRECISION",
        "MEAN_RECALL", "MEAN_F1", "BOUNDARY_PRECISION", "BOUNDARY_RECALL", "BOUNDARY_F1",
        "OBJECT_PRECISION", "OBJECT_RECALL", "OBJECT_F1", "COMPARED_PIXELS",
    }  # fmt: skip
    assert isinstance(algorithm.outputDefinition("REPORT"), QgsProcessingOutputHtml)


def test_raster_against_raster(provider, qgis_new_project, make_classes, tmp_path) -> None:
    results = run(
        {
            "RESULT": make_classes("result.tif", {1: [(0, 10, 0, 12)]}),
            "REFERENCE": make_classes("mask.tif", {255: [(0, 10, 0, 10), (30, 40, 30, 40)]}),
            "TABLE": str(tmp_path / "table.csv"),
            "REPORT": str(tmp_path / "report.html"),
        }
    )
    assert results["COMPARED_PIXELS"] == 1600
    assert results["ACCURACY"] == pytest.approx(1 - 120 / 1600)
    assert results["FOREGROUND_IOU"] == pytest.approx(100 / 220)
    assert results["MEAN_IOU"] == pytest.approx((100 / 220 + 1380 / 1500) / 2)
    assert results["OBJECT_PRECISION"] == 1.0
    assert results["OBJECT_RECALL"] == 0.5
    assert rows(results["TABLE"])["1"]["hits"] == "100"
    page = Path(results["REPORT"]).read_text(encoding="utf-8")
    assert "<h1>result</h1>" in page
    assert re.findall(r"(?:src|href)=.http", page) == []


def test_polygons_with_names_of_the_style(provider, qgis_new_project, make_classes) -> None:
    layer = QgsRasterLayer(
        make_classes("result.tif", {3: [(0, 10, 0, 10)], 7: [(20, 30, 0, 10)]}), "classes"
    )
    entries = [
        QgsPalettedRasterRenderer.Class(3, QColor("red"), "Building"),
        QgsPalettedRasterRenderer.Class(7, QColor("blue"), "Water"),
    ]
    layer.setRenderer(QgsPalettedRasterRenderer(layer.dataProvider(), 1, entries))
    polygons = make_polygons({"building": [(0, 10, 0, 10)], "water": [(20, 30, 5, 15)]})
    results = run({"RESULT": layer, "REFERENCE": polygons, "REFERENCE_FIELD": "fid"})
    assert set(results) >= {"MEAN_IOU", "KAPPA"}
    assert not {"REPORT", "TABLE", "FOREGROUND_IOU"} & set(results)
    expected = [1.0, 50 / 150, (1600 - 250) / (1600 - 150)]
    assert results["MEAN_IOU"] == pytest.approx(np.mean(expected))
    assert results["OBJECT_RECALL"] == pytest.approx(0.5)


def test_mapping_ignore_and_extent(provider, qgis_new_project, make_classes, tmp_path) -> None:
    results = run(
        {
            "RESULT": make_classes("result.tif", {1: [(0, 20, 0, 20)], 2: [(0, 20, 20, 40)]}),
            "REFERENCE": make_polygons({5: [(0, 20, 0, 20)], 6: [(0, 20, 20, 40)]}, "integer"),
            "REFERENCE_FIELD": "fid",
            "MAPPING": "1 = 5; 2 = 6",
            "IGNORE": "0",
            "EXTENT": f"{LEFT},{LEFT + 15},{TOP - 20},{TOP} [EPSG:32632]",
            "TABLE": str(tmp_path / "table.csv"),
        }
    )
    assert results["COMPARED_PIXELS"] == 20 * 30
    assert results["ACCURACY"] == 1.0
    table = rows(results["TABLE"])
    assert [table[name]["reference_pixels"] for name in ("1", "2")] == ["400", "200"]


def test_two_polygon_layers(provider, qgis_new_project) -> None:
    found = make_polygons({"roof": [(0, 10, 0, 10)]})
    truth = make_polygons({"roof": [(0, 10, 0, 8)]})
    with pytest.raises(QgsProcessingException, match="no raster gives the pixel size"):
        run({"RESULT": found, "REFERENCE": truth})
    results = run({"RESULT": found, "REFERENCE": truth, "RESOLUTION": 0.5})
    assert results["COMPARED_PIXELS"] == 100
    assert results["FOREGROUND_IOU"] == pytest.approx(0.8)


def test_temporary_outputs(provider, qgis_new_project, make_classes) -> None:
    path = make_classes("result.tif", {1: [(0, 10, 0, 12)]})
    results = run(
        {
            "RESULT": path,
            "REFERENCE": path,
            "TABLE": "TEMPORARY_OUTPUT",
            "REPORT": "TEMPORARY_OUTPUT",
        }
    )
    assert results["KAPPA"] == 1.0
    assert Path(results["TABLE"]).suffix == ".csv"
    assert Path(results["REPORT"]).read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"REFERENCE_FIELD": "kind"}, "The layer 'parcels' has no field 'kind'. Choose one"),
        ({"REFERENCE_FIELD": "fid"}, "No class of the result is in the reference"),
        ({"MAPPING": "1 = 2; 5"}, "'5' in the mapping does not read result = reference."),
        ({"MAPPING": "tree = meadow", "REFERENCE_FIELD": "fid"}, "'tree', which the result does"),
        ({"IGNORE": "sea"}, "'sea' is to be ignored, but the reference does not hold it."),
        ({"EXTENT": "0,1,0,1 [EPSG:32632]"}, "The extent lies outside the raster."),
        ({"BOUNDARY_TOLERANCE": 1e7}, "Boundary tolerance must lie between 0 and 1,000,000"),
        ({"TABLE": "/nowhere/at/all.csv"}, "Table: the folder /nowhere/at cannot be written to."),
    ],
)
def test_mistakes_are_answered(
    provider, qgis_new_project, make_classes, change: dict[str, Any], sentence: str
) -> None:
    values = {
        "RESULT": make_classes("result.tif", {1: [(0, 10, 0, 10)], 2: [(20, 30, 0, 10)]}),
        "REFERENCE": make_polygons({"meadow": [(0, 10, 0, 10)], "wood": [(20, 30, 0, 10)]}),
    }
    with pytest.raises(QgsProcessingException) as caught:
        run({**values, **change})
    assert sentence in str(caught.value)
    assert "Traceback" not in str(caught.value)


def test_layers_that_do_not_meet(provider, qgis_new_project, make_classes) -> None:
    values = {
        "RESULT": make_classes("result.tif", {1: [(0, 10, 0, 10)]}),
        "REFERENCE": make_classes("far.tif", {1: [(0, 10, 0, 10)]}, epsg=32645),
    }
    with pytest.raises(QgsProcessingException, match="No data of 'far' lies where 'result'"):
        run(values)


def test_real_buildings(provider, qgis_new_project, tmp_path) -> None:
    folder = SHARED / "data" / "oam_buildings"
    outlines = sorted((folder / "labels").glob("*.geojson"))
    if not outlines:
        pytest.skip("the building samples (shared/data/oam_buildings) are not beside the checkout")
    name = outlines[0].stem
    image = gdal.Open(str(folder / "images" / f"{name}.tif"))
    mask = gdal.Open(str(folder / "labels" / f"{name}.png")).ReadAsArray() > 0
    path = tmp_path / "mask.tif"
    copy = gdal.GetDriverByName("GTiff").Create(str(path), mask.shape[1], mask.shape[0], 1)
    copy.SetGeoTransform(image.GetGeoTransform())
    copy.SetProjection(image.GetProjection())
    copy.GetRasterBand(1).WriteArray(mask.astype(np.uint8))
    del copy
    results = run({"RESULT": str(path), "REFERENCE": str(outlines[0])})
    assert results["COMPARED_PIXELS"] == mask.size
    assert results["FOREGROUND_IOU"] > 0.99
    assert results["BOUNDARY_F1"] > 0.99
    assert not math.isnan(results["KAPPA"])


def test_listed_in_the_toolbox(provider) -> None:
    algorithm = QgsApplication.processingRegistry().algorithmById(IDENTIFIER)
    assert algorithm.group() == "Quality"
    assert algorithm.displayName() == "Evaluate against a reference"
