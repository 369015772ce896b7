"""Ids, parameters and outputs never change: a file lists them with their types and defaults."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from qgis.core import QgsApplication, QgsProcessingContext, QgsProcessingParameterDefinition

from geoseg_qgis.protocol.registry import KINDS

INTERFACE: dict[str, dict[str, dict[str, Any]]] = json.loads(
    (Path(__file__).parent / "interface.json").read_text(encoding="utf-8")
)
"""Id to parameters (type, default, whether optional) and outputs (type)."""


def test_every_algorithm_is_found(provider) -> None:
    found = {algorithm.id() for algorithm in provider.algorithms()}
    assert found == set(INTERFACE)
    assert found >= {f"geoseg:{kind}" for kind in KINDS}


@pytest.mark.parametrize("identifier", INTERFACE)
def test_parameters_and_outputs_stay(provider, identifier: str) -> None:
    algorithm = QgsApplication.processingRegistry().createAlgorithmById(identifier)
    optional = QgsProcessingParameterDefinition.Flag.FlagOptional
    parameters = {
        item.name(): [item.type(), item.defaultValue(), bool(item.flags() & optional)]
        for item in algorithm.parameterDefinitions()
    }
    assert parameters == INTERFACE[identifier]["parameters"]
    outputs = {item.name(): item.type() for item in algorithm.outputDefinitions()}
    assert outputs == INTERFACE[identifier]["outputs"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"THRESHOLD": 40}, "Threshold must lie between 0 and 1; it is 40. Give a number in this"),
        ({"THRESHOLD": "40"}, "Threshold must lie between 0 and 1; it is 40."),
        ({"THRESHOLD": float("nan")}, "Threshold must lie between 0 and 1; it is nan."),
        ({"THRESHOLD": float("inf")}, "Threshold must lie between 0 and 1; it is inf."),
        ({"THRESHOLD": "high"}, "Threshold must be a number; it is 'high'."),
        ({"RESOLUTION": -2}, "Resolution must be greater than 0 and at most 1,000,000; it is -2."),
        ({"POINTS_PER_SIDE": 10**9}, "Points per side must lie between 1 and 128"),
        ({"POINTS_PER_SIDE": 8.5}, "Points per side must be a whole number; it is 8.5."),
        ({"MINIMUM_AREA": -1}, "Minimum area must lie between 0 and 1,000,000,000,000; it is -1."),
        ({"METHOD": "magic"}, "Method cannot be 'magic'. Choose one of auto, gumix"),
        ({"STRETCH": "wide"}, "Contrast stretch cannot be 'wide'. Choose one of layer, perc"),
        ({"DEVICE": "abacus"}, "Device cannot be 'abacus'."),
        ({"INPUT": "/nowhere.tif"}, "Imagery: /nowhere.tif cannot be read."),
        ({"INPUT": None}, "Nothing was given for Imagery."),
        ({"REGIONS": "/nowhere.gpkg"}, "Regions: /nowhere.gpkg cannot be read."),
        ({"EXTENT": "somewhere"}, "Extent cannot be 'somewhere'. Choose another value."),
    ],
)
def test_values_are_refused_by_their_label(
    provider, make_raster, tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    values = {
        "INPUT": str(make_raster()),
        "CLASSES": "building; road",
        "OUTPUT": str(tmp_path / "classes.tif"),
        **change,
    }
    algorithm = QgsApplication.processingRegistry().createAlgorithmById("geoseg:openvocabulary")
    fine, said = algorithm.checkParameterValues(values, QgsProcessingContext())
    assert not fine
    assert said.startswith(reason)
