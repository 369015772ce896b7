"""Polygons reach every kind of sink whole, and files carry their style."""

from __future__ import annotations

import sqlite3
from functools import partial
from pathlib import Path

import pytest
from qgis.core import (
    QgsApplication,
    QgsCategorizedSymbolRenderer,
    QgsCoordinateReferenceSystem,
    QgsFeature,
    QgsGeometry,
    QgsProcessing,
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingOutputLayerDefinition,
    QgsProject,
    QgsVectorFileWriter,
    QgsVectorLayer,
)

from geoseg_qgis.layers.styling import LayerStyler, finish_polygon_file, polygon_renderer
from geoseg_qgis.processing.class_results import polygon_fields
from geoseg_qgis.processing.sinks import copy_features
from geoseg_qgis.processing.values import Values
from geoseg_qgis.protocol.errors import CancelledError, JobError
from geoseg_qgis.protocol.legend import parse_classes

LEGEND = parse_classes("building =#ff0000; road =#00ff00")
STYLE = partial(polygon_renderer, LEGEND)
PROVENANCE = {"method": "gumix", "model": "tiny"}
CRS = QgsCoordinateReferenceSystem.fromEpsgId(32632)
ROWS = [
    ["building", 1, 0.75, 100.0, 40.0, "gumix", "tiny"],
    ["road", 2, 0.5, 50.0, 60.0, "gumix", "tiny"],
]


@pytest.fixture
def engine_file(qgis_new_project: None, tmp_path: Path) -> Path:
    """What the engine hands over: two squares in zone 32."""
    layer = QgsVectorLayer("Polygon?crs=EPSG:32632", "polygons", "memory")
    layer.dataProvider().addAttributes(polygon_fields().toList())
    layer.updateFields()
    for number, row in enumerate(ROWS):
        feature = QgsFeature(layer.fields())
        feature.setAttributes(row)
        west = 500000 + 20 * number
        feature.setGeometry(
            QgsGeometry.fromWkt(
                f"POLYGON(({west} 0, {west + 10} 0, {west + 10} 10, {west} 10, {west} 0))"
            )
        )
        layer.dataProvider().addFeature(feature)
    path = tmp_path / "engine.gpkg"
    options = QgsVectorFileWriter.SaveVectorOptions()
    options.layerName = "polygons"
    QgsVectorFileWriter.writeAsVectorFormatV3(
        layer, str(path), QgsProject.instance().transformContext(), options
    )
    return path


@pytest.fixture
def context(provider) -> QgsProcessingContext:
    """A context with the open project."""
    context = QgsProcessingContext()
    context.setProject(QgsProject.instance())
    return context


def copy(engine_file: Path, destination: object, context: QgsProcessingContext) -> tuple[str, int]:
    """Copy the engine's polygons to ``destination``."""
    algorithm = QgsApplication.processingRegistry().createAlgorithmById("geoseg:openvocabulary")
    values = Values(algorithm, {"POLYGONS": destination}, context)
    fields = algorithm.sink_fields(values, "POLYGONS")
    feedback = QgsProcessingFeedback()
    return copy_features(values, "POLYGONS", engine_file, CRS, feedback, fields=fields)


def read(layer: QgsVectorLayer) -> list[list[object]]:
    """Return attributes without the feature id, and the area."""
    assert layer.isValid()
    return [
        [*(feature[name] for name in layer.fields().names() if name != "fid"),
         feature.geometry().area()]
        for feature in layer.getFeatures()
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["a.gpkg", "a.shp", "a.geojson", "a.fgb"])
def test_files(engine_file, context, tmp_path: Path, name: str) -> None:
    destination, count = copy(engine_file, str(tmp_path / name), context)
    assert count == 2
    layer = QgsVectorLayer(destination, "copy", "ogr")
    rows = sorted(read(layer), key=lambda row: str(row[0]))
    assert [row[:7] for row in rows] == ROWS
    if name != "a.geojson":
        assert [row[7] for row in rows] == [100.0, 100.0]
        assert layer.crs().authid() == "EPSG:32632"


def test_shapefile_names_are_short_and_whole(engine_file, context, tmp_path: Path) -> None:
    destination, _ = copy(engine_file, str(tmp_path / "a.shp"), context)
    names = QgsVectorLayer(destination, "copy", "ogr").fields().names()
    assert names == ["class", "class_id", "score", "area_m2", "perim_m", "method", "model"]


