"""The area around the features of another layer."""

from __future__ import annotations

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsCoordinateTransformContext,
    QgsCsException,
    QgsRectangle,
    QgsUnitTypes,
)

from ..protocol.errors import ErrorCode, JobError

_SHARE = 0.25
_METRES = 100.0


def surroundings(
    extent: QgsRectangle,
    origin: QgsCoordinateReferenceSystem,
    target: QgsCoordinateReferenceSystem,
    transform_context: QgsCoordinateTransformContext,
) -> QgsRectangle:
    """Return an extent in another CRS, grown by a quarter and by 100 m at least.

    Args:
        extent: Extent of the features, in ``origin``.
        origin: CRS of the features.
        target: CRS of the imagery.
        transform_context: That of the project.

    Raises:
        JobError: ``EXTENT_OUTSIDE`` when there is no way from one CRS to the other.
    """
    transform = QgsCoordinateTransform(origin, target, transform_context)
    try:
        area: QgsRectangle = transform.transformBoundingBox(extent)
    except QgsCsException as error:
        raise JobError(
            ErrorCode.EXTENT_OUTSIDE,
            "The features cannot be transformed to the CRS of the imagery.",
            "Check the CRS of both layers.",
            str(error),
        ) from error
    metre = QgsUnitTypes.fromUnitToUnitFactor(
        QgsUnitTypes.DistanceUnit.DistanceMeters, target.mapUnits()
    )
    margin = max(area.width() * _SHARE, area.height() * _SHARE, _METRES * metre)
    return area.buffered(margin)
