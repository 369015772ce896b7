"""``geoseg:assess`` with the built-in model: every output, its style, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_runs import LEFT, RED_ROOF, TOP, needs_engine, painted, write_raster
from osgeo import gdal
from qgis.core import (
    QgsApplication,
    QgsFeature,
    QgsField,
    QgsGeometry,
    QgsPalettedRasterRenderer,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProject,
    QgsRasterLayer,
    QgsRectangle,
    QgsRuleBasedRenderer,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QVariant

from geoseg_qgis.processing.assess import AssessAlgorithm

pytestmark = needs_engine

IDENTIFIER = "geoseg:assess"
PIXEL, SIZE = 0.3, 256
ROOFS = ((30, 90, 40, 110), (140, 210, 60, 130))
"""Top, bottom, left, right in pixels."""
LAWN = (20, 70, 170, 230)
QUALITY_FIELDS = {"precision", "recall", "iou", "f1", "confidence", "problem", "fix_rank"}


@pytest.fixture
def image(tmp_path: Path) -> str:
    """Two red roofs on grass."""
    picture = painted((SIZE, SIZE), list(ROOFS), RED_ROOF, seed=5)
    return write_raster(tmp_path / "image.tif", picture, PIXEL)


def rectangle(box: tuple[int, int, int, int]) -> QgsGeometry:
    top, bottom, left, right = (value * PIXEL for value in box)
    return QgsGeometry.fromRect(QgsRectangle(LEFT + left, TOP - bottom, LEFT + right, TOP - top))


@pytest.fixture
def polygons(qgis_new_project: None) -> QgsVectorLayer:
    """Two roofs and a piece of lawn."""
    layer = QgsVectorLayer("Polygon?crs=EPSG:32632", "footprints", "memory")
    layer.dataProvider().addAttributes([QgsField("owner", QVariant.String)])
    layer.updateFields()
    for name, box in (("Ann", ROOFS[0]), ("Béla", ROOFS[1]), ("nobody", LAWN)):
        feature = QgsFeature(layer.fields())
        feature.setGeometry(rectangle(box))
        feature.setAttributes([name])
        layer.dataProvider().addFeature(feature)
    QgsProject.instance().addMapLayer(layer)
    return layer


def run(parameters: dict[str, Any]) -> dict[str, Any]:
    import processing

    results: dict[str, Any] = processing.run(IDENTIFIER, parameters)
    return results


def test_every_output_explains_itself(provider, image, polygons, tmp_path) -> None:
    names = {
        "OUTPUT": "quality.tif",
        "POLYGONS": "assessed.gpkg",
        "MISSED": "missed.gpkg",
        "REPORT": "report.html",
        "REPAIRED": "repaired.tif",
        "SCORES": "scores.tif",
    }
    files = {name: str(tmp_path / file) for name, file in names.items()}
    results = run({"INPUT": image, "MASK_POLYGONS": polygons, **files})
    for name in ("PRECISION", "RECALL", "IOU", "F1"):
        assert 0 <= results[name] <= 1
    assert results["POLYGON_COUNT"] == 3
    assessed = QgsVectorLayer(results["POLYGONS"], "assessed", "ogr")
    assert isinstance(assessed.renderer(), QgsRuleBasedRenderer)
    assert {field.name() for field in assessed.fields()} >= {*QUALITY_FIELDS, "owner", "source_id"}
    by_owner = {feature["owner"]: feature for feature in assessed.getFeatures()}
    assert sorted(feature["fix_rank"] for feature in by_owner.values()) == [1, 2, 3]
    assert by_owner["Ann"].geometry().symDifference(rectangle(ROOFS[0])).area() < 1e-6
    quality = gdal.Open(results["OUTPUT"]).ReadAsArray()
    assert quality.shape == (SIZE, SIZE)
    assert set(np.unique(quality[40:80, 50:100])) <= {1, 2}
    assert set(np.unique(quality[100:130, 150:160])) <= {3, 4}
    layer = QgsRasterLayer(results["OUTPUT"], "quality")
    assert isinstance(layer.renderer(), QgsPalettedRasterRenderer)
    assert [item.value for item in layer.renderer().classes()][-4:] == [1, 2, 3, 4]
    assert gdal.Open(results["SCORES"]).RasterCount == 4
    report = Path(results["REPORT"]).read_text(encoding="utf-8")
    assert "footprints" in report
    assert "<script" not in report


def test_a_mask_keeps_its_own_iou_and_may_vanish(
    provider, image, polygons, tmp_path, monkeypatch
) -> None:
    polygons.dataProvider().addAttributes([QgsField("iou", QVariant.Double)])
    polygons.updateFields()
    layer_id = polygons.id()
    run_job = AssessAlgorithm.run_job

    def remove_layer(self, job, feedback):
        result = run_job(self, job, feedback)
        QgsProject.instance().removeMapLayer(layer_id)
        return result

    monkeypatch.setattr(AssessAlgorithm, "run_job", remove_layer)
    path = str(tmp_path / "assessed.gpkg")
    run({"INPUT": image, "MASK_POLYGONS": layer_id, "POLYGONS": path})
    assessed = QgsVectorLayer(path, "assessed", "ogr")
    assert assessed.crs().authid() == "EPSG:32632"
    assert {"iou", "iou_1"} <= set(assessed.fields().names())
    rules = assessed.renderer().rootRule().children()
    # The last rule is about what a review has dropped.
    assert all('"iou_1"' in rule.filterExpression() for rule in rules[:-1])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, "Nothing was given for Mask."),
        (
            {"MASK": "image", "MASK_POLYGONS": "polygons"},
            "Mask was given twice, as a raster and as polygons.",
        ),
        ({"MASK_POLYGONS": "empty"}, "Mask polygons: the layer is empty."),
    ],
)
def test_what_cannot_be_assessed(provider, image, polygons, change, reason) -> None:
    empty = QgsVectorLayer("Polygon?crs=EPSG:32632", "empty", "memory")
    given = {"image": image, "polygons": polygons, "empty": empty}
    parameters = {"INPUT": image, **{name: given[value] for name, value in change.items()}}
    algorithm = QgsApplication.processingRegistry().createAlgorithmById(IDENTIFIER)
    context = QgsProcessingContext()
    context.setProject(QgsProject.instance())
    fine, said = algorithm.checkParameterValues({**parameters, "POLYGONS": "memory:"}, context)
    assert not fine
    assert said.startswith(reason)


def test_mask_elsewhere_is_told(provider, image, qgis_new_project) -> None:
    far = QgsVectorLayer("Polygon?crs=EPSG:32632", "far", "memory")
    feature = QgsFeature()
    feature.setGeometry(QgsGeometry.fromRect(QgsRectangle(0, 0, 10, 10)))
    far.dataProvider().addFeature(feature)
    with pytest.raises(QgsProcessingException, match=r"[.] [A-Z].*[.]"):
        run({"INPUT": image, "MASK_POLYGONS": far, "POLYGONS": "memory:"})
