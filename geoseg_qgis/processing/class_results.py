"""Class rasters and polygons as results: fields, numbers and layers."""

from __future__ import annotations

import json
from functools import partial
from typing import Any, Dict, Sequence

from qgis.core import (
    QgsFields,
    QgsProcessingFeedback,
    QgsProcessingOutputString,
)

from ..compat import integer_field, real_field, text_field
from ..layers.styling import polygon_renderer
from ..protocol.legend import LegendClass
from ..protocol.result import Result
from ..translation import tr
from .job_algorithm import JobAlgorithm
from .outputs import OutputLayer
from .values import Values

_SHORT_NAMES = {"perimeter_m": "perim_m"}


class ClassResults(JobAlgorithm):
    """Mixin of the algorithms that map classes."""

    NUMBERS = {
        "CLASSES_FOUND": "Number of classes that were found",
        "POLYGON_COUNT": "Number of polygons",
        "CLASSIFIED_AREA": "Area of all classes in square metres",
    }

    def declare(self) -> None:
        """Add parameters and outputs."""
        super().declare()
        areas = tr("Area of each class in square metres, as a JSON object")
        self.addOutput(QgsProcessingOutputString("CLASS_AREAS", areas))

    def deliver(
        self,
        values: Values,
        files: Dict[str, str],
        result: Result,
        feedback: QgsProcessingFeedback,
    ) -> Dict[str, Any]:
        """Fill the sink, report what was found and return the outputs."""
        areas = {item.name: round(item.area, 3) for item in result.classes}
        delivered = {
            **super().deliver(values, files, result, feedback),
            "CLASSES_FOUND": sum(1 for item in result.classes if item.pixels),
            "CLASSIFIED_AREA": sum(item.area for item in result.classes),
            "CLASS_AREAS": json.dumps(areas, ensure_ascii=False),
        }
        if "POLYGONS" not in files:
            del delivered["POLYGON_COUNT"]
        for item in result.classes:
            text = tr("{}: {:.1%} of the area, {:,.0f} m²")
            feedback.pushInfo(text.format(item.name, item.share, item.area))
        return delivered

    def sink_fields(self, values: Values, name: str) -> QgsFields:
        """Return the fields of class polygons."""
        return polygon_fields(short_names=values.destination(name).lower().endswith(".shp"))

    def layers(
        self,
        values: Values,
        files: Dict[str, str],
        delivered: Dict[str, Any],
        result: Result,
    ) -> Sequence[OutputLayer]:
        """Return scores, class raster and polygons."""
        del values, files
        legend = [LegendClass(item.class_id, (item.name,), item.color) for item in result.classes]
        return (
            OutputLayer("SCORES", tr("scores"), hidden=True),
            # Half-transparent polygons show more over the imagery than over the class raster.
            OutputLayer("OUTPUT", tr("classes"), hidden="POLYGONS" in delivered),
            OutputLayer("POLYGONS", tr("polygons"), partial(polygon_renderer, legend)),
        )


def polygon_fields(short_names: bool = False) -> QgsFields:
    """Return the fields of class polygons; names of at most ten characters for Shapefiles."""
    fields = QgsFields()
    for field in (
        text_field("class"),
        integer_field("class_id"),
        real_field("score"),
        real_field("area_m2"),
        real_field("perimeter_m"),
        text_field("method"),
        text_field("model"),
    ):
        if short_names:
            field.setName(_SHORT_NAMES.get(field.name(), field.name()))
        fields.append(field)
    return fields
