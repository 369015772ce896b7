"""One row for each class: its colour, its words and its threshold."""

from __future__ import annotations

from typing import Dict, List, Optional, Sequence

from qgis.gui import QgsColorButton
from qgis.PyQt.QtCore import Qt, pyqtSignal
from qgis.PyQt.QtGui import QColor
from qgis.PyQt.QtWidgets import QGridLayout, QLabel, QSlider, QWidget

from ...protocol.legend import LegendClass
from ...translation import tr

STEPS = 100
_COLOR_WIDTH = 44


class ClassRows(QWidget):
    """The classes with colours and thresholds, which outlive a change of the text.

    Attributes:
        changed: Sent when a threshold or a colour changes.
    """

    changed = pyqtSignal()

    def __init__(self, parent: Optional[QWidget] = None) -> None:
        super().__init__(parent)
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(6)
        self._grid.setColumnStretch(2, 1)
        self._classes: Sequence[LegendClass] = ()
        self._thresholds: Dict[str, float] = {}
        self._colors: Dict[str, str] = {}
        self.sliders: List[QSlider] = []
        self.buttons: List[QgsColorButton] = []

    def show_classes(self, classes: Sequence[LegendClass], default: float = 0.0) -> None:
        """Show one row for each class.

        Args:
            classes: The classes.
            default: Threshold of a class that was not there before, 0..1.
        """
        if tuple(classes) == tuple(self._classes):
            return
        self._classes = tuple(classes)
        while self._grid.count():
            widget = self._grid.takeAt(0).widget()
            if widget is not None:
                widget.hide()
                widget.deleteLater()
        self.sliders, self.buttons = [], []
        for row, item in enumerate(classes):
            self._add_row(row, item, default)

    def thresholds(self) -> List[float]:
        """Return the threshold of each class, 0..1."""
        return [slider.value() / STEPS for slider in self.sliders]

    def classes(self) -> List[LegendClass]:
        """Return the classes with the colours that are shown."""
        return [
            LegendClass(item.class_id, item.synonyms, button.color().name())
            for item, button in zip(self._classes, self.buttons)
        ]

    def _add_row(self, row: int, item: LegendClass, default: float) -> None:
        button = QgsColorButton()
        button.setColor(QColor(self._colors.get(item.name, item.color)))
        button.setFixedWidth(_COLOR_WIDTH)
        button.setAccessibleName(tr("Colour of {}").format(item.name))
        name = QLabel(item.name)
        name.setToolTip(", ".join(item.synonyms))
        more = len(item.synonyms) - 1
        if more:
            name.setText(f"{item.name} <small>+{more}</small>")
        slider = QSlider(Qt.Orientation.Horizontal)
        slider.setRange(0, STEPS)
        slider.setPageStep(5)
        slider.setValue(round(self._thresholds.get(item.name, default) * STEPS))
        slider.setAccessibleName(tr("Threshold of {}").format(item.name))
        slider.setToolTip(tr("Pixels less probable than this stay unclassified."))
        number = QLabel(f"{slider.value() / STEPS:.2f}")
        number.setMinimumWidth(number.fontMetrics().horizontalAdvance("0.00"))

        def moved(value: int) -> None:
            number.setText(f"{value / STEPS:.2f}")
            self._thresholds[item.name] = value / STEPS
            self.changed.emit()

        def coloured(color: QColor) -> None:
            self._colors[item.name] = color.name()
            self.changed.emit()

        slider.valueChanged.connect(moved)
        button.colorChanged.connect(coloured)
        for column, widget in enumerate((button, name, slider, number)):
            self._grid.addWidget(widget, row, column)
        self.sliders.append(slider)
        self.buttons.append(button)
