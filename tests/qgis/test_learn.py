"""``geoseg:learn`` and ``geoseg:classify`` on the real QGIS with the real engine process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_runs import LEFT, TOP, needs_engine, write_raster
from osgeo import gdal
from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsFeature,
    QgsGeometry,
    QgsPointXY,
    QgsProcessingException,
    QgsProject,
    QgsVectorLayer,
)

pytestmark = needs_engine

SIZE, PIXEL = 120, 0.5
COLOURS = {"grass": (70, 140, 60), "sand": (220, 200, 150), "water": (30, 60, 120)}


def classes() -> np.ndarray:
    """Return a map of classes from 0, squares of 20 pixels."""
    rows, columns = np.mgrid[0:SIZE, 0:SIZE] // 20
    return np.asarray((rows + 2 * columns) % 3)


def write_image(folder: Path) -> str:
    noise = np.random.default_rng(0).integers(-8, 8, (3, SIZE, SIZE))
    pixels = np.array(list(COLOURS.values()))[classes()].transpose(2, 0, 1) + noise
    return write_raster(folder / "image.tif", pixels.astype(np.uint8), PIXEL)


def make_points(count: int, names: tuple[str, ...] = tuple(COLOURS)) -> QgsVectorLayer:
    """Return points in memory in degrees, ``count`` of each class."""
    crs = QgsCoordinateReferenceSystem("EPSG:4326")
    layer = QgsVectorLayer("Point?crs=EPSG:4326&field=kind:string", "places", "memory")
    transform = QgsCoordinateTransform(
        QgsCoordinateReferenceSystem("EPSG:32632"), crs, QgsProject.instance()
    )
    rng = np.random.default_rng(1)
    features = []
    for number, name in enumerate(names):
        pixels = np.argwhere(classes() == number)
        for row, column in pixels[rng.permutation(len(pixels))[:count]].tolist():
            feature = QgsFeature(layer.fields())
            feature.setAttribute("kind", name)
            place = QgsPointXY(LEFT + (column + 0.5) * PIXEL, TOP - (row + 0.5) * PIXEL)
            feature.setGeometry(QgsGeometry.fromPointXY(transform.transform(place)))
            features.append(feature)
    layer.dataProvider().addFeatures(features)
    return layer


def run(name: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """Run an algorithm as scripts do."""
    import processing

    results: dict[str, Any] = processing.run(f"geoseg:{name}", parameters)
    return results


def test_labels_in_memory_become_a_map(provider, qgis_new_project, tmp_path) -> None:
    image, folder = write_image(tmp_path), tmp_path / "model"
    learnt = run(
        "learn",
        {
            "INPUT": image,
            "LABELS": make_points(12),
            "CLASS_FIELD": "kind",
            "MODEL_FOLDER": str(folder),
            "REPORT": str(tmp_path / "report.html"),
        },
    )
    assert learnt["MODEL_FOLDER"] == str(folder)
    assert learnt["PLACE_COUNT"] == 36
    assert learnt["MEAN_IOU"] > 0.7
    assert "grass" in (tmp_path / "report.html").read_text(encoding="utf-8")
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    assert [item["name"] for item in card["classes"]] == list(COLOURS)

    found = run(
        "classify",
        {
            "INPUT": image,
            "MODEL": str(folder),
            "OUTPUT": str(tmp_path / "map.tif"),
            "POLYGONS": "TEMPORARY_OUTPUT",
            "UNCERTAINTY": str(tmp_path / "uncertainty.tif"),
        },
    )
    mapped = gdal.Open(str(tmp_path / "map.tif")).ReadAsArray()
    assert (mapped == classes() + 1).mean() > 0.9
    assert found["CLASSES_FOUND"] == 3
    assert set(json.loads(found["CLASS_AREAS"])) == set(COLOURS)
    assert {feature["class"] for feature in found["POLYGONS"].getFeatures()} == set(COLOURS)
    assert gdal.Open(found["UNCERTAINTY"]).ReadAsArray().shape == (SIZE, SIZE)


def test_what_cannot_be_learnt_is_answered_in_sentences(
    provider, qgis_new_project, tmp_path
) -> None:
    image = write_image(tmp_path)
    parameters = {"INPUT": image, "CLASS_FIELD": "kind", "MODEL_FOLDER": str(tmp_path / "model")}
    one_class = {**parameters, "LABELS": make_points(3, ("grass",))}
    with pytest.raises(QgsProcessingException, match="only one class on the imagery: grass"):
        run("learn", one_class)
    with pytest.raises(QgsProcessingException, match="holds no learnt model"):
        run("classify", {"INPUT": image, "MODEL": str(tmp_path), "OUTPUT": str(tmp_path / "o.tif")})
    assert not (tmp_path / "model").exists()
