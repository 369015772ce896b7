"""A map with houses to click on, and real events of mouse and keyboard."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any, List, Tuple

from osgeo import gdal, osr
from qgis.core import QgsCoordinateReferenceSystem, QgsPointXY, QgsRectangle
from qgis.gui import QgsMapCanvas, QgsMessageBar
from qgis.PyQt.QtCore import QCoreApplication, QEvent, QPoint, QPointF, Qt
from qgis.PyQt.QtGui import QMouseEvent
from qgis.PyQt.QtTest import QTest
from qgis.PyQt.QtWidgets import QMainWindow

SIDE = 480
PIXEL = 0.2
LEFT, TOP = 500000.0, 5600000.0
# Left, top, right, bottom in pixels.
HOUSES = ((120, 110, 200, 180), (280, 120, 340, 200), (150, 280, 260, 340))


def write_houses(path: Path, epsg: int = 32632) -> Path:
    """Write an image of three roofs on grass."""
    noise = random.Random(5)  # noqa: S311  a picture, no secret
    rows: List[List[Tuple[int, int, int]]] = []
    for row in range(SIDE):
        line = []
        for column in range(SIDE):
            shade = noise.randint(-8, 8)
            color = (86 + shade, 118 + shade, 62 + shade)
            for left, top, right, bottom in HOUSES:
                if left <= column < right and top <= row < bottom:
                    lit = 25 if column < (left + right) / 2 else 0
                    color = (168 + lit + shade // 2, 92 + lit + shade // 2, 76 + lit + shade // 2)
                elif left + 8 <= column < right + 8 and top + 8 <= row < bottom + 8:
                    color = (40, 48, 36)
            line.append(color)
        rows.append(line)
    dataset = gdal.GetDriverByName("GTiff").Create(str(path), SIDE, SIDE, 3, gdal.GDT_Byte)
    dataset.SetGeoTransform((LEFT, PIXEL, 0.0, TOP, 0.0, -PIXEL))
    reference = osr.SpatialReference()
    reference.ImportFromEPSG(epsg)
    dataset.SetProjection(reference.ExportToWkt())
    for band in range(3):
        data = bytes(min(max(color[band], 0), 255) for line in rows for color in line)
        dataset.GetRasterBand(band + 1).WriteRaster(0, 0, SIDE, SIDE, data)
    dataset.FlushCache()
    return path


def house(number: int) -> QgsRectangle:
    """Return where a house lies on the map of EPSG:32632."""
    left, top, right, bottom = HOUSES[number]
    return QgsRectangle(
        LEFT + PIXEL * left, TOP - PIXEL * bottom, LEFT + PIXEL * right, TOP - PIXEL * top
    )


class Window:
    """The parts of a QGIS window that the click tool asks for, with a real map."""

    def __init__(self) -> None:
        self.window = QMainWindow()
        self.canvas = QgsMapCanvas()
        self.bar = QgsMessageBar()
        self._messages: List[str] = []
        # Messages go after a few seconds, so they are written down when they come.
        self.bar.widgetAdded.connect(lambda _: self._messages.append(self.bar.currentItem().text()))
        self.window.setCentralWidget(self.canvas)
        self.window.resize(640, 640)
        self.window.show()
        QCoreApplication.processEvents()

    def mapCanvas(self) -> QgsMapCanvas:
        return self.canvas

    def messageBar(self) -> QgsMessageBar:
        return self.bar

    def activeLayer(self) -> None:
        return None

    def mainWindow(self) -> QMainWindow:
        return self.window

    def show(self, extent: QgsRectangle, crs: str = "EPSG:32632", rotation: float = 0.0) -> None:
        """Show an extent in a CRS."""
        self.canvas.setDestinationCrs(QgsCoordinateReferenceSystem(crs))
        self.canvas.setExtent(extent)
        self.canvas.setRotation(rotation)
        QCoreApplication.processEvents()

    def pixel(self, point: QgsPointXY) -> QPoint:
        """Return where a point of the map lies on the viewport."""
        place = self.canvas.getCoordinateTransform().transform(point)
        return QPoint(round(place.x()), round(place.y()))

    def click(
        self,
        point: QgsPointXY,
        button: Any = Qt.MouseButton.LeftButton,
        modifiers: Any = Qt.KeyboardModifier.NoModifier,
    ) -> None:
        """Click on a point of the map."""
        QTest.mouseClick(self.canvas.viewport(), button, modifiers, self.pixel(point))

    def move(self, point: QgsPointXY, buttons: Any = Qt.MouseButton.NoButton) -> None:
        """Move the mouse to a point of the map; QTest loses moves with a button under offscreen."""
        viewport, place = self.canvas.viewport(), self.pixel(point)
        event = QMouseEvent(
            QEvent.Type.MouseMove,
            QPointF(place),
            QPointF(viewport.mapToGlobal(place)),
            Qt.MouseButton.NoButton,
            buttons,
            Qt.KeyboardModifier.NoModifier,
        )
        QCoreApplication.sendEvent(viewport, event)

    def drag(self, start: QgsPointXY, end: QgsPointXY) -> None:
        """Drag the mouse with the left button."""
        viewport, left = self.canvas.viewport(), Qt.MouseButton.LeftButton
        none = Qt.KeyboardModifier.NoModifier
        QTest.mousePress(viewport, left, none, self.pixel(start))
        middle = QgsPointXY((start.x() + end.x()) / 2, (start.y() + end.y()) / 2)
        for point in (middle, end):
            self.move(point, left)
        QTest.mouseRelease(viewport, left, none, self.pixel(end))

    def key(self, key: Any, modifiers: Any = Qt.KeyboardModifier.NoModifier) -> None:
        """Press and release a key."""
        QTest.keyClick(self.canvas, key, modifiers)

    def messages(self) -> List[str]:
        """Return the texts that were in the message bar."""
        return list(self._messages)

    def forget_messages(self) -> None:
        """Begin with an empty message bar."""
        self.bar.clearWidgets()
        self._messages.clear()
