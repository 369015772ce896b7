"""The page that walks through the worst polygons of an assessment, and decides on each."""

from __future__ import annotations

import json
from functools import partial
from typing import Any, Callable, Dict, List, Optional, Set, Tuple

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsGeometry,
    QgsMapLayerProxyModel,
    QgsProject,
    QgsSettings,
    QgsVectorLayer,
    QgsWkbTypes,
)
from qgis.gui import QgsMapLayerComboBox, QgsRubberBand
from qgis.PyQt.QtCore import QModelIndex, Qt, QTimer, QVariantAnimation, pyqtSignal
from qgis.PyQt.QtGui import QColor, QHideEvent, QKeySequence, QShowEvent
from qgis.PyQt.QtWidgets import (
    QComboBox,
    QFormLayout,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QListView,
    QPushButton,
    QShortcut,
    QSlider,
    QVBoxLayout,
    QWidget,
)

from ...compat import is_success
from ...translation import tr
from ..context import DockContext
from ..jobs.runner import TEMPORARY, JobRunner
from .journal import MISSED, POLYGON, Change, Journal, Key, Status
from .layers import ReviewLayer, is_assessed, is_missed
from .list_model import QueueModel
from .queue import ReviewQueue

ZOOM, PAN, STAY = "zoom", "pan", "stay"
_ZOOM_SETTING = "geoseg/review_zoom"
_JOURNAL = "geoseg/journal"
_FADE_MS = 2000
_WIDTH, _WIDEST = 2, 9
_STEPS = 100
_LARGEST_AREA = 1000
_MARGIN = 2.5
_LARGEST_SCALE = 250.0
"""Scale denominator below which imagery shows nothing more."""
_HIGHLIGHT = QColor(0, 229, 255)


