"""The map tool: click what you want and get its outline."""

from __future__ import annotations

from typing import List, Optional

from qgis.core import QgsGeometry, QgsPointXY
from qgis.gui import QgsMapMouseEvent, QgsMapTool
from qgis.PyQt import sip
from qgis.PyQt.QtCore import QEvent, QObject, QPoint, QRect, Qt, QTimer
from qgis.PyQt.QtGui import QKeyEvent, QKeySequence
from qgis.PyQt.QtWidgets import QApplication

from ...protocol.outline import PromptKind
from ..context import DockContext
from .controller import click_controller
from .overlay import Overlay

HOVER_DELAY = 110
"""Milliseconds that the pointer rests before a preview is asked for."""
_ENTER = (Qt.Key.Key_Return, Qt.Key.Key_Enter)


class ClickTool(QgsMapTool):
    """Left click adds, right click excludes, a drag draws a box, Shift a polygon.

    Z or Ctrl+Z takes the last prompt back and Ctrl+Shift+Z or Ctrl+Y gives it again; Enter accepts,
    Esc clears.

    Args:
        context: Imagery and model.
    """

    def __init__(self, context: DockContext) -> None:
        canvas = context.iface.mapCanvas()
        super().__init__(canvas)
        self._canvas = canvas
        self._controller = click_controller(context)
        self._overlay: Optional[Overlay] = Overlay(canvas)
        self._pressed: Optional[QPoint] = None
        self._is_boxing = False
        self._corners: List[QgsPointXY] = []
        self._pointer: Optional[QgsPointXY] = None
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(HOVER_DELAY)
        self._timer.timeout.connect(self._hover)
        self.setCursor(Qt.CursorShape.CrossCursor)
        self._controller.changed.connect(self._redraw)
        canvas.destinationCrsChanged.connect(self._map_changed)

    def close(self) -> None:
        """Leave the map as it was; the tool cannot be used any more."""
        self._timer.stop()
        if self._overlay is None:
            return
        if not sip.isdeleted(self._canvas):
            self._canvas.destinationCrsChanged.disconnect(self._map_changed)
            self._unfilter()
            if self._canvas.mapTool() is self:
                self._canvas.unsetMapTool(self)
        self._overlay.close()
        self._overlay = None
        if not sip.isdeleted(self._controller):
            self._controller.changed.disconnect(self._redraw)
            self._controller.close()

    def activate(self) -> None:
        """Start the engine and encode the middle of the map, so that the first click is quick."""
        super().activate()
        if self._overlay is None:
            return
        for watched in (self._canvas, self._canvas.viewport()):
            watched.installEventFilter(self)
        self._canvas.setFocus()
        self._controller.prepare(self._canvas.center())
        self._redraw()

    def deactivate(self) -> None:
        """Stop previews; the outline stays for when the tool is used again."""
        self._timer.stop()
        self._stop_drawing()
        if not sip.isdeleted(self._canvas):
            self._unfilter()
        if not sip.isdeleted(self._controller):
            self._controller.stop_hovering()
        super().deactivate()

    def canvasPressEvent(self, event: QgsMapMouseEvent) -> None:
        """Begin a click or a box."""
        self._timer.stop()
        if self._overlay is not None and event.button() == Qt.MouseButton.LeftButton:
            self._pressed = event.pos()

    def canvasMoveEvent(self, event: QgsMapMouseEvent) -> None:
        """Draw a box or a polygon, or wait for the pointer to rest."""
        self._pointer = self._point(event)
        if self._overlay is None:
            return
        if self._pressed is not None and not _has_shift(event):
            distance = (event.pos() - self._pressed).manhattanLength()
            if self._is_boxing or distance >= QApplication.startDragDistance():
                self._is_boxing = True
                self._overlay.show_box(QRect(self._pressed, event.pos()).normalized())
        elif self._corners:
            self._overlay.show_corners([*self._corners, self._pointer])
        elif event.buttons() == Qt.MouseButton.NoButton:
            self._timer.start()

    def canvasReleaseEvent(self, event: QgsMapMouseEvent) -> None:
        """Add what was clicked or drawn."""
        point, pressed, is_boxing = self._point(event), self._pressed, self._is_boxing
        self._pressed, self._is_boxing = None, False
        if event.button() == Qt.MouseButton.RightButton:
            if self._corners:
                self._finish_polygon()
            else:
                self._controller.add_point(point, on_object=False)
        elif event.button() == Qt.MouseButton.LeftButton and pressed is not None:
            if is_boxing:
                self._add_box(QRect(pressed, event.pos()).normalized())
            elif _has_shift(event):
                self._corners.append(point)
            else:
                self._controller.add_point(point, on_object=True)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Undo, redo, accept or clear."""
        if self._is_undo(event):
            if self._corners:
                self._corners.pop()
                self._show_corners()
            else:
                self._controller.undo()
        elif self._is_redo(event):
            self._controller.redo()
        elif event.key() in _ENTER:
            self._finish_polygon()
            self._controller.accept()
        elif event.key() == Qt.Key.Key_Escape and (self._corners or self._controller.prompts):
            self._stop_drawing()
            self._controller.reset()
        else:
            event.ignore()
            return
        event.accept()

    def keyReleaseEvent(self, event: QKeyEvent) -> None:
        """Close the polygon when Shift is let go."""
        if event.key() == Qt.Key.Key_Shift and not event.isAutoRepeat() and self._corners:
            self._finish_polygon()
            event.accept()
        else:
            event.ignore()

    def eventFilter(self, _watched: QObject, event: QEvent) -> bool:
        """Keep keys such as Ctrl+Z from the actions of QGIS while they act here."""
        if event.type() == QEvent.Type.ShortcutOverride:
            undoes = self._is_undo(event) and (self._controller.can_undo or bool(self._corners))
            if undoes or (self._is_redo(event) and self._controller.can_redo):
                event.accept()
                return True
        elif event.type() == QEvent.Type.Leave:
            self._timer.stop()
            self._controller.stop_hovering()
        return False

    def _is_undo(self, event: QKeyEvent) -> bool:
        plain = event.modifiers() == Qt.KeyboardModifier.NoModifier
        if plain and event.key() in (Qt.Key.Key_Z, Qt.Key.Key_Backspace):
            return True
        return bool(event.matches(QKeySequence.StandardKey.Undo))

    def _is_redo(self, event: QKeyEvent) -> bool:
        ctrl = Qt.KeyboardModifier.ControlModifier
        if event.key() == Qt.Key.Key_Y and event.modifiers() == ctrl:
            return True
        shifted = ctrl | Qt.KeyboardModifier.ShiftModifier
        return bool(event.key() == Qt.Key.Key_Z and event.modifiers() == shifted)

    def _hover(self) -> None:
        if self._pointer is not None and self._overlay is not None:
            self._controller.hover(self._pointer)

    def _point(self, event: QgsMapMouseEvent) -> QgsPointXY:
        # The event would snap to features of vector layers.
        return self.toMapCoordinates(event.pos())

    def _add_box(self, box: QRect) -> None:
        if self._overlay is None:
            return
        area = self._overlay.show_box(box)
        self._overlay.hide_drawn()
        if box.width() > 1 and box.height() > 1:
            self._controller.add_area(area, PromptKind.BOX)

    def _finish_polygon(self) -> None:
        corners, self._corners = self._corners, []
        self._stop_drawing()
        if len(corners) > 2:
            area = QgsGeometry.fromPolygonXY([[*corners, corners[0]]])
            self._controller.add_area(area, PromptKind.POLYGON)

    def _show_corners(self) -> None:
        if self._overlay is not None:
            self._overlay.show_corners(self._corners)

    def _stop_drawing(self) -> None:
        self._corners = []
        self._pressed, self._is_boxing = None, False
        if self._overlay is not None and not sip.isdeleted(self._canvas):
            self._overlay.hide_drawn()

    def _map_changed(self) -> None:
        self._stop_drawing()
        self._redraw()

    def _redraw(self) -> None:
        """Draw what the controller knows; nothing where the imagery is gone."""
        if self._overlay is None or sip.isdeleted(self._canvas):
            return
        to_map = self._controller.to_map()
        preview, outline = self._controller.preview, self._controller.outline
        if to_map is None:
            self._overlay.show_preview(None)
            self._overlay.show_outline(None)
            self._overlay.show_prompts((), None)
            return
        self._overlay.show_preview(preview and to_map.geometry(preview.geometry))
        self._overlay.show_outline(outline and to_map.geometry(outline.geometry))
        self._overlay.show_prompts(self._controller.prompts, to_map)

    def _unfilter(self) -> None:
        for watched in (self._canvas, self._canvas.viewport()):
            watched.removeEventFilter(self)


def _has_shift(event: QgsMapMouseEvent) -> bool:
    return bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier)
