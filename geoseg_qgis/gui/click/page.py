"""The page of the click tool in the dock."""

from __future__ import annotations

from typing import Optional

from qgis.core import QgsMapLayerProxyModel
from qgis.gui import QgsMapLayerComboBox
from qgis.PyQt.QtWidgets import (
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from ...translation import tr
from ..context import DockContext
from .controller import click_controller


class ClickPage(QWidget):
    """Where accepted outlines go, what the mouse and the keys do, and buttons for the keys.

    Args:
        context: Imagery and model.
        parent: Owner of the widget.
    """

    def __init__(self, context: DockContext, parent: Optional[QWidget] = None) -> None:
        super().__init__(parent)
        self.setObjectName("GeoSegClickPage")
        self._controller = click_controller(context)
        self.target = QgsMapLayerComboBox()
        self.target.setObjectName("GeoSegClickTarget")
        self.target.setFilters(QgsMapLayerProxyModel.Filter.PolygonLayer)
        self.target.setAllowEmptyLayer(True, tr("New layer"))
        self.target.setLayer(None)
        self.target.setAccessibleName(tr("Layer for outlines"))
        self.target.setToolTip(
            tr(
                "Accepted outlines are added to this layer. A new one is a GeoPackage in the "
                "folder of the project."
            )
        )
        self.state = QLabel()
        self.state.setObjectName("GeoSegClickState")
        self.state.setWordWrap(True)
        self.undo = self._button(tr("Undo"), tr("Take the last prompt back (Z)"))
        self.redo = self._button(tr("Redo"), tr("Give the prompt again (Ctrl+Y)"))
        self.clear = self._button(tr("Clear"), tr("Forget all prompts (Esc)"))
        self.accept = self._button(tr("Accept"), tr("Add the outline to the layer (Enter)"))
        self.similar = self._button(tr("Find all like this"), tr("Look for similar objects"))
        self.similar.setVisible(False)
        self._arrange()
        self.target.layerChanged.connect(self._controller.set_target)
        self.undo.clicked.connect(self._controller.undo)
        self.redo.clicked.connect(self._controller.redo)
        self.clear.clicked.connect(self._controller.reset)
        self.accept.clicked.connect(self._controller.accept)
        self._controller.changed.connect(self._refresh)
        self._refresh()

    def _arrange(self) -> None:
        hints = QLabel(
            tr(
                "Click an object on the map. Right-click what does not belong to it.\n"
                "Drag a box around it, or hold Shift and click around it.\n"
                "Z takes the last step back, Enter accepts, Esc clears."
            )
        )
        hints.setWordWrap(True)
        form = QFormLayout()
        form.addRow(tr("Add to"), self.target)
        steps = QHBoxLayout()
        for button in (self.undo, self.redo, self.clear):
            steps.addWidget(button)
        column = QVBoxLayout(self)
        column.addWidget(hints)
        column.addLayout(form)
        column.addWidget(self.state)
        column.addLayout(steps)
        column.addWidget(self.accept)
        column.addWidget(self.similar)
        column.addStretch(1)

    def _button(self, text: str, tip: str) -> QPushButton:
        button = QPushButton(text)
        button.setToolTip(tip)
        button.setAccessibleName(text)
        return button

    def _refresh(self) -> None:
        controller = self._controller
        target = controller.target()
        if self.target.currentLayer() is not target:
            self.target.setLayer(target)
        self.undo.setEnabled(controller.can_undo)
        self.redo.setEnabled(controller.can_redo)
        self.clear.setEnabled(bool(controller.prompts))
        self.accept.setEnabled(controller.outline is not None)
        self.state.setText(self._sentence())

    def _sentence(self) -> str:
        controller = self._controller
        if controller.image() is None:
            return tr("Choose the imagery above.")
        if controller.is_waiting and controller.prompts:
            return tr("Outlining…")
        if controller.outline is not None:
            return tr("Score {:.0%}, prompts: {}").format(
                controller.outline.score, len(controller.prompts)
            )
        return ""
