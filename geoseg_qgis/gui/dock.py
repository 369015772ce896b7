"""The dock: what to look at, the pages, and the set-up while there is no engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Optional

from qgis.core import QgsApplication, QgsMapLayer, QgsMapLayerProxyModel, QgsProject, QgsRasterLayer
from qgis.gui import QgisInterface, QgsDockWidget, QgsMapLayerComboBox
from qgis.PyQt.QtCore import Qt, QTimer
from qgis.PyQt.QtGui import QIcon, QShowEvent
from qgis.PyQt.QtWidgets import (
    QComboBox,
    QFormLayout,
    QFrame,
    QHBoxLayout,
    QLabel,
    QStackedWidget,
    QTabWidget,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from ..engine_client import engine_ready
from ..layers.styling import RESULT
from ..processing.settings import Settings
from ..translation import size, tr
from .context import SELECTED_POLYGON, VISIBLE_AREA, WHOLE_LAYER, DockContext
from .engine_state import EngineState
from .find.page import EXAMPLE, FindPage
from .jobs.page import JobsPage
from .jobs.runner import JobRunner
from .model_picker import ModelPicker
from .review.page import ReviewPage
from .setup_page import SetupPage

_ICONS = Path(__file__).parent.parent / "icons"
_GREEN, _AMBER, _GREY = "#2e9e4f", "#d9a514", "#8a8a8a"
_LIGHT_SIZE = 10


class GeoSegDock(QgsDockWidget):
    """The dock.

    Args:
        iface: The running QGIS window.
        context: Imagery, model and area.
        runner: Runs the algorithms.
    """

    def __init__(self, iface: QgisInterface, context: DockContext, runner: JobRunner) -> None:
        super().__init__(tr("GeoSeg"), iface.mainWindow())
        self.setObjectName("GeoSegDock")
        self.setAllowedAreas(
            Qt.DockWidgetArea.LeftDockWidgetArea | Qt.DockWidgetArea.RightDockWidgetArea
        )
        self._iface = iface
        self._context = context
        self._runner = runner
        self.state = EngineState(self)
        self.find = FindPage(context, runner, self.state)
        self.review = ReviewPage(context, runner)
        self.jobs = JobsPage(runner)
        self.setup = SetupPage(runner)
        self.tabs = QTabWidget()
        self.tabs.setDocumentMode(True)
        self.tabs.addTab(self.find, _icon("find"), tr("Find"))
        self.tabs.addTab(self.review, _icon("review"), tr("Review"))
        self.tabs.addTab(self.jobs, _icon("jobs"), tr("Jobs"))
        self._build()
        self._connect()
        self._take_active(iface.activeLayer())
        self._show_state()

    def showEvent(self, event: QShowEvent) -> None:
        """Look for the engine; it is started when the dock is first shown, not with QGIS."""
        super().showEvent(event)
        self.show_ready()

    def show_ready(self) -> None:
        """Show the pages where there is an engine, else the set-up."""
        is_ready, _reason = engine_ready(Settings.read().interpreter)
        self.stack.setCurrentIndex(1 if is_ready else 0)
        self.setup.refresh()
        if is_ready and not self.state.models and not self.state.asking:
            self.state.refresh()

    def show_page(self, page: QWidget) -> None:
        """Open the dock with one of its pages."""
        self.setUserVisible(True)
        self.tabs.setCurrentWidget(page)

    def add_page(self, page: QWidget, icon: str, title: str) -> None:
        """Put one more page behind the first one."""
        self.tabs.insertTab(1, page, _icon(icon), title)

    def close_dock(self) -> None:
        """Stop everything that the dock does and take its items off the map."""
        self.find.close_page()
        self.setup.close_page()
        self.review.close_page()
        self.state.close()
        self._iface.currentLayerChanged.disconnect(self._schedule_taking)

    def _build(self) -> None:
        self.image = QgsMapLayerComboBox()
        self.image.setFilters(QgsMapLayerProxyModel.Filter.RasterLayer)
        self.image.setAllowEmptyLayer(True)
        self.image.setAccessibleName(tr("Imagery"))
        self.area = QComboBox()
        self.area.setAccessibleName(tr("Area"))
        for kind, text in (
            (VISIBLE_AREA, tr("Visible area")),
            (WHOLE_LAYER, tr("Whole layer")),
            (SELECTED_POLYGON, tr("Selected polygon (its extent)")),
        ):
            self.area.addItem(text, kind)
        self.model = ModelPicker()
        self.light = QLabel()
        self.light.setFixedSize(_LIGHT_SIZE, _LIGHT_SIZE)
        self.device = QLabel()
        self.device.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        options = QToolButton()
        options.setAutoRaise(True)
        options.setIcon(QgsApplication.getThemeIcon("/mActionOptions.svg"))
        options.setToolTip(tr("GeoSeg options"))
        options.clicked.connect(lambda: self._iface.showOptionsDialog(None, "GeoSeg"))
        row = QHBoxLayout()
        row.addWidget(self.light)
        row.addWidget(self.device, 1)
        row.addWidget(options)
        form = QFormLayout()
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.addRow(tr("Imagery"), self.image)
        form.addRow(tr("Area"), self.area)
        form.addRow(tr("Model"), self.model)
        form.addRow(tr("Device"), row)
        line = QFrame()
        line.setFrameShape(QFrame.Shape.HLine)
        line.setFrameShadow(QFrame.Shadow.Sunken)
        pages = QWidget()
        layout = QVBoxLayout(pages)
        layout.setContentsMargins(6, 6, 6, 6)
        layout.addLayout(form)
        layout.addWidget(line)
        layout.addWidget(self.tabs, 1)
        self.stack = QStackedWidget()
        self.stack.addWidget(self.setup)
        self.stack.addWidget(pages)
        self.setWidget(self.stack)

    def _connect(self) -> None:
        self.image.layerChanged.connect(self._choose_image)
        self.area.currentIndexChanged.connect(
            lambda _index: self._context.set_area_kind(self.area.currentData())
        )
        self.model.chosen.connect(self._context.set_model)
        self.model.download_asked.connect(self._download)
        self.state.changed.connect(self._show_state)
        self.setup.ready.connect(self.state.refresh)
        self.setup.tried.connect(self._try)
        self.find.started.connect(lambda _number: self.tabs.setCurrentWidget(self.jobs))
        self._runner.changed.connect(lambda _number: self._show_count())
        # A result becomes active before it is known as one, so the choice waits for the next turn.
        self._taking = QTimer(self)
        self._taking.setSingleShot(True)
        self._taking.setInterval(0)
        self._taking.timeout.connect(lambda: self._take_active(self._iface.activeLayer()))
        self._iface.currentLayerChanged.connect(self._schedule_taking)

    def _schedule_taking(self, _layer: Optional[QgsMapLayer] = None) -> None:
        self._taking.start()

    def _choose_image(self, layer: Optional[QgsMapLayer]) -> None:
        self._context.set_image(layer)

    def _take_active(self, layer: Optional[QgsMapLayer]) -> None:
        """Take the active raster, and any raster while there is none; results are no imagery."""
        if isinstance(layer, QgsRasterLayer) and not _is_result(layer):
            self.image.setLayer(layer)
        elif self._context.image() is None:
            rasters = [
                one
                for one in QgsProject.instance().mapLayers().values()
                if isinstance(one, QgsRasterLayer) and not _is_result(one)
            ]
            self.image.setLayer(rasters[0] if rasters else None)
        self._context.set_image(self.image.currentLayer())

    def _show_state(self) -> None:
        """Show the devices and the models."""
        state = self.state
        self.model.show_models([model for model in state.models if _is_offered(model)])
        chosen = _device_in_use(state.devices)
        if state.problem:
            color, text = _GREY, state.problem.split(". ")[0]
        elif chosen is None:
            color, text = _GREY, tr("The engine starts when it is needed.")
        else:
            color = _AMBER if chosen["device"] == "cpu" else _GREEN
            free = chosen.get("free")
            text = str(chosen["name"])
            if free:
                text += tr(", {} free").format(size(free))
        self.light.setStyleSheet(f"background: {color}; border-radius: {_LIGHT_SIZE // 2}px;")
        self.device.setText(text)
        self.device.setToolTip(state.problem or text)

    def _show_count(self) -> None:
        count = len(self._runner.jobs.running)
        title = tr("Jobs ({})").format(count) if count else tr("Jobs")
        self.tabs.setTabText(self.tabs.indexOf(self.jobs), title)

    def _download(self, name: str) -> None:
        values = {"ACTION": "download", "MODELS": name}
        problem = self._runner.check("geoseg:models", values)
        if problem:
            self._iface.messageBar().pushWarning(tr("GeoSeg"), problem)
            return
        title = tr("Download {}").format(name)
        self._runner.start(
            "geoseg:models", values, title, ended=lambda _fine, _results: self.state.refresh()
        )
        self.tabs.setCurrentWidget(self.jobs)

    def _try(self) -> None:
        self.show_ready()
        self.tabs.setCurrentWidget(self.find)
        self.find.ask(EXAMPLE)


def _is_offered(model: Any) -> bool:
    """Return whether a model serves what the pages do."""
    return bool(model.methods)


def _is_result(layer: QgsRasterLayer) -> bool:
    """Return whether a raster is a result of GeoSeg, or a map of classes."""
    is_map = layer.renderer() is not None and layer.renderer().type() == "paletted"
    return bool(layer.customProperty(RESULT, False)) or is_map


def _device_in_use(devices: Any) -> Optional[Any]:
    """Return the device of the options, else the best one that works."""
    chosen = Settings.read().device.split(":")[0]
    usable = [device for device in devices if not device.get("problem")]
    named = [device for device in usable if str(device["device"]).startswith(chosen)]
    return (named or usable or [None])[0]


def _icon(name: str) -> QIcon:
    return QIcon(str(_ICONS / f"{name}.svg"))
