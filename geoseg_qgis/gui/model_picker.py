"""The pick list of models: those that are there, and those that can be downloaded."""

from __future__ import annotations

from typing import Dict, Optional, Sequence

from qgis.PyQt.QtCore import Qt, pyqtSignal
from qgis.PyQt.QtGui import QStandardItem, QStandardItemModel
from qgis.PyQt.QtWidgets import QComboBox, QHBoxLayout, QPushButton, QWidget

from ..protocol.result import ModelSummary
from ..translation import size, tr

_READY = ("built-in", "installed")


class ModelPicker(QWidget):
    """A list of models with the button that downloads the chosen one.

    Attributes:
        chosen: Sent with the name of a model that is ready to use; empty for the default.
        download_asked: Sent with the name of a model that the user wants to download.
    """

    chosen = pyqtSignal(str)
    download_asked = pyqtSignal(str)

    def __init__(self, parent: Optional[QWidget] = None) -> None:
        super().__init__(parent)
        self._models: Dict[str, ModelSummary] = {}
        self.list = QComboBox()
        self.list.setAccessibleName(tr("Model"))
        self.list.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self.list.setMinimumContentsLength(12)
        self.list.currentIndexChanged.connect(lambda _index: self._choose())
        self.download = QPushButton()
        self.download.clicked.connect(lambda: self.download_asked.emit(self.current()))
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.list, 1)
        layout.addWidget(self.download)
        self.show_models(())

    def current(self) -> str:
        """Return the name of the chosen model, which may have to be downloaded; empty: default."""
        return str(self.list.currentData() or "")

    def is_ready(self) -> bool:
        """Return whether the chosen model can be used now."""
        model = self._models.get(self.current())
        return model is None or model.state in _READY

    def show_models(self, models: Sequence[ModelSummary]) -> None:
        """List models: the default, those that are ready, then those to download by size."""
        before = self.current()
        self._models = {model.name: model for model in models}
        ready = [model for model in models if model.state in _READY]
        others = sorted(
            (model for model in models if model.state not in _READY), key=lambda model: model.size
        )
        content = QStandardItemModel(self.list)
        content.appendRow(_item(tr("Recommended"), "", tr("The model that suits the task")))
        for title, group in ((tr("On this computer"), ready), (tr("To be downloaded"), others)):
            if group:
                heading = QStandardItem(title)
                heading.setFlags(Qt.ItemFlag.NoItemFlags)
                content.appendRow(heading)
            for model in group:
                content.appendRow(_item(model_label(model), model.name, model_facts(model)))
        self.list.blockSignals(True)
        self.list.setModel(content)
        self.list.setCurrentIndex(max(0, self.list.findData(before)))
        self.list.blockSignals(False)
        self._choose()

    def set_current(self, name: str) -> None:
        """Choose a model by its name; one that is not listed is ignored."""
        index = self.list.findData(name)
        if index >= 0:
            self.list.setCurrentIndex(index)

    def _choose(self) -> None:
        model = self._models.get(self.current())
        self.list.setToolTip(model_facts(model) if model is not None else "")
        self.download.setVisible(not self.is_ready())
        if model is not None and not self.is_ready():
            self.download.setText(tr("Download now ({})").format(_size(model)))
        if self.is_ready():
            self.chosen.emit(self.current())


def model_label(model: ModelSummary) -> str:
    """Return the line of a model: title, size of a download, and whether it fits."""
    facts = []
    if model.state not in _READY:
        facts.append(_size(model))
    if not model.fits:
        facts.append(tr("needs more memory than is free"))
    return f"{model.title} ({', '.join(facts)})" if facts else model.title


def model_facts(model: ModelSummary) -> str:
    """Return what else to know about a model, one fact in a line."""
    lines = [model.name, tr("Methods: {}").format(", ".join(model.methods))]
    if model.memory:
        memory = tr("Takes about {} of memory").format(size(model.memory))
        lines.append(memory if model.fits else memory + tr(", more than is free"))
    lines.append(tr("Licence: {}").format(model.licence))
    if model.note:
        lines.append(model.note)
    return "\n".join(lines)


def _size(model: ModelSummary) -> str:
    return size(model.size) if model.size else tr("size not stated")


def _item(text: str, name: str, tip: str) -> QStandardItem:
    item = QStandardItem(text)
    item.setData(name, Qt.ItemDataRole.UserRole)
    item.setToolTip(tip)
    return item