class ReviewPage(QWidget):
    """The page.

    Args:
        context: Imagery and model for an assessment; its window has the map.
        runner: Runs the assessment.

    Attributes:
        redo_asked: Sent when the user wants to draw a polygon anew with the click tool.
        replaced: Sent when that is done.
    """

    redo_asked = pyqtSignal()
    replaced = pyqtSignal()

    def __init__(
        self, context: DockContext, runner: JobRunner, parent: Optional[QWidget] = None
    ) -> None:
        super().__init__(parent)
        self._context = context
        self._runner = runner
        self._canvas = context.iface.mapCanvas()
        self._layers: Dict[str, ReviewLayer] = {}
        self._journal = Journal()
        self._awaiting: Optional[Key] = None
        self.queue = ReviewQueue()
        self.model = QueueModel(self.queue, self)
        self._band = QgsRubberBand(self._canvas, QgsWkbTypes.GeometryType.PolygonGeometry)
        self._band.setFillColor(QColor(0, 0, 0, 0))
        self._band.setStrokeColor(_HIGHLIGHT)
        self._band.setWidth(_WIDTH)
        # A wide outline that becomes narrow leads the eye, and covers nothing.
        self._fading = QVariantAnimation(self)
        self._fading.setStartValue(_WIDEST)
        self._fading.setEndValue(_WIDTH)
        self._fading.setDuration(_FADE_MS)
        self._fading.valueChanged.connect(self._band.setWidth)
        self._refilling = QTimer(self)
        self._refilling.setSingleShot(True)
        self._refilling.setInterval(0)
        self._refilling.timeout.connect(self.refill)
        self._build()
        self._shortcuts = self._make_shortcuts()
        QgsProject.instance().layersWillBeRemoved.connect(self._forget_layers)
        self._choose()

    def showEvent(self, event: QShowEvent) -> None:
        """Take the keys while the page is visible."""
        super().showEvent(event)
        self._enable_keys(True)
        self._show_current()

    def hideEvent(self, event: QHideEvent) -> None:
        """Leave the keys and the map alone while nobody sees the page."""
        super().hideEvent(event)
        self._enable_keys(False)
        self._band.reset(QgsWkbTypes.GeometryType.PolygonGeometry)

    def close_page(self) -> None:
        """Take everything off the map."""
        self._fading.stop()
        QgsProject.instance().layersWillBeRemoved.disconnect(self._forget_layers)
        self._disconnect_layers()
        scene = self._canvas.scene()
        if scene is not None:
            scene.removeItem(self._band)

    def review(self, polygons: QgsVectorLayer, missed: Optional[QgsVectorLayer] = None) -> None:
        """Review an assessed layer, and the objects that it likely lacks."""
        self.polygons.setLayer(polygons)
        self.missed.setLayer(missed)
        self._choose()

    def step(self, direction: int) -> None:
        """Look at the next (1) or the previous (-1) polygon that is open."""
        self.queue.step(direction)
        self._show_current()

    def decide(self, status: Status) -> None:
        """Decide on the current polygon and go on to the next one."""
        item = self.queue.current
        if item is None:
            self.step(1)
            return
        if item.is_missed and status is Status.REDONE:
            return
        change = Change(item.key, item.status, status)
        if item.is_missed and status in (Status.KEPT, Status.ADDED):
            added = self._add_missed(item.key)
            if added is None:
                self._say(tr("The object cannot be added to the layer of polygons."))
                return
            change = Change(item.key, item.status, Status.ADDED, added)
        if self._apply(change) and self._journal.record(change):
            self._store_journal()
        self.step(1)

    def redo_with_clicks(self) -> None:
        """Draw the current polygon anew: the next polygon of the layer replaces it."""
        item = self.queue.current
        polygons = self._layers.get(POLYGON)
        if item is None or item.is_missed or polygons is None:
            return
        if not polygons.layer.isEditable() and not polygons.layer.startEditing():
            self._say(tr("The layer cannot be edited. Save it as a GeoPackage first."))
            return
        self._awaiting = item.key
        self._context.iface.setActiveLayer(polygons.layer)
        self._say(tr("Click on the object, then press Enter: the outline replaces this one."))
        self.redo_asked.emit()

    def undo(self) -> None:
        """Take back the last decision and look at what it was about."""
        change = self._journal.undo()
        if change is not None:
            self._take_back(change)

    def redo(self) -> None:
        """Decide again what was taken back."""
        change = self._journal.redo()
        if change is None:
            return
        if change.added is not None and change.key[0] == MISSED:
            added = self._add_missed(change.key)
            change = Change(change.key, change.before, change.after, added)
            self._journal.amend(change)
        self._apply(change)
        self._store_journal()
        self.queue.select(change.key)
        self._show_current()

    def finish(self) -> None:
        """Delete the polygons that were dropped, which cannot be taken back here."""
        polygons = self._layers.get(POLYGON)
        if polygons is None:
            return
        marked = polygons.marked_for_deletion()
        if marked and polygons.remove(marked):
            self._journal = Journal()
            self._store_journal()
        self.refill()

    def assess(self) -> None:
        """Assess the chosen polygons on the chosen imagery."""
        image, layer = self._context.image(), self.polygons.currentLayer()
        if image is None or layer is None:
            self._say(tr("Choose the imagery above, and the polygons to assess."))
            return
        values = {
            "INPUT": image.id(),
            "MASK_POLYGONS": layer.id(),
            "POLYGONS": TEMPORARY,
            "MISSED": TEMPORARY,
        }
        extent = self._context.area()
        if extent is not None:
            values["EXTENT"] = extent
        problem = self._runner.check("geoseg:assess", values)
        if problem:
            self._say(problem)
            return
        title = tr("{} - assessment").format(layer.name())
        before: Set[str] = set(QgsProject.instance().mapLayers())
        self._runner.start(
            "geoseg:assess",
            values,
            title,
            ended=lambda fine, _results: self._assessed(fine, before, str(layer.id())),
        )
        self._say(tr("The assessment is in the list of jobs."))

    def refill(self) -> None:
        """Read the layers again."""
        items = [item for layer in self._layers.values() for item in layer.items()]
        self.queue.fill(items)
        self._filter()

    def _build(self) -> None:
        self.polygons, self.missed = QgsMapLayerComboBox(), QgsMapLayerComboBox()
        for box in (self.polygons, self.missed):
            box.setFilters(QgsMapLayerProxyModel.Filter.PolygonLayer)
            box.setAllowEmptyLayer(True)
            box.setLayer(None)
            box.layerChanged.connect(lambda _layer: self._choose())
        self.assess_button = QPushButton(tr("Assess"))
        self.assess_button.setToolTip(tr("Find where these polygons are wrong"))
        self.assess_button.clicked.connect(self.assess)
        self.iou = _slider(_STEPS, _STEPS, tr("Show polygons up to this predicted IoU"))
        self.area = _slider(_LARGEST_AREA, 0, tr("Show polygons from this area on"))
        self.iou_text, self.area_text = QLabel(), QLabel()
        for slider in (self.iou, self.area):
            slider.valueChanged.connect(lambda _value: self._filter())
        self.list = QListView()
        self.list.setModel(self.model)
        self.list.setUniformItemSizes(True)
        self.list.setAccessibleName(tr("Polygons to look at, the worst first"))
        self.list.clicked.connect(self._clicked)
        self.list.activated.connect(self._clicked)
        self.zoom = _zoom_box()
        self.message = QLabel()
        self.message.setWordWrap(True)
        self.count = QLabel()
        self.buttons = self._make_buttons()
        top = QHBoxLayout()
        top.addWidget(self.polygons, 1)
        top.addWidget(self.assess_button)
        form = QFormLayout()
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.addRow(tr("Polygons"), top)
        form.addRow(tr("Missed"), self.missed)
        form.addRow(tr("IoU up to"), _beside(self.iou, self.iou_text))
        form.addRow(tr("Area from"), _beside(self.area, self.area_text))
        grid = QGridLayout()
        grid.setSpacing(4)
        names = ("previous", "next", "keep", "delete", "redo", "undo", "again", "finish")
        for number, name in enumerate(names):
            grid.addWidget(self.buttons[name], number // 2, number % 2)
        bottom = QHBoxLayout()
        bottom.addWidget(self.count, 1)
        bottom.addWidget(self.zoom)
        layout = QVBoxLayout(self)
        layout.addLayout(form)
        layout.addWidget(self.list, 1)
        layout.addLayout(bottom)
        layout.addWidget(self.message)
        layout.addLayout(grid)

    def _actions(self) -> Dict[str, Tuple[str, str, Callable[[], None]]]:
        return {
            "previous": (tr("Previous"), "P", lambda: self.step(-1)),
            "next": (tr("Next"), "N", lambda: self.step(1)),
            "keep": (tr("Keep"), "K", lambda: self.decide(Status.KEPT)),
            "delete": (tr("Delete"), "X", lambda: self.decide(Status.DELETED)),
            "redo": (tr("Redo with Clicks"), "R", self.redo_with_clicks),
            "undo": (tr("Undo"), "U", self.undo),
            "again": (tr("Redo"), "Shift+U", self.redo),
            "finish": (tr("Remove Deleted"), "", self.finish),
        }

    def _make_buttons(self) -> Dict[str, QPushButton]:
        buttons = {}
        for name, (text, key, slot) in self._actions().items():
            button = QPushButton(f"{text} ({key})" if key else text)
            button.clicked.connect(partial(_call, slot))
            buttons[name] = button
        return buttons

    def _make_shortcuts(self) -> List[QShortcut]:
        shortcuts = []
        window = self._context.iface.mainWindow()
        for _text, key, slot in self._actions().values():
            if key:
                # The map has the focus while one looks at polygons.
                shortcut = QShortcut(QKeySequence(key), window)
                shortcut.setContext(Qt.ShortcutContext.ApplicationShortcut)
                shortcut.activated.connect(slot)
                shortcut.setEnabled(False)
                shortcuts.append(shortcut)
        return shortcuts

    def _enable_keys(self, enabled: bool) -> None:
        for shortcut in self._shortcuts:
            shortcut.setEnabled(enabled)

    def _choose(self) -> None:
        """Take the layers that are chosen."""
        self._disconnect_layers()
        self._layers, self._journal, self._awaiting = {}, Journal(), None
        chosen, problem = self.polygons.currentLayer(), ""
        if is_assessed(chosen) and not is_missed(chosen):
            layer = ReviewLayer(chosen)
            problem = layer.prepare()
            self._layers[POLYGON] = layer
            self._journal = Journal.from_json(_stored_journal(chosen))
            missed = self.missed.currentLayer()
            if is_missed(missed):
                self._layers[MISSED] = ReviewLayer(missed)
                problem = problem or self._layers[MISSED].prepare()
        elif chosen is not None:
            problem = tr("These polygons have no ranks yet. Assess them first.")
        else:
            problem = tr("Choose polygons, and assess them on the imagery above.")
        for layer in self._layers.values():
            layer.layer.featureAdded.connect(self._feature_added)
            layer.layer.featureDeleted.connect(self._schedule)
            layer.layer.attributeValueChanged.connect(self._schedule)
            layer.layer.afterCommitChanges.connect(self._schedule)
            layer.layer.afterRollBack.connect(self._schedule)
        self._say(problem)
        self.refill()

    def _disconnect_layers(self) -> None:
        for layer in self._layers.values():
            for signal, slot in (
                (layer.layer.featureAdded, self._feature_added),
                (layer.layer.featureDeleted, self._schedule),
                (layer.layer.attributeValueChanged, self._schedule),
                (layer.layer.afterCommitChanges, self._schedule),
                (layer.layer.afterRollBack, self._schedule),
            ):
                signal.disconnect(slot)

    def _forget_layers(self, identifiers: List[str]) -> None:
        if any(layer.identifier in identifiers for layer in self._layers.values()):
            self._disconnect_layers()
            self._layers = {}
            self.refill()

    def _schedule(self, *_arguments: Any) -> None:
        self._refilling.start()

    def _feature_added(self, identifier: int) -> None:
        """Let a new polygon replace the one that is drawn anew."""
        key, polygons = self._awaiting, self._layers.get(POLYGON)
        item = self.queue.find(key) if key is not None else None
        if item is None or polygons is None or not polygons.layer.isEditable():
            return
        self._awaiting = None
        # The layer is still adding, so the rest waits until it is done.
        QTimer.singleShot(0, lambda: self._replaced(item.key, item.status, identifier))

    def _replaced(self, key: Key, before: Status, added: int) -> None:
        polygons = self._layers.get(POLYGON)
        if polygons is None:
            return
        polygons.set_status(added, Status.ADDED)
        change = Change(key, before, Status.REDONE)
        if self._apply(change) and self._journal.record(change):
            self._store_journal()
        self._say("")
        self.replaced.emit()
        self.step(1)

    def _apply(self, change: Change) -> bool:
        layer = self._layers.get(change.key[0])
        if layer is None or not layer.set_status(change.key[1], change.after):
            self._say(tr("The layer cannot be changed. Save it as a GeoPackage first."))
            return False
        self.queue.set_status(change.key, change.after)
        self.model.refresh()
        self._show_count()
        return True

    def _take_back(self, change: Change) -> None:
        polygons = self._layers.get(POLYGON)
        if change.added is not None and polygons is not None:
            polygons.remove([change.added])
        self._apply(change)
        self._store_journal()
        self.queue.select(change.key)
        self._show_current()

    def _add_missed(self, key: Key) -> Optional[int]:
        polygons, missed = self._layers.get(POLYGON), self._layers.get(MISSED)
        if polygons is None or missed is None:
            return None
        return polygons.add(missed.feature(key[1]), missed.layer)

    def _store_journal(self) -> None:
        polygons = self._layers.get(POLYGON)
        if polygons is not None:
            text = json.dumps(self._journal.to_json())
            polygons.layer.setCustomProperty(_JOURNAL, text)
        self._show_count()

    def _filter(self) -> None:
        iou, area = self.iou.value() / _STEPS, float(self.area.value())
        self.iou_text.setText(f"{iou:.2f}")
        self.area_text.setText(f"{area:,.0f} m²")
        self.queue.set_filter(iou, area)
        self.model.refresh()
        self._show_current(move=False)

    def _clicked(self, index: QModelIndex) -> None:
        self.queue.select(self.model.key(index))
        self._show_current()

    def _show_current(self, *, move: bool = True) -> None:
        self._show_count()
        self._band.reset(QgsWkbTypes.GeometryType.PolygonGeometry)
        item = self.queue.current
        layer = self._layers.get(item.key[0]) if item is not None else None
        if item is None or layer is None:
            self.list.clearSelection()
            return
        index = self.model.index_of(item.key)
        self.list.setCurrentIndex(index)
        self.list.scrollTo(index)
        keep = tr("Add (K)") if item.is_missed else tr("Keep (K)")
        self.buttons["keep"].setText(keep)
        self.buttons["redo"].setEnabled(not item.is_missed)
        geometry = layer.feature(item.key[1]).geometry()
        if geometry.isEmpty() or not self.isVisible():
            return
        self._band.setToGeometry(geometry, layer.layer)
        if move:
            self._move_to(geometry, layer.layer.crs())

    def _move_to(self, geometry: QgsGeometry, crs: QgsCoordinateReferenceSystem) -> None:
        settings = self._canvas.mapSettings()
        shape = QgsGeometry(geometry)
        transform = QgsCoordinateTransform(crs, settings.destinationCrs(), QgsProject.instance())
        if not is_success(shape.transform(transform)):
            return
        box = shape.boundingBox()
        kind = self.zoom.currentData()
        if kind == ZOOM:
            box.scale(_MARGIN)
            self._canvas.setExtent(box)
            if self._canvas.scale() < _LARGEST_SCALE:
                self._canvas.zoomScale(_LARGEST_SCALE)
        elif kind == PAN:
            self._canvas.setCenter(box.center())
        if kind != STAY:
            self._canvas.refresh()
        self._fading.stop()
        self._fading.start()

    def _show_count(self) -> None:
        total, left = len(self.queue.items), self.queue.open_count
        self.count.setText(tr("{} of {} left").format(left, total) if total else "")
        polygons = self._layers.get(POLYGON)
        has_items = bool(total)
        for name in ("previous", "next", "keep", "delete", "redo"):
            self.buttons[name].setEnabled(has_items)
        self.buttons["undo"].setEnabled(self._journal.can_undo)
        self.buttons["again"].setEnabled(self._journal.can_redo)
        dropped = len(
            [
                item
                for item in self.queue.everything
                if item.status in (Status.DELETED, Status.REDONE) and not item.is_missed
            ]
        )
        self.buttons["finish"].setEnabled(bool(dropped and polygons is not None))
        self.buttons["finish"].setText(
            tr("Remove Deleted ({})").format(dropped) if dropped else tr("Remove Deleted")
        )

    def _assessed(self, fine: bool, before: Set[str], mask: str) -> None:
        if not fine:
            self._say(tr("There is no assessment; the list of jobs says why."))
            return
        layers = [
            layer
            for identifier, layer in QgsProject.instance().mapLayers().items()
            if identifier not in before and is_assessed(layer)
        ]
        polygons = [layer for layer in layers if not is_missed(layer)]
        missed = [layer for layer in layers if is_missed(layer)]
        # The polygons that were assessed lie below their outlines and may be filled.
        node = QgsProject.instance().layerTreeRoot().findLayer(mask)
        if polygons and node is not None:
            node.setItemVisibilityChecked(False)
        if polygons:
            self.review(polygons[0], missed[0] if missed else None)
            self.step(1)

    def _say(self, text: str) -> None:
        self.message.setText(text)
        self.message.setVisible(bool(text))


def _stored_journal(layer: QgsVectorLayer) -> Any:
    try:
        return json.loads(layer.customProperty(_JOURNAL, "[]"))
    except (TypeError, ValueError):
        return []


def _zoom_box() -> QComboBox:
    """Return the kinds of zoom; the last one that was chosen is remembered."""
    box = QComboBox()
    box.addItem(tr("Zoom to it"), ZOOM)
    box.addItem(tr("Pan to it"), PAN)
    box.addItem(tr("Do not move"), STAY)
    kept = QgsSettings().value(_ZOOM_SETTING, ZOOM, type=str)
    box.setCurrentIndex(max(0, box.findData(kept)))
    box.currentIndexChanged.connect(
        lambda _index: QgsSettings().setValue(_ZOOM_SETTING, box.currentData())
    )
    return box


def _slider(maximum: int, value: int, tip: str) -> QSlider:
    slider = QSlider(Qt.Orientation.Horizontal)
    slider.setRange(0, maximum)
    slider.setValue(value)
    slider.setToolTip(tip)
    slider.setAccessibleName(tip)
    return slider


def _beside(slider: QSlider, text: QLabel) -> QHBoxLayout:
    text.setMinimumWidth(text.fontMetrics().horizontalAdvance("1,000 m²"))
    row = QHBoxLayout()
    row.addWidget(slider, 1)
    row.addWidget(text)
    return row


def _call(slot: Callable[[], None], _checked: bool = False) -> None:
    slot()
