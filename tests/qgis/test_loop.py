"""Segment, assess, outline anew: the algorithms one after the other in a model, and in a batch."""

from __future__ import annotations

from pathlib import Path

import pytest
from engine_runs import needs_engine, painted, write_raster
from osgeo import gdal
from qgis.core import (
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingModelAlgorithm,
    QgsProcessingModelChildAlgorithm,
    QgsProcessingModelChildParameterSource,
    QgsProcessingModelOutput,
    QgsProcessingModelParameter,
    QgsProcessingParameterRasterLayer,
    QgsProject,
)

pytestmark = needs_engine

SIZE = 160
WATER = (40, 70, 85)
Source = QgsProcessingModelChildParameterSource


def write_lake(path: Path, seed: int) -> str:
    """Write a dark lake on grass; a rectangle of a brighter blue is a roof to the built-in CLIP."""
    picture = painted((SIZE, SIZE), [(60, 140, 50, 150)], WATER, seed)
    return write_raster(path, picture, 0.5)


def child(provider, name: str, given: dict[str, object]) -> QgsProcessingModelChildAlgorithm:
    """Return a step with every value of its dialog, as the designer stores it."""
    step = QgsProcessingModelChildAlgorithm(f"geoseg:{name}")
    step.setChildId(name)
    for parameter in provider.algorithm(name).parameterDefinitions():
        if not parameter.isDestination():
            default = Source.fromStaticValue(parameter.defaultValue())
            step.addParameterSources(parameter.name(), [default])
    for parameter_name, source in given.items():
        step.addParameterSources(parameter_name, [source])
    return step


def test_a_model_segments_assesses_and_outlines(provider, qgis_new_project, tmp_path) -> None:
    model = QgsProcessingModelAlgorithm("Loop", "tests")
    model.addModelParameter(
        QgsProcessingParameterRasterLayer("image"), QgsProcessingModelParameter("image")
    )
    image = Source.fromModelParameter("image")
    segment = {
        "INPUT": image,
        "CLASSES": Source.fromStaticValue("water"),
        "METHOD": Source.fromStaticValue("fast"),
    }
    model.addChildAlgorithm(child(provider, "openvocabulary", segment))
    mask = Source.fromChildOutput("openvocabulary", "OUTPUT")
    model.addChildAlgorithm(child(provider, "assess", {"INPUT": image, "MASK": mask}))
    prompts = Source.fromChildOutput("assess", "POLYGONS")
    outline = child(provider, "prompts", {"INPUT": image, "PROMPTS": prompts})
    output = QgsProcessingModelOutput("outlines")
    output.setChildId("prompts")
    output.setChildOutputName("POLYGONS")
    outline.setModelOutputs({"outlines": output})
    model.addChildAlgorithm(outline)
    assert model.validate() == (True, [])
    context = QgsProcessingContext()
    context.setProject(QgsProject.instance())
    feedback = QgsProcessingFeedback()
    parameters = {"image": write_lake(tmp_path / "lake.tif", 1), "prompts:outlines": "memory:"}
    results, fine = model.run(parameters, context, feedback)
    assert fine, feedback.textLog()
    outlines = context.takeResultLayer(results["prompts:outlines"])
    assert outlines.featureCount() >= 1
    assert {"iou", "fix_rank", "score", "area_m2"} <= set(outlines.fields().names())
    largest = max(outlines.getFeatures(), key=lambda feature: feature.geometry().area())
    lake = (100 * 0.5) * (80 * 0.5)
    assert 0.5 * lake < largest.geometry().area() < 1.5 * lake


@pytest.mark.parametrize("name", ["assess", "prompts", "refer"])
def test_a_batch_of_two(provider, qgis_new_project, qgis_iface, tmp_path, name) -> None:
    from processing.gui.AlgorithmExecutor import execute

    for number in range(2):
        image = write_lake(tmp_path / f"lake{number}.tif", number)
        layer = tmp_path / f"box{number}.geojson"
        layer.write_text(
            '{"type": "FeatureCollection", "crs": {"type": "name", "properties": {"name": '
            '"urn:ogc:def:crs:EPSG::32632"}}, "features": [{"type": "Feature", "properties": {}, '
            '"geometry": {"type": "Polygon", "coordinates": [[[500025, 5599970], '
            "[500075, 5599970], [500075, 5599930], [500025, 5599930], [500025, 5599970]]]}}]}"
        )
        asked = {
            "assess": {"MASK_POLYGONS": str(layer)},
            "prompts": {"PROMPTS": str(layer)},
            "refer": {"INSTRUCTION": "all water"},
        }[name]
        file = "quality" if name == "assess" else "mask"
        output = str(tmp_path / f"{file}{number}.tif")
        fine, results = execute(
            provider.algorithm(name).create(),
            {"INPUT": image, "OUTPUT": output, **asked},
            QgsProcessingContext(),
            QgsProcessingFeedback(),
        )
        assert fine
        assert gdal.Open(results["OUTPUT"]).ReadAsArray().shape == (SIZE, SIZE)
