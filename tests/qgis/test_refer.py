"""``geoseg:refer`` on the real QGIS with the real engine process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from osgeo import gdal, osr
from qgis.core import (
    QgsApplication,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProject,
    QgsVectorLayer,
)

from geoseg_qgis.engine_client import close_shared, engine_ready

READY, REASON = engine_ready()
pytestmark = pytest.mark.skipif(not READY, reason=REASON)

IDENTIFIER = "geoseg:refer"


@pytest.fixture(autouse=True, scope="module")
def warm_engine() -> Iterator[None]:
    """Stop the engine after the last test of this file."""
    yield
    close_shared()


@pytest.fixture
def image(tmp_path: Path) -> str:
    """A red roof on grass."""
    generator = np.random.default_rng(3)
    picture = np.empty((3, 96, 120), np.uint8)
    picture[:] = np.array([70, 115, 60])[:, None, None]
    picture[:, 30:60, 40:80] = np.array([190, 70, 55])[:, None, None]
    noisy = np.clip(picture + generator.integers(-10, 10, picture.shape), 0, 255)
    path = tmp_path / "roof.tif"
    dataset = gdal.GetDriverByName("GTiff").Create(str(path), 120, 96, 3)
    dataset.SetGeoTransform((500000.0, 0.5, 0.0, 5600000.0, 0.0, -0.5))
    reference = osr.SpatialReference()
    reference.ImportFromEPSG(32632)
    dataset.SetProjection(reference.ExportToWkt())
    dataset.WriteArray(noisy.astype(np.uint8))
    return str(path)


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
    assert reason.startswith("There is no instruction.")
    with pytest.raises(QgsProcessingException):
        run(parameters)
