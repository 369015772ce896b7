"""What the click tool and its page share: the object that is being outlined."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, List, Optional, Tuple

from qgis.core import (
    Qgis,
    QgsGeometry,
    QgsMapLayer,
    QgsPointXY,
    QgsProject,
    QgsRasterLayer,
    QgsVectorLayer,
    QgsWkbTypes,
)
from qgis.gui import QgsMapCanvas
from qgis.PyQt import sip
from qgis.PyQt.QtCore import QObject, pyqtSignal

from ...engine_client import Answer
from ...engine_client.outlines import MakeRequest
from ...processing.settings import Settings
from ...protocol.errors import ErrorCode, JobError
from ...protocol.outline import Outline, OutlineRequest, Place, Prompt, PromptKind
from ...translation import tr
from ..context import DockContext
from .accept import AcceptedOutline, add_outline, create_layer, inform
from .asking import OutlineService
from .history import PromptHistory
from .imagery import Imagery, View
from .overlay import MapTransform

LARGEST_PREVIEW = 0.6
"""Share of a tile above which a shape under the pointer is background rather than an object."""
_MESSAGE_SECONDS = 8


@dataclass(frozen=True)
class Shape:
    """An outline on the map.

    Attributes:
        geometry: In the CRS of the imagery.
        score: How far the model trusts it, 0..1.
        model: Name of the preset.
        prompts: What it was made from.
    """

    geometry: QgsGeometry
    score: float
    model: str
    prompts: Tuple[Prompt, ...]


@dataclass(frozen=True)
class _Request:
    serial: int
    prompts: Tuple[Prompt, ...]
    point: QgsPointXY
    is_preview: bool = False
    prepare: bool = False


class ClickController(QObject):
    """The object that is being outlined: its prompts, its outline, and where it goes.

    Coordinates are those of the CRS of the imagery.

    Args:
        context: Imagery and model.

    Attributes:
        changed: Sent when prompts, outline, preview, target or state changed.
    """

    changed = pyqtSignal()

    def __init__(self, context: DockContext) -> None:
        super().__init__(context)
        self._context = context
        self._history = PromptHistory()
        self._imagery = Imagery()
        self._service = OutlineService(self)
        self._service.answered.connect(self._take)
        self._service.restarted.connect(self._tell_restart)
        self._request: Optional[_Request] = None
        self._outline: Optional[Shape] = None
        self._preview: Optional[Shape] = None
        self._accept_soon = False
        self._target = ""
        self._told = ""
        self._watched: Optional[QgsRasterLayer] = None
        context.image_changed.connect(self.image_changed)
        context.model_changed.connect(self.reset)
        project = QgsProject.instance()
        project.cleared.connect(self.image_changed)
        project.layersRemoved.connect(self._layers_removed)
        self._watch()

    @property
    def canvas(self) -> QgsMapCanvas:
        """The map."""
        return self._context.iface.mapCanvas()

    @property
    def prompts(self) -> Tuple[Prompt, ...]:
        """The prompts of the object."""
        return self._history.prompts

    @property
    def outline(self) -> Optional[Shape]:
        """The outline of the object, None before there is one."""
        return self._outline

    @property
    def preview(self) -> Optional[Shape]:
        """The shape under the pointer that a click would take."""
        return self._preview

    @property
    def can_undo(self) -> bool:
        """Whether there is a prompt to take back."""
        return self._history.can_undo

    @property
    def can_redo(self) -> bool:
        """Whether there is a prompt to give again."""
        return self._history.can_redo

    @property
    def is_waiting(self) -> bool:
        """Whether an outline is on its way."""
        return self._request is not None and not self._request.prepare

    @property
    def engine_pid(self) -> Optional[int]:
        """Process id of the engine for outlines, or None if none is running."""
        return self._service.pid

    def target(self) -> Optional[QgsVectorLayer]:
        """Return the layer that accepted outlines go into, None for a new one."""
        layer = QgsProject.instance().mapLayer(self._target) if self._target else None
        return layer if isinstance(layer, QgsVectorLayer) else None

    def set_target(self, layer: Optional[QgsMapLayer]) -> None:
        """Choose the layer for accepted outlines; None makes a new one when it is needed."""
        identifier = layer.id() if isinstance(layer, QgsVectorLayer) else ""
        if identifier != self._target:
            self._target = identifier
            self.changed.emit()

    def image(self) -> Optional[QgsRasterLayer]:
        """Return the imagery, None without any."""
        return self._context.image()

    def to_map(self) -> Optional[MapTransform]:
        """Return the way from the CRS of the imagery to the map, None without imagery."""
        image = self.image()
        return None if image is None else MapTransform(image.crs(), self.canvas)

    def place_of(self, point: QgsPointXY) -> Optional[QgsPointXY]:
        """Return a point of the map in the CRS of the imagery, None where it has no place."""
        to_map = self.to_map()
        if to_map is None:
            return None
        placed = to_map.geometry(QgsGeometry.fromPointXY(point), to_image=True)
        return None if placed is None else placed.asPoint()

    def prepare(self, point: Optional[QgsPointXY] = None) -> None:
        """Start the engine, load the model, and encode a place of the map where one is given."""
        if self.is_waiting:
            return
        place = None if point is None else self.place_of(point)
        image = self.image()
        if place is not None and image is not None and not image.extent().contains(place):
            place = None
        self._ask((), place, prepare=True)

    def hover(self, point: QgsPointXY) -> None:
        """Ask for the shape under a point of the map, while there are no prompts.

        Nothing is asked for while the point lies inside of the shape that is shown.
        """
        place = self.place_of(point)
        image = self.image()
        if self._history.prompts or place is None or image is None:
            return
        if self._preview is not None:
            if self._preview.geometry.contains(place):
                return
            self._preview = None
            self.changed.emit()
        if image.extent().contains(place):
            prompt = Prompt(PromptKind.POINT, ((place.x(), place.y()),))
            self._ask((prompt,), place, is_preview=True)

    def stop_hovering(self) -> None:
        """Hide the shape under the pointer, and drop one that is on its way."""
        if self._request is not None and self._request.is_preview:
            self._forget_request()
        if self._preview is not None:
            self._preview = None
            self.changed.emit()

    def add_point(self, point: QgsPointXY, on_object: bool) -> None:
        """Add a point of the map; one inside of the shown shape takes that shape."""
        place = self.place_of(point)
        if place is None:
            return
        shown = self._preview
        if on_object and not self.prompts and shown and shown.geometry.contains(place):
            self._preview = None
            self._forget_request()
            self._history.add(shown.prompts[0])
            self._outline = shown
            self.changed.emit()
            return
        self._add(Prompt(PromptKind.POINT, ((place.x(), place.y()),), on_object))

    def add_area(self, area: QgsGeometry, kind: PromptKind) -> None:
        """Add a box or a polygon, in the CRS of the map."""
        to_map = self.to_map()
        placed = None if to_map is None else to_map.geometry(area, to_image=True)
        if placed is None or placed.isEmpty() or not placed.convertToSingleType():
            return
        rings = placed.asPolygon()
        if rings and len(rings[0]) > 3:
            self._add(Prompt(kind, tuple((point.x(), point.y()) for point in rings[0][:-1])))

    def undo(self) -> None:
        """Take the last prompt back."""
        if self._history.undo():
            self._ask_again()

    def redo(self) -> None:
        """Give the prompt that was taken back last again."""
        if self._history.redo():
            self._ask_again()

    def reset(self) -> None:
        """Forget the object and everything that is on its way."""
        self._accept_soon = False
        self._forget_request()
        self._history.clear()
        self._outline = self._preview = None
        self.changed.emit()

    def accept(self) -> None:
        """Put the outline into the chosen layer; at once, or when it has come."""
        if self.is_waiting and self._history.has_object:
            self._accept_soon = True
            return
        image, shape = self.image(), self._outline
        if image is None or shape is None:
            self._tell(tr("There is no outline to accept. Click an object first."))
            return
        accepted = AcceptedOutline(
            shape.geometry, image.crs(), shape.score, shape.model, len(self.prompts)
        )
        try:
            layer = self.target()
            if layer is None:
                layer = create_layer(image.name(), image.crs())
                self._target = layer.id()
            add_outline(layer, accepted)
        except JobError as error:
            self._warn(error)
            return
        inform(self._bar(), tr("The outline was added to {!r}.").format(layer.name()))
        self.reset()

    def close(self) -> None:
        """End the engine and forget everything; a later click starts anew."""
        self.reset()
        self._imagery.cancel()
        self._service.close()
        self._imagery.close()

    def image_changed(self) -> None:
        """Start anew on other imagery."""
        self._imagery.forget()
        self._watch()
        self.reset()

    def _add(self, prompt: Prompt) -> None:
        if self.image() is None:
            self._tell(tr("There is no imagery to click on. Choose a raster layer in the dock."))
            return
        if not self._history.add(prompt):
            self._tell(tr("The object has too many prompts. Accept the outline or clear it."))
            return
        self._preview = None
        self._ask_again()

    def _ask_again(self) -> None:
        """Ask for the outline of the prompts as they are now."""
        self._accept_soon = False
        if not self._history.has_object:
            self._forget_request()
            self._outline = None
            self.changed.emit()
            return
        prompts = self._history.prompts
        first = next(prompt for prompt in prompts if prompt.on_object)
        self._ask(prompts, QgsPointXY(*first.corners[0]))
        self.changed.emit()

    def _ask(
        self,
        prompts: Tuple[Prompt, ...],
        point: Optional[QgsPointXY],
        *,
        is_preview: bool = False,
        prepare: bool = False,
    ) -> None:
        image = self.image()
        settings = Settings.read()
        model, device = settings.model_place(self._context.model()), settings.device
        try:
            if image is None or point is None:
                point = None
                make_request = _without_place(model, device)
            else:
                view = self._view(image, point)
                make_source = self._imagery.source(image, view)

                def make_request() -> OutlineRequest:
                    place = Place(make_source(), view.point.x(), view.point.y(), view.pixel_size)
                    return OutlineRequest(place, prompts, model, device)

            serial = self._service.ask(make_request, prepare)
        except JobError as error:
            self._request = None
            if not is_preview:
                self._warn(error)
            return
        here = QgsPointXY() if point is None else point
        self._request = _Request(serial, prompts, here, is_preview, prepare)

    def _view(self, image: QgsRasterLayer, point: QgsPointXY) -> View:
        settings = self.canvas.mapSettings()
        to_map = MapTransform(image.crs(), self.canvas)
        visible = QgsGeometry.fromQPolygonF(settings.visiblePolygon())
        extent = to_map.geometry(visible, to_image=True)
        here = to_map.geometry(QgsGeometry.fromPointXY(point))
        size = settings.mapUnitsPerPixel()
        if here is None or extent is None:
            return View(point, image.extent(), 0.0)
        centre = here.asPoint()
        ends = QgsGeometry.fromPolylineXY([centre, QgsPointXY(centre.x() + size, centre.y())])
        step = to_map.geometry(ends, to_image=True)
        return View(point, extent.boundingBox(), 0.0 if step is None else step.length())

    def _take(self, answer: Answer) -> None:
        request = self._request
        if request is None or answer.serial != request.serial:
            return
        self._request = None
        if answer.error is not None:
            self._take_error(request, answer.error)
        elif answer.outline is not None:
            if self._imagery.is_misplaced(answer.outline):
                self._repeat(request)
                return
            self._told = ""
            if not request.prepare:
                self._take_outline(request, answer.outline)
        self.changed.emit()

    def _take_outline(self, request: _Request, outline: Outline) -> None:
        geometry = _geometry(outline)
        shape = None
        if geometry is not None:
            shape = Shape(geometry, outline.score, outline.model, request.prompts)
        if request.is_preview:
            self._preview = None if outline.share > LARGEST_PREVIEW else shape
            return
        self._outline = shape
        if shape is None:
            self._accept_soon = False
            self._tell(tr("Nothing was found there. Click elsewhere, or draw a box."))
        elif self._accept_soon:
            self._accept_soon = False
            self.accept()

    def _take_error(self, request: _Request, error: JobError) -> None:
        if error.code is ErrorCode.SOURCE_UNREADABLE and self._imagery.copy_instead():
            self._repeat(request)
            return
        self._accept_soon = False
        if not request.is_preview and not request.prepare:
            self._outline = None
        # Beside the image there is nothing to preview, which needs no words.
        if error.code is not ErrorCode.EXTENT_OUTSIDE or not (
            request.is_preview or request.prepare
        ):
            self._warn(error)

    def _repeat(self, request: _Request) -> None:
        """Ask once more, from a copy that QGIS makes of what is visible."""
        accept_soon = self._accept_soon
        self._ask(
            request.prompts,
            request.point,
            is_preview=request.is_preview,
            prepare=request.prepare,
        )
        self._accept_soon = accept_soon

    def _forget_request(self) -> None:
        self._request = None
        self._service.forget()

    def _layers_removed(self, _identifiers: List[str]) -> None:
        if self._watched is not None and self.image() is None:
            self.image_changed()
        elif self._target and self.target() is None:
            self.set_target(None)
            self.changed.emit()

    def _watch(self) -> None:
        """Follow changes of the imagery, which make what is known of it worthless."""
        image = self.image()
        if image is self._watched:
            return
        # Connections to a layer that was removed went with it.
        if self._watched is not None and not sip.isdeleted(self._watched):
            for signal in _signals_of(self._watched):
                signal.disconnect(self._image_altered)
        self._watched = image
        if image is not None:
            for signal in _signals_of(image):
                signal.connect(self._image_altered)

    def _image_altered(self) -> None:
        self._imagery.forget()
        self.reset()

    def _bar(self) -> object:
        return self._context.iface.messageBar()

    def _tell(self, text: str) -> None:
        if text != self._told:
            self._told = text
            inform(self._bar(), text)

    def _warn(self, error: JobError) -> None:
        """Show an error once, not at every move of the mouse."""
        text = str(error)
        if text != self._told:
            self._told = text
            warning = Qgis.MessageLevel.Warning
            self._context.iface.messageBar().pushMessage("GeoSeg", text, warning, _MESSAGE_SECONDS)

    def _tell_restart(self) -> None:
        self._tell(tr("The engine for outlines stopped and was started anew."))


def click_controller(context: DockContext) -> ClickController:
    """Return the controller that the tool and the page of a context share."""
    found = context.findChild(ClickController)
    return found if found is not None else ClickController(context)


def _signals_of(image: QgsRasterLayer) -> Tuple[Any, ...]:
    return image.crsChanged, image.dataSourceChanged, image.rendererChanged


def _without_place(model: str, device: str) -> MakeRequest:
    return lambda: OutlineRequest(model=model, device=device)


def _geometry(outline: Outline) -> Optional[QgsGeometry]:
    if not outline.polygons:
        return None
    polygons = [
        [[QgsPointXY(x, y) for x, y in ring] for ring in rings] for rings in outline.polygons
    ]
    geometry = QgsGeometry.fromMultiPolygonXY(polygons)
    if geometry.isEmpty() or geometry.type() != QgsWkbTypes.GeometryType.PolygonGeometry:
        return None
    return geometry
