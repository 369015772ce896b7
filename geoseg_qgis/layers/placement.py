"""Where features lie on a raster, worked out by QGIS with the operations of the project.

Two installations of PROJ may choose different operations between the same two coordinate systems,
metres apart. The engine therefore takes the places of features from here and transforms nothing.
"""

from __future__ import annotations

from typing import Optional

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsCoordinateTransformContext,
    QgsCsException,
    QgsGeometry,
    QgsPolygon,
    QgsWkbTypes,
)
from qgis.PyQt.QtCore import QByteArray

PLACED = "geoseg_placed"
"""Field with the place of each feature."""
_PIECES = 64
"""Lines are cut into so many pieces first, so that they bend as on the map."""


class Placement:
    """The way of geometries onto a raster; make one in the thread that uses it.

    Args:
        crs: That of the features; an invalid one is taken to be that of the raster.
        raster_crs: That of the raster; an invalid one takes coordinates as they are.
        context: Operations that the project prefers.
    """

    def __init__(
        self,
        crs: QgsCoordinateReferenceSystem,
        raster_crs: QgsCoordinateReferenceSystem,
        context: QgsCoordinateTransformContext,
    ) -> None:
        self.context = context
        self._transform: Optional[QgsCoordinateTransform] = None
        if crs.isValid() and raster_crs.isValid() and crs != raster_crs:
            self._transform = QgsCoordinateTransform(crs, raster_crs, context)

    def wkb(self, geometry: QgsGeometry) -> Optional[QByteArray]:
        """Return a geometry in the CRS of the raster as WKB, None where it has no place there."""
        if geometry.isNull():
            return None
        placed = _plain(geometry)
        if self._transform is not None:
            length = placed.length()
            if length > 0:
                placed = placed.densifyByDistance(length / _PIECES)
            try:
                failed = int(placed.transform(self._transform)) != 0
            except QgsCsException:
                failed = True
            if failed:
                return None
        return placed.asWkb()


def without_triangles(geometry: QgsGeometry) -> QgsGeometry:
    """Return a geometry that GeoPackages hold: a polygon in place of a triangle."""
    if QgsWkbTypes.flatType(geometry.wkbType()) != QgsWkbTypes.Type.Triangle:
        return QgsGeometry(geometry)
    polygon = QgsPolygon()
    polygon.setExteriorRing(geometry.constGet().exteriorRing().clone())
    return QgsGeometry(polygon)


def _plain(geometry: QgsGeometry) -> QgsGeometry:
    """Return a geometry of straight lines, as the engine reads no others."""
    plain = without_triangles(geometry)
    shape = plain.constGet()
    return QgsGeometry(shape.segmentize()) if shape.hasCurvedSegments() else plain


def plain_type(kind: QgsWkbTypes.Type) -> QgsWkbTypes.Type:
    """Return the type of a file for geometries of a type: polygons for triangles."""
    if QgsWkbTypes.flatType(kind) != QgsWkbTypes.Type.Triangle:
        return kind
    polygon = QgsWkbTypes.Type.Polygon
    if QgsWkbTypes.hasZ(kind):
        polygon = QgsWkbTypes.addZ(polygon)
    return QgsWkbTypes.addM(polygon) if QgsWkbTypes.hasM(kind) else polygon
