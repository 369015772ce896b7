"""A picture on the map canvas that belongs to no layer."""

from __future__ import annotations

from typing import Any, Optional

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsCsException,
    QgsPointXY,
    QgsProject,
    QgsRectangle,
)
from qgis.gui import QgsMapCanvas, QgsMapCanvasItem
from qgis.PyQt.QtCore import QPointF, Qt
from qgis.PyQt.QtGui import QColor, QImage, QPainter, QPen, QPolygonF, QTransform

_FRAME = QColor(255, 255, 255, 230)
_FRAME_SHADOW = QColor(0, 0, 0, 120)


class ImageOverlay(QgsMapCanvasItem):
    """Draws one picture where it lies on the map, with a dashed frame.

    Args:
        canvas: The map.
    """

    def __init__(self, canvas: QgsMapCanvas) -> None:
        super().__init__(canvas)
        self._canvas = canvas
        self._image: Optional[QImage] = None
        self._extent = QgsRectangle()
        self._crs = QgsCoordinateReferenceSystem()
        self.setZValue(5.0)

    def image(self) -> Optional[QImage]:
        """Return the picture, None when nothing is shown."""
        return self._image

    def show_image(
        self, image: QImage, extent: QgsRectangle, crs: QgsCoordinateReferenceSystem
    ) -> None:
        """Show a picture on an extent."""
        self._image, self._extent, self._crs = image, extent, crs
        self.updatePosition()
        self.update()

    def clear(self) -> None:
        """Show nothing."""
        self._image = None
        self.update()

    def remove(self) -> None:
        """Take the item off the map for good."""
        self._image = None
        scene = self._canvas.scene()
        if scene is not None:
            scene.removeItem(self)

    def updatePosition(self) -> None:
        """Cover the visible map."""
        self.setRect(self._canvas.extent())

    def paint(self, painter: QPainter, _option: Any = None, _widget: Any = None) -> None:
        """Draw the picture; a place that the map cannot show is left out."""
        image = self._image
        if image is None or image.isNull():
            return
        corners = self._corners()
        if corners is None:
            return
        upper_left, upper_right, lower_left, lower_right = corners
        width, height = image.width(), image.height()
        across, down = upper_right - upper_left, lower_left - upper_left
        painter.save()
        # The origin of the item follows the map; the corners count from that of the canvas.
        painter.translate(-self.pos())
        frame = QPolygonF([upper_left, upper_right, lower_right, lower_left])
        painter.save()
        painter.setTransform(
            QTransform(
                across.x() / width,
                across.y() / width,
                down.x() / height,
                down.y() / height,
                upper_left.x(),
                upper_left.y(),
            ),
            True,
        )
        painter.drawImage(0, 0, image)
        painter.restore()
        for color, style in (
            (_FRAME_SHADOW, Qt.PenStyle.SolidLine),
            (_FRAME, Qt.PenStyle.DashLine),
        ):
            painter.setPen(QPen(color, 1.5, style))
            painter.drawPolygon(frame)
        painter.restore()

    def _corners(self) -> Optional[list[QPointF]]:
        extent = self._extent
        target = self._canvas.mapSettings().destinationCrs()
        transform = QgsCoordinateTransform(self._crs, target, QgsProject.instance())
        points = (
            (extent.xMinimum(), extent.yMaximum()),
            (extent.xMaximum(), extent.yMaximum()),
            (extent.xMinimum(), extent.yMinimum()),
            (extent.xMaximum(), extent.yMinimum()),
        )
        try:
            return [
                QPointF(self.toCanvasCoordinates(transform.transform(QgsPointXY(x, y))))
                for x, y in points
            ]
        except QgsCsException:
            return None
