"""``geoseg:refer`` on the real QGIS with the real engine process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_runs import RED_ROOF, needs_engine, painted, write_raster
from osgeo import gdal
from qgis.core import (
    QgsApplication,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProject,
    QgsVectorLayer,
)

pytestmark = needs_engine

IDENTIFIER = "geoseg:refer"


@pytest.fixture
def image(tmp_path: Path) -> str:
    """A red roof on grass."""
    picture = painted((96, 120), [(30, 60, 40, 80)], RED_ROOF, seed=3)
    return write_raster(tmp_path / "roof.tif", picture, 0.5)


def run(parameters: dict[str, Any]) -> dict[str, Any]:
    import processing

    results: dict[str, Any] = processing.run(IDENTIFIER, parameters)
    return results


def test_an_answer_lies_on_the_pixels(
    provider, qgis_new_project, image: str, tmp_path: Path
) -> None:
    results = run(
        {
            "INPUT": image,
            "INSTRUCTION": "the building",
            "THRESHOLD": 0.01,
            "OUTPUT": str(tmp_path / "mask.tif"),
            "POLYGONS": str(tmp_path / "answer.gpkg"),
            "SCORES": str(tmp_path / "scores.tif"),
        }
    )
    source, mask = gdal.Open(image), gdal.Open(results["OUTPUT"])
    assert mask.GetGeoTransform() == source.GetGeoTransform()
    values = mask.ReadAsArray()
    assert set(np.unique(values)) <= {0, 1}
    answer = QgsVectorLayer(results["POLYGONS"], "answer", "ogr")
    assert answer.featureCount() == results["OBJECT_COUNT"]
    assert results["AREA"] == pytest.approx((values == 1).sum() * 0.25, rel=0.01)
    assert gdal.Open(results["SCORES"]).RasterXSize == 120
    for feature in answer.getFeatures():
        assert feature["instruction"] == "the building"


def test_no_instruction(provider, qgis_new_project, image: str) -> None:
    algorithm = QgsApplication.processingRegistry().createAlgorithmById(IDENTIFIER)
    context = QgsProcessingContext()
    context.setProject(QgsProject.instance())
    parameters = {"INPUT": image, "INSTRUCTION": "  ", "POLYGONS": "memory:"}
    fine, reason = algorithm.checkParameterValues(parameters, context)
    assert not fine
    assert reason.startswith("The instruction is empty.")
    with pytest.raises(QgsProcessingException):
        run(parameters)
