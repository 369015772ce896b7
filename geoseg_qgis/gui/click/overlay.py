"""What the click tool draws on the canvas: the preview, the outline and its prompts."""

from __future__ import annotations

from typing import List, Optional, Tuple

from qgis.core import (
    Qgis,
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsCsException,
    QgsGeometry,
    QgsPointXY,
    QgsProject,
    QgsWkbTypes,
)
from qgis.gui import QgsMapCanvas, QgsRubberBand, QgsVertexMarker
from qgis.PyQt import sip
from qgis.PyQt.QtCore import QRect, Qt
from qgis.PyQt.QtGui import QColor

from ...compat import is_success
from ...protocol.outline import Prompt, PromptKind

_POLYGON = QgsWkbTypes.GeometryType.PolygonGeometry
_OUTLINE = QColor(255, 170, 0)
_PREVIEW = QColor(255, 255, 255)
_POSITIVE = QColor(46, 160, 67)
_NEGATIVE = QColor(218, 54, 51)


class Overlay:
    """Canvas items; they are removed by `close`.

    Args:
        canvas: The map.
    """

    def __init__(self, canvas: QgsMapCanvas) -> None:
        self._canvas = canvas
        self._preview = self._band(_PREVIEW, 30, Qt.PenStyle.DashLine)
        self._outline = self._band(_OUTLINE, 50, Qt.PenStyle.SolidLine)
        self._areas = self._band(_POSITIVE, 0, Qt.PenStyle.DashLine)
        self._drawn = self._band(_POSITIVE, 20, Qt.PenStyle.DotLine)
        self._markers: List[QgsVertexMarker] = []

    def show_preview(self, geometry: Optional[QgsGeometry]) -> None:
        """Show a shape, in map coordinates, that a click would take; None hides it."""
        _fill(self._preview, geometry)

    def show_outline(self, geometry: Optional[QgsGeometry]) -> None:
        """Show the outline of the object, in map coordinates; None hides it."""
        _fill(self._outline, geometry)

    def show_prompts(self, prompts: Tuple[Prompt, ...], to_map: Optional[MapTransform]) -> None:
        """Show prompts given in the CRS of the imagery; none without a way to the map."""
        self._remove_markers()
        areas: List[QgsGeometry] = []
        for prompt in prompts:
            if to_map is None:
                break
            corners = [QgsPointXY(x, y) for x, y in prompt.corners]
            if prompt.kind is PromptKind.POINT:
                place = to_map.geometry(QgsGeometry.fromPointXY(corners[0]))
                if place is not None:
                    self._markers.append(self._marker(place.asPoint(), prompt.on_object))
                continue
            placed = to_map.geometry(QgsGeometry.fromPolygonXY([[*corners, corners[0]]]))
            if placed is not None:
                areas.append(placed)
        _fill(self._areas, QgsGeometry.collectGeometry(areas) if areas else None)

    def show_box(self, box: QRect) -> QgsGeometry:
        """Show a box that is being drawn on the screen and return it in map coordinates."""
        self._drawn.setToCanvasRectangle(box)
        self._drawn.show()
        return self._drawn.asGeometry()

    def show_corners(self, corners: List[QgsPointXY]) -> None:
        """Show a polygon that is being drawn."""
        if len(corners) > 1:
            self._drawn.setToGeometry(QgsGeometry.fromPolygonXY([[*corners, corners[0]]]), None)
            self._drawn.show()
        else:
            self.hide_drawn()

    def hide_drawn(self) -> None:
        """Hide the box or polygon that is being drawn."""
        self._drawn.reset(_POLYGON)

    def close(self) -> None:
        """Remove everything from the canvas."""
        self._remove_markers()
        for band in (self._preview, self._outline, self._areas, self._drawn):
            self._remove(band)

    def _band(self, color: QColor, opacity: int, style: Qt.PenStyle) -> QgsRubberBand:
        band = QgsRubberBand(self._canvas, _POLYGON)
        filled = QColor(color)
        filled.setAlpha(opacity)
        band.setFillColor(filled)
        band.setStrokeColor(color)
        # A dark seam keeps the line visible on bright and on dark imagery.
        band.setSecondaryStrokeColor(QColor(0, 0, 0, 120))
        band.setWidth(2)
        band.setLineStyle(style)
        band.hide()
        return band

    def _marker(self, place: QgsPointXY, on_object: bool) -> QgsVertexMarker:
        marker = QgsVertexMarker(self._canvas)
        marker.setCenter(place)
        cross, cross_x = QgsVertexMarker.IconType.ICON_CROSS, QgsVertexMarker.IconType.ICON_X
        marker.setIconType(cross if on_object else cross_x)
        marker.setColor(_POSITIVE if on_object else _NEGATIVE)
        marker.setPenWidth(3)
        marker.setIconSize(11)
        return marker

    def _remove_markers(self) -> None:
        for marker in self._markers:
            self._remove(marker)
        self._markers.clear()

    def _remove(self, item: object) -> None:
        # The canvas may have taken its items with it.
        if not sip.isdeleted(item) and not sip.isdeleted(self._canvas):
            self._canvas.scene().removeItem(item)


class MapTransform:
    """From the CRS of the imagery to that of the map and back; the same where one is unknown.

    Args:
        image: CRS of the imagery.
        canvas: The map.
    """

    def __init__(self, image: QgsCoordinateReferenceSystem, canvas: QgsMapCanvas) -> None:
        shown = canvas.mapSettings().destinationCrs()
        self._transform: Optional[QgsCoordinateTransform] = None
        if image.isValid() and shown.isValid() and image != shown:
            self._transform = QgsCoordinateTransform(image, shown, QgsProject.instance())

    def geometry(self, geometry: QgsGeometry, to_image: bool = False) -> Optional[QgsGeometry]:
        """Return a geometry in the CRS of the map, None where it has no place there.

        Args:
            geometry: In the CRS of the imagery, or in that of the map with ``to_image``.
            to_image: Whether to transform to the CRS of the imagery instead.
        """
        placed = QgsGeometry(geometry)
        if self._transform is None:
            return placed
        forward, reverse = Qgis.TransformDirection.Forward, Qgis.TransformDirection.Reverse
        try:
            code = placed.transform(self._transform, reverse if to_image else forward)
        except QgsCsException:
            return None
        return placed if is_success(code) else None


def _fill(band: QgsRubberBand, geometry: Optional[QgsGeometry]) -> None:
    if geometry is None or geometry.isEmpty():
        band.reset(_POLYGON)
        return
    band.setToGeometry(geometry, None)
    band.show()
