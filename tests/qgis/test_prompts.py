"""``geoseg:prompts`` on the real QGIS with the real engine process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from engine_runs import LEFT, RED_ROOF, TOP, needs_engine, painted, write_raster
from osgeo import gdal
from qgis.core import (
    QgsApplication,
    QgsFeature,
    QgsField,
    QgsGeometry,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeatureSourceDefinition,
    QgsProcessingFeedback,
    QgsProject,
    QgsRasterLayer,
    QgsSingleSymbolRenderer,
    QgsVectorFileWriter,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QVariant

pytestmark = needs_engine

IDENTIFIER = "geoseg:prompts"
PIXEL, SIZE = 0.25, 256
ROOFS = ((40, 90, 50, 120), (150, 220, 140, 190))
"""Top, bottom, left, right in pixels."""


@pytest.fixture
def image(tmp_path: Path) -> str:
    """Two red roofs on grass."""
    picture = painted((SIZE, SIZE), list(ROOFS), RED_ROOF, seed=3)
    return write_raster(tmp_path / "roofs.tif", picture, PIXEL)


def roof_polygon(index: int) -> QgsGeometry:
    top, bottom, left, right = (value * PIXEL for value in ROOFS[index])
    ring = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
    corners = ", ".join(f"{LEFT + x} {TOP - y}" for x, y in ring)
    return QgsGeometry.fromWkt(f"Polygon (({corners}))")


@pytest.fixture
def layer(qgis_new_project: None) -> QgsVectorLayer:
    """A box round each roof, with attributes that clash with ours."""
    layer = QgsVectorLayer("Polygon?crs=EPSG:32632", "boxes", "memory")
    fields = [
        QgsField("Straße", QVariant.String),
        QgsField("score", QVariant.Int),
        QgsField("fid", QVariant.Int),
    ]
    layer.dataProvider().addAttributes(fields)
    layer.updateFields()
    for index, name in enumerate(("Gänseweg", "Uferstraße")):
        feature = QgsFeature(layer.fields())
        feature.setGeometry(roof_polygon(index))
        feature.setAttributes([name, 10 + index, 7])
        layer.dataProvider().addFeature(feature)
    QgsProject.instance().addMapLayer(layer)
    return layer


class Sentences(QgsProcessingFeedback):
    """Keeps what the user is told."""

    def __init__(self) -> None:
        super().__init__(False)
        self.sentences: list[str] = []

    def pushInfo(self, text: str) -> None:
        self.sentences.append(text)

    def pushWarning(self, text: str) -> None:
        self.sentences.append(text)


def run(parameters: dict[str, Any]) -> dict[str, Any]:
    import processing

    feedback = Sentences()
    results: dict[str, Any] = processing.run(IDENTIFIER, parameters, feedback=feedback)
    return {**results, "SENTENCES": feedback.sentences}


def overlap(first: QgsGeometry, second: QgsGeometry) -> float:
    return first.intersection(second).area() / first.combine(second).area()


def test_each_box_gets_an_outline_with_its_attributes(provider, image, layer, tmp_path) -> None:
    results = run(
        {
            "INPUT": image,
            "PROMPTS": layer,
            "POLYGONS": str(tmp_path / "outlines.gpkg"),
            "OUTPUT": str(tmp_path / "mask.tif"),
        }
    )
    assert results["OBJECT_COUNT"] == 2, results["SENTENCES"]
    assert results["MISSING_COUNT"] == 0
    outlines = QgsVectorLayer(results["POLYGONS"], "outlines", "ogr")
    assert outlines.crs().authid() == "EPSG:32632"
    assert isinstance(outlines.renderer(), QgsSingleSymbolRenderer)
    found = sorted(outlines.getFeatures(), key=lambda feature: feature["source_id"])
    assert [feature["Straße"] for feature in found] == ["Gänseweg", "Uferstraße"]
    assert [feature["score"] for feature in found] == [10, 11]
    # GeoPackages number their rows as fid: equal numbers of the user would be refused there.
    assert [feature["fid_1"] for feature in found] == [7, 7]
    assert all(0 < feature["score_1"] <= 1 for feature in found)
    for index, feature in enumerate(found):
        assert overlap(feature.geometry(), roof_polygon(index)) > 0.5
        assert feature["area_m2"] == pytest.approx(feature.geometry().area(), rel=0.01)
    mask = QgsRasterLayer(results["OUTPUT"], "mask")
    assert mask.extent() == QgsRasterLayer(image, "image").extent()
    values = gdal.Open(results["OUTPUT"]).ReadAsArray()
    assert values[65, 85] == 1
    assert values[5, 5] == 0


def test_boxes_of_another_crs(provider, image, qgis_new_project) -> None:
    from qgis.core import QgsCoordinateReferenceSystem, QgsCoordinateTransform

    box = roof_polygon(1)
    to_degrees = QgsCoordinateTransform(
        QgsCoordinateReferenceSystem("EPSG:32632"),
        QgsCoordinateReferenceSystem("EPSG:4326"),
        QgsProject.instance(),
    )
    box.transform(to_degrees)
    layer = QgsVectorLayer("Polygon?crs=EPSG:4326", "boxes", "memory")
    feature = QgsFeature()
    feature.setGeometry(box)
    layer.dataProvider().addFeature(feature)
    results = run({"INPUT": image, "PROMPTS": layer, "POLYGONS": "memory:"})
    (outline,) = results["POLYGONS"].getFeatures()
    assert overlap(outline.geometry(), roof_polygon(1)) > 0.7


def test_only_selected_features(provider, image, layer) -> None:
    layer.selectByExpression("\"Straße\" = 'Uferstraße'")
    chosen = QgsProcessingFeatureSourceDefinition(layer.id(), selectedFeaturesOnly=True)
    results = run({"INPUT": image, "PROMPTS": chosen, "POLYGONS": "memory:"})
    (outline,) = results["POLYGONS"].getFeatures()
    assert outline["Straße"] == "Uferstraße"


def test_groups_by_primary_key_and_labels(provider, image, layer, tmp_path) -> None:
    options = QgsVectorFileWriter.SaveVectorOptions()
    options.layerOptions = ["FID=number"]
    path = tmp_path / "boxes.gpkg"
    QgsVectorFileWriter.writeAsVectorFormatV3(
        layer, str(path), QgsProject.instance().transformContext(), options
    )
    stored = f"{path}|layername=boxes"
    assert QgsVectorLayer(stored, "stored", "ogr").primaryKeyAttributes() == [0]
    results = run(
        {"INPUT": image, "PROMPTS": stored, "GROUP_FIELD": "number", "POLYGONS": "memory:"}
    )
    assert results["OBJECT_COUNT"] == 2
    assert {feature["source_id"] for feature in results["POLYGONS"].getFeatures()} == {1, 2}


def test_what_cannot_be_prompts(provider, image, layer, qgis_new_project) -> None:
    empty = QgsVectorLayer("Point?crs=EPSG:32632", "empty", "memory")
    algorithm = QgsApplication.processingRegistry().createAlgorithmById(IDENTIFIER)
    context = QgsProcessingContext()
    context.setProject(QgsProject.instance())
    fine, reason = algorithm.checkParameterValues(
        {"INPUT": image, "PROMPTS": empty, "POLYGONS": "memory:"}, context
    )
    assert (fine, reason[:28]) == (False, "Prompts: the layer is empty.")
    layer.removeSelection()
    chosen = QgsProcessingFeatureSourceDefinition(layer.id(), selectedFeaturesOnly=True)
    fine, reason = algorithm.checkParameterValues(
        {"INPUT": image, "PROMPTS": chosen, "POLYGONS": "memory:"}, context
    )
    assert (fine, reason[:32]) == (False, "Prompts: no feature is selected,")
    far = QgsVectorLayer("Point?crs=EPSG:32632", "far", "memory")
    feature = QgsFeature()
    feature.setGeometry(QgsGeometry.fromWkt("Point (0 0)"))
    far.dataProvider().addFeature(feature)
    with pytest.raises(QgsProcessingException, match=r"outside|extent"):
        run({"INPUT": image, "PROMPTS": far, "POLYGONS": "memory:"})


def test_points_with_labels_make_one_object(provider, image, qgis_new_project) -> None:
    points = QgsVectorLayer("Point?crs=EPSG:32632&field=on:int&field=roof:int", "clicks", "memory")
    for roof, label, shift in ((0, 1, 0.0), (0, 1, 2.0), (0, 0, 12.0)):
        feature = QgsFeature(points.fields())
        place = roof_polygon(roof).centroid()
        place.translate(0.0, shift)
        feature.setGeometry(place)
        feature.setAttributes([label, roof])
        points.dataProvider().addFeature(feature)
    parameters = {"INPUT": image, "PROMPTS": points, "LABEL_FIELD": "on", "GROUP_FIELD": "roof"}
    results = run({**parameters, "POLYGONS": "memory:"})
    assert results["OBJECT_COUNT"] + results["MISSING_COUNT"] == 1
    with pytest.raises(QgsProcessingException, match="sam2"):
        run({**parameters, "METHOD": "unigeoseg", "POLYGONS": "memory:"})


@pytest.mark.parametrize("output", ["OUTPUT", "POLYGONS"])
def test_inputs_are_not_written_over(provider, image, layer, tmp_path, output: str) -> None:
    clicks = str(tmp_path / "clicks.gpkg")
    options = QgsVectorFileWriter.SaveVectorOptions()
    context = QgsProject.instance().transformContext()
    QgsVectorFileWriter.writeAsVectorFormatV3(layer, clicks, context, options)
    source = {"OUTPUT": image, "POLYGONS": clicks}[output]
    before = Path(source).read_bytes()
    with pytest.raises(QgsProcessingException, match="is already used as an input"):
        run({"INPUT": image, "PROMPTS": clicks, "METHOD": "sam2", output: source})
    assert Path(source).read_bytes() == before
