"""What the pages of the dock share: the imagery, the model, and the area to work on."""

from __future__ import annotations

from typing import Any, Optional

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsCsException,
    QgsGeometry,
    QgsMapLayer,
    QgsProject,
    QgsRasterLayer,
    QgsRectangle,
    QgsVectorLayer,
    QgsWkbTypes,
)
from qgis.gui import QgisInterface
from qgis.PyQt.QtCore import QObject, pyqtSignal

from ..compat import is_success

VISIBLE_AREA = "visible"
WHOLE_LAYER = "layer"
SELECTED_POLYGON = "selection"
_EDGE_POINTS = 20
AREAS = (VISIBLE_AREA, WHOLE_LAYER, SELECTED_POLYGON)


class DockContext(QObject):
    """Imagery, model and area, shared by the pages and by the map tool; main thread only.

    Args:
        iface: The running QGIS window.
        parent: Owner of the object.

    Attributes:
        iface: The running QGIS window.
        image_changed: Sent when another image, or none, is chosen.
        model_changed: Sent when another model is chosen.
        area_changed: Sent when another kind of area is chosen.
    """

    image_changed = pyqtSignal()
    model_changed = pyqtSignal()
    area_changed = pyqtSignal()

    def __init__(self, iface: QgisInterface, parent: Optional[QObject] = None) -> None:
        super().__init__(parent)
        self.iface = iface
        self._image_id = ""
        self._model = ""
        self._area_kind = VISIBLE_AREA

    def image(self) -> Optional[QgsRasterLayer]:
        """Return the chosen imagery, None when there is none any more."""
        layer = QgsProject.instance().mapLayer(self._image_id) if self._image_id else None
        return layer if isinstance(layer, QgsRasterLayer) and layer.isValid() else None

    def set_image(self, layer: Optional[QgsMapLayer]) -> None:
        """Choose the imagery; anything but a raster counts as none."""
        identifier = layer.id() if isinstance(layer, QgsRasterLayer) else ""
        if identifier != self._image_id:
            self._image_id = identifier
            self.image_changed.emit()

    def model(self) -> str:
        """Return the name of the chosen preset; empty for the default of each method."""
        return self._model

    def set_model(self, name: str) -> None:
        """Choose a preset by its name; empty for the default of each method."""
        if name != self._model:
            self._model = name
            self.model_changed.emit()

    def area_kind(self) -> str:
        """Return `VISIBLE_AREA`, `WHOLE_LAYER` or `SELECTED_POLYGON`."""
        return self._area_kind

    def set_area_kind(self, kind: str) -> None:
        """Choose the kind of area.

        Raises:
            ValueError: When ``kind`` is not one of `AREAS`.
        """
        if kind not in AREAS:
            raise ValueError(kind)
        if kind != self._area_kind:
            self._area_kind = kind
            self.area_changed.emit()

    def area(self, kind: str = "") -> Optional[str]:
        """Return the area as the parameter ``EXTENT`` takes it, in the CRS of the imagery.

        Args:
            kind: One of `AREAS` in place of the chosen one.

        Returns:
            ``xmin,xmax,ymin,ymax [CRS]``; None for the whole layer, and where nothing is visible
            or selected on the imagery.
        """
        rectangle = self.rectangle(kind)
        return None if rectangle is None else self.extent_text(rectangle)

    def extent_text(self, rectangle: QgsRectangle) -> str:
        """Return a rectangle in the CRS of the imagery as the parameter ``EXTENT`` takes it."""
        corners = (
            rectangle.xMinimum(),
            rectangle.xMaximum(),
            rectangle.yMinimum(),
            rectangle.yMaximum(),
        )
        numbers = ",".join(format(number, ".12g") for number in corners)
        image = self.image()
        # Without an identifier the numbers count as coordinates in the CRS of the imagery.
        name = image.crs().authid() if image is not None else ""
        return f"{numbers} [{name}]" if name else numbers

    def rectangle(self, kind: str = "") -> Optional[QgsRectangle]:
        """Return the area as a rectangle in the CRS of the imagery; None like `area`."""
        image = self.image()
        kind = kind or self._area_kind
        if image is None or kind == WHOLE_LAYER:
            return None
        if kind == SELECTED_POLYGON:
            rectangle = self._selection(image.crs())
        else:
            settings = self.iface.mapCanvas().mapSettings()
            visible = QgsGeometry.fromQPolygonF(settings.visiblePolygon())
            rectangle = _bounds(visible, settings.destinationCrs(), image.crs())
        if rectangle is None:
            return None
        if image.width() > 0:
            rectangle = rectangle.intersect(image.extent())
        return None if rectangle.isNull() or rectangle.isEmpty() else rectangle

    def has_selection(self) -> bool:
        """Return whether a polygon is selected in the active layer."""
        return self._selected_layer() is not None

    def _selected_layer(self) -> Optional[QgsVectorLayer]:
        layer: Any = self.iface.activeLayer()
        if (
            isinstance(layer, QgsVectorLayer)
            and layer.geometryType() == QgsWkbTypes.GeometryType.PolygonGeometry
            and layer.selectedFeatureCount()
        ):
            return layer
        return None

    def _selection(self, crs: QgsCoordinateReferenceSystem) -> Optional[QgsRectangle]:
        layer = self._selected_layer()
        if layer is None:
            return None
        selected = QgsGeometry.fromRect(layer.boundingBoxOfSelected())
        return _bounds(selected, layer.crs(), crs)


def _bounds(
    geometry: QgsGeometry,
    origin: QgsCoordinateReferenceSystem,
    target: QgsCoordinateReferenceSystem,
) -> Optional[QgsRectangle]:
    """Return the bounding box of ``geometry`` in another CRS, None where it has no place there."""
    transform = QgsCoordinateTransform(origin, target, QgsProject.instance())
    # Edges become curves in another CRS, so they need more points than their corners.
    dense = geometry if transform.isShortCircuited() else geometry.densifyByCount(_EDGE_POINTS)
    try:
        outcome = dense.transform(transform)
    except QgsCsException:
        return None
    return dense.boundingBox() if is_success(outcome) else None
