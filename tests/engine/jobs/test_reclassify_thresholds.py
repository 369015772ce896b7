"""Reclassify never empties a map in silence."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine

from geoseg_qgis.engine.jobs.reclassify import run
from geoseg_qgis.engine.progress import JobContext
from geoseg_qgis.engine.raster.grid import Grid
from geoseg_qgis.engine.raster.write import ScoresWriter
from geoseg_qgis.protocol.job import make_job
from geoseg_qgis.protocol.legend import LegendClass
from geoseg_qgis.protocol.result import Result

LEGEND = (LegendClass(1, ("building",), "#ff0000"), LegendClass(2, ("road",), "#00ff00"))


@pytest.fixture
def scores(tmp_path: Path) -> Path:
    """20 x 20 pixels: buildings on the left at 0.02 to 0.40, roads on the right at 0.9."""
    values = np.zeros((2, 20, 20), np.float32)
    values[0, :, :10] = np.linspace(0.02, 0.4, 200).reshape(20, 10)
    values[1, :, 10:] = 0.9
    path = tmp_path / "scores.tif"
    place = Affine(1.0, 0.0, 500000.0, 0.0, -1.0, 5600000.0)
    grid = Grid(place, 20, 20, rasterio.CRS.from_epsg(32632).to_wkt())
    provenance = {"job": json.dumps({"task": {"threshold": 0.3}})}
    with ScoresWriter(path, grid, LEGEND, provenance) as writer:
        writer.write(rasterio.windows.Window(0, 0, 20, 20), values, np.ones((20, 20), bool))
    return path


def reclassified(scores: Path, thresholds: str) -> Result:
    values = {
        ("source", "uri"): str(scores),
        ("task", "thresholds"): thresholds,
        ("task", "class_raster"): str(scores.with_name("classes.tif")),
    }
    return run(make_job("reclassify", values), JobContext())


def test_without_thresholds_those_of_the_run_count(scores: Path) -> None:
    assert reclassified(scores, "").classes == reclassified(scores, "0.3").classes
    assert reclassified(scores, "").classes[1].pixels == 200
    assert 0 < reclassified(scores, "").classes[0].pixels < 200


def test_a_class_that_vanishes_is_told(scores: Path) -> None:
    result = reclassified(scores, "0.5")
    assert result.classes[0].pixels == 0
    (warning,) = result.warnings
    assert warning == (
        "The threshold 0.50 keeps 0% of building, whose scores reach 0.40. 0.21 would keep half "
        "of it."
    )
    assert reclassified(scores, "building: 0.2; road: 0.5").warnings == ()
