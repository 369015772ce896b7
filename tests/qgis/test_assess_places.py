"""Where the results of ``geoseg:assess`` lie, on the real QGIS with the real engine process."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_runs import LEFT, TOP, needs_engine, write_raster
from osgeo import gdal, osr
from places import ROOT
from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsFeature,
    QgsGeometry,
    QgsProject,
    QgsRectangle,
    QgsVectorLayer,
)

from geoseg_qgis.engine_client import locate_engine

pytestmark = needs_engine

PIXEL, HEIGHT, WIDTH = 0.5, 192, 256
Box = tuple[int, int, int, int]
# Top, bottom, left, right in pixels; the network of this test holds what is bright for an object.
MAPPED: Box = (32, 64, 32, 96)
LACKING: Box = (128, 160, 160, 208)
FALSE: Box = (96, 128, 32, 64)
_WRITE_PRESET = """
import sys
from pathlib import Path
from bright_segassess import write_bright_preset
write_bright_preset(Path(sys.argv[1]))
"""


@pytest.fixture(scope="module")
def preset(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("models") / "judge"
    paths = f"import sys; sys.path[:0] = {[str(ROOT), str(ROOT / 'tests' / 'support')]}\n"
    subprocess.run(
        [locate_engine().python, "-c", paths + _WRITE_PRESET, str(folder)], check=True, timeout=300
    )
    return str(folder)


def reference() -> osr.SpatialReference:
    made = osr.SpatialReference()
    made.ImportFromEPSG(32632)
    return made


def drawn(boxes: dict[Box, int], ground: int = 0) -> np.ndarray:
    values = np.full((HEIGHT, WIDTH), ground, np.uint8)
    for (top, bottom, left, right), value in boxes.items():
        values[top:bottom, left:right] = value
    return values


@pytest.fixture
def image(tmp_path: Path) -> str:
    grey = drawn({MAPPED: 210, LACKING: 210}, ground=40)
    return write_raster(tmp_path / "image.tif", np.stack([grey] * 3), PIXEL)


def rectangle(box: Box) -> QgsGeometry:
    top, bottom, left, right = box
    return QgsGeometry.fromRect(
        QgsRectangle(
            LEFT + left * PIXEL, TOP - bottom * PIXEL, LEFT + right * PIXEL, TOP - top * PIXEL
        )
    )


def run(**parameters: Any) -> dict[str, Any]:
    import processing

    outputs: dict[str, Any] = processing.run("geoseg:assess", {"DEVICE": "cpu", **parameters})
    return outputs


def test_polygons_of_another_crs(
    provider: object, qgis_new_project: None, image: str, preset: str, tmp_path: Path
) -> None:
    """A polygon layer keeps its CRS, its places and its fields, and gets its quality."""
    mercator = QgsCoordinateReferenceSystem("EPSG:3857")
    turn = QgsCoordinateTransform(
        QgsCoordinateReferenceSystem("EPSG:32632"), mercator, QgsProject.instance()
    )
    layer = QgsVectorLayer("Polygon?crs=EPSG:3857&field=name:string", "roofs", "memory")
    features = []
    for name, box in (("good", MAPPED), ("bad", FALSE)):
        feature = QgsFeature(layer.fields())
        feature.setAttribute("name", name)
        geometry = rectangle(box)
        geometry.transform(turn)
        feature.setGeometry(geometry)
        features.append(feature)
    layer.dataProvider().addFeatures(features)
    outputs = run(
        INPUT=image,
        MASK_POLYGONS=layer,
        MODEL=preset,
        OUTPUT=str(tmp_path / "quality.tif"),
        POLYGONS=str(tmp_path / "polygons.gpkg"),
        MISSED=str(tmp_path / "missed.gpkg"),
        REPORT=str(tmp_path / "report.html"),
    )
    found = QgsVectorLayer(outputs["POLYGONS"], "found", "ogr")
    assert found.crs() == mercator
    rows = {feature["name"]: feature for feature in found.getFeatures()}
    assert rows["good"]["problem"] == "fine"
    assert rows["bad"]["problem"] == "false"
    assert (rows["bad"]["fix_rank"], rows["good"]["fix_rank"]) == (1, 2)
    assert rows["good"]["iou"] > 0.95
    shift = rows["good"].geometry().centroid().distance(features[0].geometry().centroid())
    assert shift < 0.01
    missed = QgsVectorLayer(outputs["MISSED"], "missed", "ogr")
    assert missed.crs().authid() == "EPSG:32632"
    (lacking,) = missed.getFeatures()
    assert (
        lacking.geometry().intersection(rectangle(LACKING)).area() > 0.9 * lacking.geometry().area()
    )
    assert outputs["POLYGON_COUNT"] == 2
    assert outputs["FALSE_COUNT"] == 1
    assert outputs["MISSED_COUNT"] == 1
    quality = gdal.Open(outputs["OUTPUT"]).ReadAsArray()
    expected = drawn({MAPPED: 1, FALSE: 2, LACKING: 4}, ground=3)
    assert (quality != expected).mean() < 0.01
    assert "Assessment" in Path(outputs["REPORT"]).read_text(encoding="utf-8")


def test_mask_raster(
    provider: object, qgis_new_project: None, image: str, preset: str, tmp_path: Path
) -> None:
    """A mask raster is judged, repaired and traced."""
    mask = write_raster(tmp_path / "mask.tif", drawn({MAPPED: 1, FALSE: 1})[None], PIXEL)
    outputs = run(
        INPUT=image,
        MASK=mask,
        MODEL=preset,
        POLYGONS="memory:",
        REPAIRED=str(tmp_path / "repaired.tif"),
        SCORES=str(tmp_path / "scores.tif"),
    )
    assert outputs["POLYGONS"].featureCount() == 2
    assert outputs["POLYGONS"].crs().authid() == "EPSG:32632"
    repaired = gdal.Open(outputs["REPAIRED"]).ReadAsArray()
    assert (repaired != drawn({MAPPED: 1, LACKING: 1})).mean() < 0.01
    assert gdal.Open(outputs["SCORES"]).RasterCount == 4