def test_memory_layer(engine_file, context) -> None:
    destination, count = copy(engine_file, QgsProcessing.TEMPORARY_OUTPUT, context)
    layer = context.takeResultLayer(destination)
    assert count == 2
    assert [row[:7] for row in read(layer)] == ROWS
    assert layer.fields().names()[4] == "perimeter_m"


def test_table_of_a_database(engine_file, context, tmp_path: Path) -> None:
    destination, _ = copy(
        engine_file, f"ogr:dbname='{tmp_path / 'all.gpkg'}' table=\"found\" (geom)", context
    )
    assert destination.endswith("all.gpkg|layername=found")
    assert len(read(QgsVectorLayer(destination, "copy", "ogr"))) == 2


def test_unwritable_destination_is_said(engine_file, context, tmp_path: Path) -> None:
    with pytest.raises(JobError, match="cannot be written to"):
        copy(engine_file, str(tmp_path / "nowhere" / "a.gpkg"), context)


def test_cancel_stops_the_copy(engine_file, context, tmp_path: Path) -> None:
    algorithm = QgsApplication.processingRegistry().createAlgorithmById("geoseg:openvocabulary")
    feedback = QgsProcessingFeedback()
    feedback.cancel()
    for name in ("a.gpkg", "a.shp"):
        values = Values(algorithm, {"POLYGONS": str(tmp_path / name)}, context)
        with pytest.raises(CancelledError):
            copy_features(values, "POLYGONS", engine_file, CRS, feedback)
    assert list(tmp_path.glob("a.*")) == []


@pytest.mark.parametrize("name", ["a.gpkg", "a.shp"])
def test_files_load_styled_and_described(engine_file, context, tmp_path: Path, name: str) -> None:
    destination, _ = copy(engine_file, str(tmp_path / name), context)
    finish_polygon_file(destination, STYLE(), PROVENANCE)
    uri = f"{destination}|layername=a" if name.endswith(".gpkg") else destination
    layer = QgsVectorLayer(uri, "again", "ogr")
    renderer = layer.renderer()
    assert isinstance(renderer, QgsCategorizedSymbolRenderer)
    assert renderer.classAttribute() == "class"
    assert [
        (category.value(), category.symbol().symbolLayer(0).strokeColor().name())
        for category in renderer.categories()
    ] == [("building", "#ff0000"), ("road", "#00ff00")]
    layer.loadDefaultMetadata()
    assert layer.metadata().abstract() == "method: gumix\nmodel: tiny"


def test_style_table_is_registered(engine_file, context, tmp_path: Path) -> None:
    path = tmp_path / "a.gpkg"
    destination, _ = copy(engine_file, str(path), context)
    finish_polygon_file(destination, STYLE(), PROVENANCE)
    with sqlite3.connect(path) as database:
        rows = database.execute("SELECT f_table_name, useAsDefault FROM layer_styles").fetchall()
    assert rows == [("a", 1)]


def test_styler_dresses_and_groups(engine_file, qgis_new_project) -> None:
    project = QgsProject.instance()
    layer = QgsVectorLayer(str(engine_file), "found", "ogr")
    project.addMapLayer(layer)
    context = QgsProcessingContext()
    context.setProject(project)
    styler = LayerStyler.create(STYLE, PROVENANCE, "image: Segmentation")
    styler.postProcessLayer(layer, context, QgsProcessingFeedback())
    group = project.layerTreeRoot().findGroup("image: Segmentation")
    assert [node.layerId() for node in group.findLayers()] == [layer.id()]
    assert len(project.layerTreeRoot().findLayers()) == 1
    assert isinstance(layer.renderer(), QgsCategorizedSymbolRenderer)
    assert layer.metadata().history() == ["method: gumix", "model: tiny"]


def test_stylers_are_kept_until_they_ran(qgis_new_project) -> None:
    first = LayerStyler.create(STYLE, PROVENANCE, "")
    layer = QgsVectorLayer("Polygon?field=class:string", "memory", "memory")
    assert first in LayerStyler._kept
    first.postProcessLayer(layer, QgsProcessingContext(), QgsProcessingFeedback())
    LayerStyler.create(STYLE, PROVENANCE, "")
    assert first not in LayerStyler._kept


def test_definition_objects_are_understood(engine_file, context, tmp_path: Path) -> None:
    definition = QgsProcessingOutputLayerDefinition(str(tmp_path / "b.shp"))
    destination, _ = copy(engine_file, definition, context)
    names = QgsVectorLayer(destination, "copy", "ogr").fields().names()
    assert "perim_m" in names
