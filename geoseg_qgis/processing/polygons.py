"""Polygons of classes: their parameters, fields and sink."""

from __future__ import annotations

from pathlib import Path
from typing import Optional, Tuple

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsFields,
    QgsProcessing,
    QgsProcessingFeedback,
    QgsProcessingParameterFeatureSink,
    QgsProcessingParameterNumber,
    QgsProcessingParameterString,
)

from ..compat import integer_field, real_field, text_field
from ..protocol.errors import ErrorCode, JobError
from ..protocol.polygons import PolygonOptions
from ..translation import tr
from .base import GeoSegAlgorithm
from .sinks import copy_features
from .values import Values

_SHORT_NAMES = {"perimeter_m": "perim_m"}


def polygon_sink() -> QgsProcessingParameterFeatureSink:
    """Return the output parameter of polygons."""
    return QgsProcessingParameterFeatureSink(
        "POLYGONS",
        tr("Polygons"),
        QgsProcessing.SourceType.TypeVectorPolygon,
        optional=True,
        createByDefault=True,
    )


POLYGONS_HELP = """One polygon for each connected area of a class, with the fields class, class_id,
    score (mean probability, 0 to 1), area_m2 and perimeter_m (on the ellipsoid), method and model.
    In a Shapefile perimeter_m is called perim_m."""


def declare_polygon_options(algorithm: GeoSegAlgorithm) -> None:
    """Add the advanced parameters on the shape of polygons."""
    decimal = QgsProcessingParameterNumber.Type.Double
    algorithm.add(
        QgsProcessingParameterNumber(
            "MINIMUM_AREA", tr("Minimum area (m²)"), decimal, 0.0, minValue=0.0
        ),
        "Smaller polygons are left out. Square map units where the layer has no CRS.",
        advanced=True,
    )
    algorithm.add(
        QgsProcessingParameterNumber(
            "MINIMUM_HOLE", tr("Minimum hole (m²)"), decimal, 0.0, minValue=0.0
        ),
        "Smaller holes in polygons are filled.",
        advanced=True,
    )
    algorithm.add(
        QgsProcessingParameterNumber(
            "SIMPLIFY", tr("Simplify (pixels)"), decimal, 1.0, minValue=0.0
        ),
        "How far an outline may move, in pixels of the result; 0 keeps the outlines of pixels.",
        advanced=True,
    )
    algorithm.add(
        QgsProcessingParameterString(
            "RIGHT_ANGLES", tr("Classes with right angles"), optional=True
        ),
        "Class names parted by semicolons whose outlines are squared, buildings for example.",
        advanced=True,
    )


def polygon_options(
    values: Values, class_names: Optional[Tuple[str, ...]] = None
) -> PolygonOptions:
    """Return the options of a run.

    Args:
        values: Those of an algorithm with the parameters of `declare_polygon_options`.
        class_names: Names that may be squared; None takes any.

    Raises:
        JobError: ``INVALID_CLASSES`` for a name that is no class.
    """
    parts = values.text("RIGHT_ANGLES").split(";")
    squared = tuple(name.strip() for name in parts if name.strip())
    if class_names is not None:
        known = {name.lower(): name for name in class_names}
        for name in squared:
            if name.lower() not in known:
                raise JobError(
                    ErrorCode.INVALID_CLASSES,
                    tr("Right angles are asked for {!r}, which is no class here.").format(name),
                    tr("The classes are {}.").format(", ".join(class_names)),
                )
        squared = tuple(known[name.lower()] for name in squared)
    return PolygonOptions(
        minimum_area=values.number("MINIMUM_AREA"),
        minimum_hole=values.number("MINIMUM_HOLE"),
        simplify=values.number("SIMPLIFY"),
        right_angles=squared,
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


def copy_polygons(
    values: Values,
    path: Path,
    crs: QgsCoordinateReferenceSystem,
    feedback: QgsProcessingFeedback,
) -> Tuple[str, int]:
    """Copy the engine's class polygons into the sink ``POLYGONS``; see `sinks.copy_features`."""
    short = values.destination("POLYGONS").lower().endswith(".shp")
    return copy_features(values, "POLYGONS", path, crs, feedback, fields=polygon_fields(short))
